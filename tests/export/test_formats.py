"""A format and its runtime come from one file outside of the package."""

import json

import keras
import pytest

import export
import kvae
from export.runtimes.register import RUNTIMES
from export.writers.register import FORMATS
from kvae.cli import main

PLUGIN = '''
import pathlib, sys
import numpy as np
from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from export.writers.register import FORMATS, Format

def matrix(model, path, precision="float32"):
    """Writes a decoder that is one matrix."""
    kernel, bias = model.decoder.get_weights()
    np.savez(path, kernel=kernel.astype(precision), bias=bias)
    return pathlib.Path(path)

def load(path):
    with np.load(path) as found:
        kernel, bias = found["kernel"], found["bias"]
    def tensor(size):
        return {"dtype": "float32", "shape": [None, size]}
    signature = {"inputs": {"z": tensor(len(kernel))}, "outputs": {"image": tensor(len(bias))}}
    facts = {"runtime": "NumPy", "signatures": {"serving_default": signature}}
    return lambda name, inputs: {"image": inputs["z"] @ kernel + bias}, facts

FORMATS.add("npz", Format("NumPy", matrix, "{name}.npz", ("precision",),
    {"precision": ("float32", "float16")}, advice="np.load reads it in {folder}"))
RUNTIMES.add("numpy", Runtime("NumPy", "numpy_format", ".npz", lambda: None))

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], load))
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "numpy_format.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("KVAE_PLUGINS", "numpy_format")
    monkeypatch.chdir(tmp_path)
    encoder = keras.Sequential([keras.Input((12,)), keras.layers.Dense(8)])
    decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(12)])
    kvae.VAE(encoder, decoder, latent_dim=3, likelihood="gaussian").save(tmp_path / "vae.keras")
    yield tmp_path
    for register, name in ((FORMATS, "npz"), (RUNTIMES, "numpy")):
        del register._things[name]


def test_a_format_and_its_runtime_are_one_file(plugin, capsys):
    assert main(["export", "vae.keras", "-f", "npz", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["path"] == "vae.npz" and written["verification"]["ok"]
    rows = [row for row in written["verification"]["rows"] if row["output"] == "image"]
    assert rows and all(row["runtime"] == "NumPy" for row in rows)
    assert all(row["max_abs_error"] < 1e-5 for row in rows)
    # What the file says is what is compared: another model is another one.
    model = kvae.load_model("vae.keras")
    model.decoder.layers[-1].bias.assign([1.0] * 12)
    assert not export.verify("vae.npz", model)
    # Options that the format does not have are refused, and values that it does not take.
    assert main(["export", "vae.keras", "-f", "npz", "--keep", "2"]) == 2
    assert "--keep is for --format repository, not npz" in capsys.readouterr().err
    assert main(["export", "vae.keras", "-f", "npz", "--precision", "int8"]) == 2
    assert "takes --precision float32 or --precision float16" in capsys.readouterr().err


def test_every_runtime_can_be_asked_whether_it_is_there():
    assert {"tensorflow", "litert", "onnx_runtime", "openvino"} <= set(RUNTIMES)
    for runtime in RUNTIMES.values():
        assert isinstance(runtime.installed(), bool)
    # One runtime is the first for each kind of file; others are second opinions or accelerators.
    plain = [item for item in RUNTIMES.values() if not item.second and item.accelerator == "cpu"]
    assert sorted(item.suffix for item in plain) == ["", ".onnx", ".tflite"]
