"""The examples of the docstrings run, each for itself, with names that readers will have."""

import gzip
import importlib.util
import pathlib
import struct
import time
import traceback

import numpy as np
import pytest

import kvae
import zoo

_spec = importlib.util.spec_from_file_location(
    "test_docstrings", pathlib.Path(__file__).with_name("test_docstrings.py")
)
found = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(found)

# These need a server, the Hub or GPUs; other tests call them with stand-ins.
ELSEWHERE = {
    "export.serving.client.Client",
    "export.serving.development.server.DevelopmentServer",
    "kvae.distributed.make_strategy",
    "zoo.pushing.push_to_hub",
}
# These train longer, measure many images or write exports.
SLOW = ("export.", "kvae.evaluation.", "kvae.testing.", "kvae.training.", "kvae.samplers.flow")


def examples():
    for name, _, docstring in found.documented():
        if name not in ELSEWHERE:
            yield from ((name, example) for example in docstring.examples)


def is_slow(name: str) -> bool:
    return name.startswith(SLOW)


class Sharing(dict):
    """The names of one example; those that it does not define are made when it asks for them."""

    def __missing__(self, name):
        if name not in MAKERS:
            raise KeyError(name)
        self[name] = MAKERS[name]()
        return self[name]


def digits(split, n):
    return kvae.datasets.load("digits", split)[:n]


def network(*widths):
    import keras

    return keras.Sequential([keras.layers.Flatten(), *map(keras.layers.Dense, widths)])


def decoder():
    import keras

    return keras.Sequential([keras.layers.Dense(64), keras.layers.Reshape((8, 8, 1))])


MAKERS = {
    "vae": lambda: zoo.load("dense_vae.digits"),
    "other": lambda: zoo.load("conv_vae.digits"),
    "autoencoder": lambda: zoo.load("dense_autoencoder.digits"),
    "encoder": lambda: network(16),
    "make_encoder": lambda: lambda: network(16),
    "decoder": decoder,
    "make_decoder": lambda: decoder,
    "train": lambda: digits("train", 200),
    "validation": lambda: digits("validation", 50),
    "test": lambda: digits("test", 50),
    "data": lambda: digits("train", 1000),
    "x": lambda: digits("test", 50).examples,
    "x_train": lambda: digits("train", 100).examples,
    "x_test": lambda: digits("test", 50).examples,
    "y_test": lambda: digits("test", 50).labels,
    "images": lambda: np.zeros((4, 8, 8, 1), "uint8"),
    "codes": lambda: np.random.default_rng(0).normal(size=(100, 2)).astype("float32"),
}


def run(example: str) -> None:
    import keras

    import export

    names = {"keras": keras, "ops": keras.ops, "np": np, "kvae": kvae, "zoo": zoo, "export": export}
    exec(compile(example, "<example>", "exec"), Sharing(names))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that examples read; every training ends after two steps."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for index in range(12):
        Image.new("L", (70, 80), index).save(tmp_path / f"faces/{index}.png")
    (tmp_path / "mnist").mkdir()
    header = struct.pack(">HBB3I", 0, 8, 3, 5, 28, 28)
    (tmp_path / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(header + bytes(5 * 28 * 28))
    )
    fit = kvae.VAE.fit

    def short(self, *arguments, epochs=1, steps_per_epoch=None, initial_epoch=0, **options):
        steps = None if steps_per_epoch is None else 2
        return fit(self, *arguments, epochs=1, steps_per_epoch=steps, verbose=0, **options)

    monkeypatch.setattr(kvae.VAE, "fit", short)
    return tmp_path


def check(chosen):
    broken = []
    for name, example in chosen:
        start = time.perf_counter()
        try:
            run(example)
        except Exception:
            last = traceback.format_exc().splitlines()
            broken.append(f"{name}:\n{example}\n" + "\n".join(last[-6:]))
        print(f"{time.perf_counter() - start:6.1f} s  {name}")
    assert not broken, "\n\n".join(broken)


def test_quick_examples_run(folder):
    check([one for one in examples() if not is_slow(one[0])])


@pytest.mark.slow
def test_slow_examples_run(folder):
    check([one for one in examples() if is_slow(one[0])])
