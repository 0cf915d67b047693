"""`python -m benchmarks`: against others, the ways of `fit`, growing data, and two results."""

import argparse
import functools
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata

import numpy as np

from benchmarks import gpu, report, serving, workers
from benchmarks.cases import ALL_REDUCE, CASES, CLIENTS, FEW, FIRST_SAMPLE, INFERENCE, VARIANTS
from benchmarks.files import read_run, write_json
from benchmarks.runner import Turns, peers_python

_ROOT = pathlib.Path(__file__).parents[1]
_NAMES = [*(case.name for case in (*CASES, *INFERENCE)), "serving", "start"]
_SERVING_MINUTES = 4
_STARTS = {
    "import keras": "import keras",
    "import kvae": "import kvae",
    "import kvae, first use of a class": "import kvae; kvae.VAE",
    "zoo.load('dense_vae.mnist')": "import zoo; zoo.load('dense_vae.mnist')",
    FIRST_SAMPLE: "import zoo; zoo.load('dense_vae.mnist').sample(1, seed=0).numpy()",
}


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, and write the results")
    run.add_argument("--cases", nargs="+", choices=_NAMES, metavar="NAME", default=_NAMES,
                     help=f"some of: {', '.join(_NAMES)}")  # fmt: skip
    run.add_argument("--batch", nargs="+", type=int, help="these batch sizes only")
    run.add_argument("--variants", nargs="+", help="these competitors only, e.g. kvae torch")
    run.add_argument("--rounds", type=int, help="turns of each (5; quick: 3)")
    run.add_argument("--quick", action="store_true", help="few cases, few rounds")
    limit = "about how long it may take (20; quick: 4): rounds are left out to keep to it"
    run.add_argument("--minutes", type=float, help=limit)
    run.add_argument(
        "--images", type=int, help="at most, of a turn: to try whether everything runs"
    )
    run.add_argument("--json", type=pathlib.Path, default=_ROOT / "runs/benchmarks.json")
    run.add_argument("--markdown", type=pathlib.Path, help="write the tables here too")
    beside = "the --json of an earlier run, whose bars are printed beside those of this one"
    run.add_argument("--beside", type=read_run, metavar="FILE", help=beside)
    ways = "the same training in the ways that fit knows: step by step, in blocks, under XLA, ..."
    variants = commands.add_parser("variants", help=ways)
    variants.add_argument("--cases", nargs="+", choices=["dense", "conv"],
                          default=["dense", "conv"])  # fmt: skip
    variants.add_argument("--rounds", type=int, help="turns of each (3)")
    variants.add_argument("--minutes", type=float, help="about how long it may take (20)")
    variants.add_argument("--images", type=int, help="at most, of a turn")
    sizes = "time and memory of an epoch, of data in memory and of shards, by their number"
    growth = commands.add_parser("scaling", help=sizes)
    growth.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000],
                        metavar="N")  # fmt: skip
    growth.add_argument("--epochs", type=int, default=2, help="the last one is timed (2)")
    places = "a training on one and more workers of this machine, and on paper on many machines"
    scale = commands.add_parser("workers", help=places)
    every = ["dense", "conv", ALL_REDUCE]
    scale.add_argument("--cases", nargs="+", choices=every, default=every)
    scale.add_argument("--batch", nargs="+", type=int, default=[128, 512],
                       help="images of a step, for each core (128 512)")  # fmt: skip
    scale.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    scale.add_argument("--minutes", type=float, default=8.0, help="about how long it may take (8)")
    scale.add_argument("--machines", nargs="+", type=int, default=[8, 32, 128, 256], metavar="N")
    scale.add_argument("--gigabits", nargs="+", type=float, default=[1.0, 10.0, 100.0],
                       metavar="GBIT", help="of a second, of the network (1 10 100)")  # fmt: skip
    scale.add_argument("--latency", nargs="+", type=float, default=[50.0, 800.0], metavar="US",
                       help="microseconds of a message (50 800)")  # fmt: skip
    one = "training and inference on a GPU beside PyTorch (benchmarks/gpu.sh starts it)"
    device = commands.add_parser("gpu", help=one)
    device.add_argument("--device", choices=["gpu", "cpu"], default="gpu",
                        help="the CPU, to try whether everything runs")  # fmt: skip
    device.add_argument("--quick", action="store_true", help="few images, one batch size")
    device.add_argument("--batch", nargs="+", type=int, help="(128 1024; quick: 128)")
    device.add_argument("--rounds", type=int, help="turns of each (5; quick: 2)")
    device.add_argument("--minutes", type=float, default=9.0, help="it ends about then (9)")
    device.add_argument("--images", type=int, help="at most, of a turn")
    results_of = ((variants, "variants"), (growth, "scaling"), (scale, "workers"), (device, "gpu"))
    for command, file in results_of:
        command.add_argument("--json", type=pathlib.Path, default=_ROOT / f"runs/{file}.json")
        command.set_defaults(markdown=None)
    compare = commands.add_parser("compare", help="one revision beside another")
    compare.add_argument("before", type=read_run)
    compare.add_argument("after", type=read_run)
    for command in (run, variants, growth, scale, device, compare):
        shared = "processor time instead of time, for a machine that is shared"
        command.add_argument("--cpu", action="store_true", help=shared)
    options = parser.parse_args(arguments)
    if min(getattr(options, "sizes", [1])) < 1:
        parser.error("--sizes are numbers of images, at least 1")
    if getattr(options, "epochs", 1) < 1:
        parser.error("--epochs is at least 1")
    clock = "cpu" if options.cpu else "seconds"
    if options.command == "compare":
        print(report.compared(options.before, options.after, clock))
        return 0
    earlier = getattr(options, "beside", None)
    results = _MEASURE[options.command](options)
    if earlier is not None:
        results["earlier"] = {key: value for key, value in earlier.items() if key != "earlier"}
    write_json(options.json, results)
    tables = report.tables(results, clock)
    print(f"\n{tables}\nwrote {options.json}")
    if options.markdown is not None:
        options.markdown.write_text(report.page(results, clock))
        print(f"wrote {options.markdown}")
    return 0


def scaling(options) -> dict:
    """An epoch of 10,000, 100,000, ... images, each in a process of its own."""
    start, found = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            shards = str(pathlib.Path(folder) / str(size))
            for data in ("written", "in memory", "shards"):
                _say(start, f"{size:,} images, {data}")
                what = [data, str(size), shards, str(options.epochs)]
                command = [sys.executable, "-m", "benchmarks.scaling", *what]
                done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
                found.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "machine": _machine(),
        "scaling": sorted(found, key=lambda facts: (facts["data"], facts["images"])),
        "minutes": (time.monotonic() - start) / 60,
    }


def on_gpu(options) -> dict:
    """Trainings and uses on one device, with and without XLA, beside PyTorch."""
    try:
        found = gpu.prepare(options.device)
    except ValueError as error:
        raise SystemExit(f"benchmarks: {error}") from None
    versions = [f"{name} {version}" for name, version in _machine()["packages"].items()]
    print("\n".join([*gpu.lines(found), ", ".join(versions)]), flush=True)
    quick = options.quick
    options.batch = options.batch or (gpu.BATCHES[:1] if quick else gpu.BATCHES)
    options.rounds = options.rounds or (2 if quick else 5)
    options.images = options.images or (256 if quick else gpu.IMAGES)
    options.cases, options.variants = [], None
    return {**measure(options), "devices": gpu.lines(found), "bars": False}


def several(options) -> dict:
    """A training on one and more workers, and the model of many machines that follows from it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        images = pathlib.Path(folder) / "images.npy"
        data = _images(images)
        say, until = functools.partial(_say, start), start + 60 * options.minutes
        found = workers.measure(images, options.cases, options.batch, options.rounds, say, until)
    return {
        "machine": _machine(),
        "data": data,
        "workers": found,
        "batches": options.batch,
        "machines": options.machines,
        "gigabits": options.gigabits,
        "latencies": [1e-6 * latency for latency in options.latency],
        "minutes": (time.monotonic() - start) / 60,
    }


def variants(options) -> dict:
    """The ways in which `fit` may run one training, beside each other."""
    options.quick, options.batch, options.variants = False, [128], list(VARIANTS)
    options.rounds = options.rounds or 3
    return {**measure(options), "bars": False}


def measure(options) -> dict:
    rounds = options.rounds or (3 if options.quick else 5)
    start = time.monotonic()
    results = {"machine": _machine(), "command": _command(options), "training": [], "inference": []}
    results["rounds"] = rounds
    tasks = _tasks(options)
    end = start + 60 * (options.minutes or (4 if options.quick else 20))
    with tempfile.TemporaryDirectory() as folder:
        images = pathlib.Path(folder) / "images.npy"
        most = options.images if options.command == "gpu" else 0
        results["data"] = _images(images, most)
        for number, (kind, task, batch) in enumerate(tasks):
            if options.command == "gpu" and time.monotonic() > end:
                _say(start, f"no time is left for {len(tasks) - number} more")
                break
            facts = {"case": task.name}
            if kind == "train":
                facts.update(batch=batch, flops=task.flops(batch))
            else:
                facts.update(what=task.what, unit=task.unit, flops=task.flops)
                if options.command == "gpu":
                    facts["what"] = f"`{task.name}` of {options.images:,} images"
            _say(start, f"{task.name}, batch {batch}" if batch else task.what)
            # What is left is shared with the cases to come and the imports.
            until = time.monotonic() + (end - time.monotonic()) / (len(tasks) - number + 1)
            counts = _counts(task, options)
            turns = Turns(kind, task.name, batch, counts, images)
            try:
                facts["measured"] = turns.run(rounds, until)
            finally:
                turns.stop()
            facts["failures"] = turns.failures
            for variant, why in turns.failures.items():
                print(f"  {variant} is left out: {why}", flush=True)
            results["training" if kind == "train" else "inference"].append(facts)
        if "serving" in options.cases:
            turn = 0.5 if options.quick else 1.0
            until = time.monotonic() + 60 * _SERVING_MINUTES
            say = functools.partial(_say, start)
            clients = CLIENTS[:2] if options.quick else CLIENTS
            results["serving"] = serving.measure(clients, min(rounds, 3), turn, say, until)
        if "start" in options.cases:
            _say(start, "imports")
            results["start"] = _starts(min(rounds, 3))
    results["minutes"] = (time.monotonic() - start) / 60
    return results


def _tasks(options) -> list:
    if options.command == "gpu":
        return gpu.tasks(options.batch)
    found = []
    for case in CASES:
        batches = options.batch or (case.quick if options.quick else case.batches)
        found += [("train", case, batch) for batch in batches]
    found += [("infer", task, 0) for task in INFERENCE]
    return [task for task in found if task[1].name in options.cases]


def _counts(task, options) -> dict[str, int]:
    """Returns the amount of work that each competitor does in a turn."""
    found = {}
    if options.command == "variants":
        for variant in VARIANTS:
            count = FEW.get((task.name, variant), task.count)
            found[variant] = min(options.images or count, count)
        return found
    if options.command == "gpu":
        return dict.fromkeys(gpu.competitors(task), options.images)
    for variant in task.competitors:
        if variant not in (options.variants or task.competitors):
            continue
        if options.quick and not options.variants and variant == "keras.io":
            continue
        count = (
            task.count if variant.startswith("kvae") else getattr(task, "theirs", 0) or task.count
        )
        found[variant] = min(options.images or count, count)
    return found


def _starts(rounds: int) -> dict:
    """Seconds from the start of Python to its end, interleaved, as `Turns.run` returns them."""
    found = {name: {"seconds": [], "cpu": [], "count": 1} for name in _STARTS}
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for number in range(rounds + 1):
        for name, code in _STARTS.items():
            before = os.times()
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=_ROOT, env=environment, capture_output=True
            )
            seconds, after = time.perf_counter() - began, os.times()
            if done.returncode:
                raise SystemExit(f"{code} failed:\n{done.stderr.decode()[-2000:]}")
            if number:  # The first one fills the cache of files.
                found[name]["seconds"].append(seconds)
                found[name]["cpu"].append(after[2] + after[3] - before[2] - before[3])
    return found


def _images(path: pathlib.Path, least: int = 0) -> str:
    """Writes as many images as the largest case takes, `[n, 28, 28, 1]` uint8."""
    import kvae

    n = max(least, *(case.count for case in CASES))
    try:
        images, name = kvae.datasets.load("mnist", "train").x[:n], "MNIST"
    except Exception as error:  # No network, no file: speed does not depend on what they show.
        print(f"MNIST is not to be had ({error}); noise takes its place.")
        images = np.random.default_rng(0).integers(0, 256, (n, 28, 28, 1), np.uint8)
        name = "noise"
    np.save(path, images)
    return name


def _command(options) -> str:
    words = [f"python -m benchmarks {options.command}"]
    words += ["--quick"] if options.quick else []
    words += ["--cpu"] if options.cpu else []
    for name in ("cases", "batch", "variants"):
        values = getattr(options, name)
        if values and not (name == "cases" and values == _NAMES):
            words.append(f"--{name} {' '.join(map(str, values))}")
    for name in ("rounds", "images", "minutes"):
        if getattr(options, name):
            words.append(f"--{name} {getattr(options, name):g}")
    return " ".join(words)


def _machine() -> dict:
    packages = {name: metadata.version(name) for name in ("keras", "numpy")}
    for name in ("tensorflow", "tensorflow-cpu", "tensorflow_cpu"):
        try:
            packages["tensorflow"] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    python = peers_python()
    if python is not None:
        code = "import importlib.metadata as m; print(m.version({!r}))"
        for name in ("torch", "pythae", "flask"):
            done = subprocess.run([python, "-c", code.format(name)], capture_output=True, text=True)
            if not done.returncode:
                packages[name] = done.stdout.strip()
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    revision = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "python": platform.python_version(),
        "packages": packages,
        "revision": revision,
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _say(start: float, what: str) -> None:
    print(f"{time.monotonic() - start:5.0f} s  {what}", flush=True)


_MEASURE = {
    "run": measure,
    "variants": variants,
    "scaling": scaling,
    "workers": several,
    "gpu": on_gpu,
}


if __name__ == "__main__":
    sys.exit(main())
