"""One GPU, or the CPU in its place: which one it is, and what is compared on it."""

import json
import os
import subprocess
import sys

from benchmarks.cases import CASES, INFERENCE
from benchmarks.runner import DEVICE, peers_python

__all__ = ["BATCHES", "IMAGES", "competitors", "lines", "prepare", "tasks"]

BATCHES = (128, 1024)
IMAGES = 51_200  # Of a turn. A GPU takes those of a CPU in a blink.
_TRAINED, _USED = ("dense", "conv"), ("encode", "sample")
_WAYS = ("kvae", "blocks", "blocks under XLA", "step by step, stock Adam")

_TENSORFLOW = """
import json, tensorflow as tf
build = tf.sysconfig.get_build_info()
devices = tf.config.list_physical_devices("GPU")
names = [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]
print(json.dumps({"devices": names, "cuda": build.get("cuda_version", ""),
                  "cudnn": build.get("cudnn_version", "")}))
"""
_TORCH = """
import json, torch
found = torch.cuda.is_available()
print(json.dumps({"devices": [torch.cuda.get_device_name()] if found else [],
                  "cuda": torch.version.cuda or "",
                  "cudnn": str(torch.backends.cudnn.version() or "")}))
"""


def prepare(device: str) -> dict:
    """Lets the workers compute on a device, and returns what is known of it.

    Args:
        device: str. `"gpu"`, the first one, or `"cpu"`.

    Raises:
        ValueError: for a GPU that TensorFlow or PyTorch does not find.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    else:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ[DEVICE] = "cuda" if device == "gpu" else "cpu"
    # TensorFlow would take all of the memory, and leave PyTorch none.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    found = {}
    for name, python, code in (
        ("TensorFlow", sys.executable, _TENSORFLOW),
        ("PyTorch", peers_python(), _TORCH),
    ):
        if python is None:
            continue
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise ValueError(f"{name} does not start: {last}")
        found[name] = json.loads(done.stdout.splitlines()[-1])
        if device == "gpu" and not found[name]["devices"]:
            raise ValueError(
                f"{name} ({python}) finds no GPU. Compare `nvidia-smi` with the versions that it "
                "needs, or try the script with --device cpu --quick."
            )
    return found


def tasks(batches) -> list:
    """Returns what is measured, as `measure` of the benchmarks takes it."""
    trained = [case for case in CASES if case.name in _TRAINED]
    used = [task for task in INFERENCE if task.name in _USED]
    found = [("train", case, batch) for case in trained for batch in batches]
    return found + [("infer", task, 0) for task in used]


def competitors(task) -> list[str]:
    """Returns the ways of this library, with and without XLA, and PyTorch's."""
    torch = [name for name in task.competitors if name.startswith("torch")]
    return [*(_WAYS if task in CASES else ("kvae",)), *torch]


def lines(found: dict) -> list[str]:
    """Returns the devices and their libraries, a line for each."""
    said = []
    for name, facts in found.items():
        device = ", ".join(facts["devices"]) or "the CPU"
        versions = [f"{key} {facts[key]}" for key in ("cuda", "cudnn") if facts[key]]
        said.append(f"{name} on {device}" + (f" ({', '.join(versions)})" if versions else ""))
    return said
