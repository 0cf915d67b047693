"""Three tiny models that the export tests share: untrained, so that parity is all there is; and one
of them in a repository, served for development.
"""

import functools
import http.client
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse

import keras
import numpy as np
import pytest
from keras import layers

import export
import kvae
from export.graphs import endpoints
from export.runtimes import c_api, child

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dense():
    """Bernoulli images of 8x8, two latents."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16, "relu")])
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(32, "relu"),
            layers.Dense(64, bias_initializer="random_normal"),
            layers.Reshape((8, 8, 1)),
        ]
    )
    return kvae.VAE(encoder, decoder, latent_dim=2, name="dense")


@pytest.fixture(scope="session")
def dense_path(dense, tmp_path_factory):
    """A version of `dense` with all signatures. Not to be changed: `copytree` it."""
    path = export.saved_model(dense, tmp_path_factory.mktemp("serving") / "deep" / "dense")
    _unchanged.add(path)
    return path


@pytest.fixture(scope="session")
def conv():
    """Gaussian images, a decoder of the blocks that accelerators take, and batch statistics."""
    keras.utils.set_random_seed(2)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="silu"),
            layers.Flatten(),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4 * 4 * 16),
            layers.BatchNormalization(moving_mean_initializer="random_normal"),
            layers.Reshape((4, 4, 16)),
            layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="silu"),
            layers.Conv2DTranspose(1, 3, padding="same"),
        ]
    )
    likelihood = kvae.likelihoods.Gaussian("global", scale=0.5)
    return kvae.VAE(encoder, decoder, latent_dim=4, likelihood=likelihood, name="conv")


@pytest.fixture(scope="session")
def autoencoder():
    """Deterministic, without a prior, for tables of 12 columns."""
    keras.utils.set_random_seed(3)
    encoder = keras.Sequential([keras.Input((12,)), layers.Dense(8, "relu")])
    decoder = keras.Sequential([keras.Input((3,)), layers.Dense(12)])
    return kvae.VAE(
        encoder, decoder, latent_dim=3, posterior="delta", prior=None, name="autoencoder"
    )


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((40, 8, 8, 1), np.float32)


@pytest.fixture(scope="session")
def copy_of():
    """`copy_of(version)` stands in for `endpoints.write`, without the seconds that it takes."""

    def copying(version):
        def write(_, path):
            shutil.copytree(version, path, dirs_exist_ok=True)

        return write

    return copying


_unchanged = set()  # SavedModels that are loaded once, and stay loaded.


# The runtimes that a default test runs in its own process, which spares it the start of another.
_HERE = {f"export.runtimes.{name}" for name in ("c_api", "litert", "onnx_runtime", "open_vino")}
_default, _slow = pytest.StashKey(), pytest.StashKey()


def pytest_runtest_setup(item):
    """Slow tests, and those that ask for `processes`, have each runtime in a process of its own."""
    slow = item.get_closest_marker("slow") is not None
    item.session.stash[_slow] = slow
    item.session.stash[_default] = not slow and "processes" not in item.fixturenames


@pytest.fixture(scope="session")
def processes():
    """For tests of what a process of its own keeps apart."""


@pytest.fixture(scope="session", autouse=True)
def runtimes_in_this_process(request):
    in_a_process, c_runtime = child._run, functools.cache(c_api._open)

    def run(module, folder, timeout):
        converts = module == "export.writers.tflite.converter"  # With TensorFlow.
        here = converts and not request.session.stash[_slow]
        here |= module in _HERE and request.session.stash[_default]
        if not here:
            return in_a_process(module, folder, timeout)
        load = importlib.import_module(module)._open
        if load is c_api._open:
            load = lambda path: (c_runtime if path in _unchanged else c_api._open)(path)  # noqa: E731
        child.serve([str(folder)], load)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "_run", run)
        yield


def start(path, *arguments):
    """A server in a process of its own; returns it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "export.serving.development", str(path), "--port", "0", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "development" in line:
            break
    text = "".join(lines)
    if process.poll() is not None:
        raise AssertionError(process.stderr.read())
    return process, re.search(r"http://[^/]+", text)[0]


@pytest.fixture(scope="session")
def repository(dense, dense_path, copy_of, tmp_path_factory):
    """A model repository with `dense`. Not to be changed: `copytree` it."""
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoints, "write", copy_of(dense_path))
        export.publish(dense, folder, "dense", verify=False)
    return folder


@pytest.fixture(scope="session")
def running(repository):
    """The address of a development server, and its process."""
    process, url = start(repository, "--max-bytes", "200000", "--timeout", "20")
    yield url, process
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "stopping" in process.stdout.read()


@pytest.fixture(scope="session")
def client(running):
    return export.Client(running[0], "dense", timeout=20)


@pytest.fixture(scope="session")
def post():
    """Sends a body; returns the status and what the answer's JSON says."""

    def ask(url, body, path="/v1/models/dense:predict", headers=None, method="POST"):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=20)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        data = json.loads(response.read())
        connection.close()
        return response.status, data

    return ask
