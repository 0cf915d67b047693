"""The examples of the docstrings run, each for itself, with names that readers will have."""

import functools
import gzip
import importlib.util
import pathlib
import re
import shutil
import struct
import time
import traceback

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import export
import kvae
import zoo
from zoo.building import ARCHITECTURES, RECIPES

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
SLOW = (
    "export.",
    "kvae.callbacks.",
    "kvae.datasets.catalog.sprites.",
    "kvae.datasets.dataset.",
    "kvae.datasets.folders.",
    "kvae.datasets.image_folder.",
    "kvae.datasets.shards.",
    "kvae.diagnosis.",
    "kvae.evaluation.",
    "kvae.plots.",
    "kvae.priors.class_conditional.",
    "kvae.priors.two_stage.",
    "kvae.samplers.flow.",
    "kvae.samplers.two_stage.",
    "kvae.samplers.uniform_sphere.",
    "kvae.testing.",
    "kvae.training.",
)


def examples():
    for name, _, docstring in found.documented():
        if name not in ELSEWHERE:
            yield from ((name, example) for example in docstring.examples)


def is_slow(name: str, example: str) -> bool:
    """Checks whether an example is left to `make slow`: a training traces a graph for seconds."""
    trains = re.search(r"\.fit(_\w+)?\(", example) is not None
    return trains or name.startswith(SLOW)


class Sharing(dict):
    """The names of one example; those that it does not define are made when it asks for them."""

    def __missing__(self, name):
        if name not in MAKERS:
            raise KeyError(name)
        self[name] = MAKERS[name]()
        return self[name]


def digits(split, n):
    return kvae.datasets.load("digits", split)[:n]


def encoder():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16)])


def decoder():
    return keras.Sequential([layers.Dense(64), layers.Reshape((8, 8, 1))])


def model(**options):
    return kvae.VAE(encoder(), decoder(), **options)


def sprites_model():
    down = keras.Sequential([keras.Input((64, 64, 1)), layers.Flatten(), layers.Dense(4)])
    up = keras.Sequential([keras.Input((3,)), layers.Dense(64 * 64), layers.Reshape((64, 64, 1))])
    return kvae.VAE(down, up, latent_dim=3)


def label_encoder():
    return keras.Sequential([keras.Input((10,)), layers.Dense(4)])


def model_of_two():
    """A model of images and their labels."""
    encoders = {"image": encoder(), "label": label_encoder()}
    decoders = {"image": decoder(), "label": layers.Dense(10)}
    likelihood = {"image": "bernoulli", "label": "categorical:10"}
    return kvae.VAE(encoders=encoders, decoders=decoders, latent_dim=2, likelihood=likelihood)


def volumes_model():
    shape = (4, 8, 8, 1)
    down = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(4)])
    up = keras.Sequential([keras.Input((2,)), layers.Dense(256), layers.Reshape(shape)])
    return kvae.VAE(down, up, latent_dim=2)


loaded = functools.cache(zoo.load)
MAKERS = {
    "vae": lambda: loaded("dense_vae.digits"),
    "other": lambda: loaded("conv_vae.digits"),
    "autoencoder": lambda: loaded("dense_autoencoder.digits"),
    "encoder": encoder,
    "make_encoder": lambda: encoder,
    "decoder": decoder,
    "make_decoder": lambda: decoder,
    "image_encoder": encoder,
    "image_decoder": decoder,
    "label_encoder": label_encoder,
    "label_decoder": lambda: layers.Dense(10),
    "train": lambda: digits("train", 200),
    "validation": lambda: digits("validation", 50),
    "test": lambda: digits("test", 50),
    "data": lambda: digits("train", 1000),
    "x": lambda: digits("test", 50).examples,
    "x_train": lambda: digits("train", 100).examples,
    "x_test": lambda: digits("test", 50).examples,
    "y_test": lambda: digits("test", 50).labels,
    "images": lambda: np.zeros((4, 8, 8, 1), "uint8"),
    "volumes": lambda: np.zeros((3, 4, 8, 8, 1), "float32"),
    "codes": lambda: np.random.default_rng(0).normal(size=(100, 2)).astype("float32"),
}
# What examples need that are about models of another kind.
OWN = {
    "kvae.evaluation.modalities.coherence": {
        "vae": model_of_two,
        "classifier": lambda: lambda images: np.zeros(len(images), int),
    },
    "kvae.evaluation.modalities.conditional_log_prob": {"vae": model_of_two},
    "kvae.plots.pictures.slices": {"vae": volumes_model},
    "kvae.plots.posteriors.posterior_map": {"vae": lambda: model(latent_dim=2)},
    "kvae.samplers.flow.Flow": {"codes": lambda: np.zeros((5, 16), "float32")},
    "kvae.samplers.uniform_sphere.UniformSphere": {
        "autoencoder": lambda: model(
            latent_dim=3, posterior="power_spherical", prior="uniform_sphere"
        )
    },
}


def run(name: str, example: str) -> None:
    names = {"keras": keras, "ops": keras.ops, "np": np, "kvae": kvae, "zoo": zoo, "export": export}
    names |= {variable: make() for variable, make in OWN.get(name, {}).items()}
    if "Sprites()" in example:
        names["vae"] = sprites_model()
    exec(compile(example, "<example>", "exec"), Sharing(names))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that examples read; every training ends early."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    for index in range(12):
        Image.new("L", (70, 80), index).save(tmp_path / f"faces/{index}.png")
    for index, name in enumerate(("cats", "dogs") * 6):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (70, 80), (index, 0, 0)).save(tmp_path / f"photos/{name}/{index}.png")
    (tmp_path / "mnist").mkdir()
    header = struct.pack(">HBB3I", 0, 8, 3, 5, 28, 28)
    (tmp_path / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(header + bytes(5 * 28 * 28))
    )
    fit = kvae.VAE.fit

    def short(self, *arguments, steps_per_epoch=None, **options):
        steps = None if steps_per_epoch is None else 2
        options |= {"epochs": 1, "initial_epoch": 0, "verbose": 0}
        return fit(self, *arguments, steps_per_epoch=steps, **options)

    monkeypatch.setattr(kvae.VAE, "fit", short)
    kinds = (kvae.likelihoods, kvae.objectives, kvae.posteriors, kvae.priors, kvae.flows)
    registers = (ARCHITECTURES, RECIPES, *(kind.REGISTER for kind in kinds))
    registers = [(register, dict(register._things)) for register in registers]
    yield tmp_path
    for register, things in registers:  # Examples register some of their own.
        register._things.clear()
        register._things.update(things)


def check(chosen):
    broken = []
    for name, example in chosen:
        start = time.perf_counter()
        try:
            run(name, example)
        except Exception:
            last = traceback.format_exc().splitlines()
            broken.append(f"{name}:\n{example}\n" + "\n".join(last[-6:]))
        shutil.rmtree("runs", ignore_errors=True)  # The checkpoints of another example's model.
        print(f"{time.perf_counter() - start:6.1f} s  {name}")
    assert not broken, "\n\n".join(broken)


def test_quick_examples_run(folder):
    check([one for one in examples() if not is_slow(*one)])


@pytest.mark.slow
def test_slow_examples_run(folder):
    check([one for one in examples() if is_slow(*one)])
