"""A process that was forked after TensorFlow had been used is told so, and does not hang.

One that was forked before works: each training of test_reproducible is such a child.
"""

import os
import time

import numpy as np
import pytest

import kvae
from kvae.utils import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork.")


def in_child(act) -> str:
    """Returns what `act()` returns or raises in a forked child, which has 20 seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = act() or "it went well"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)  # Nothing of the tests' own is wound up twice.
    os.close(writer)
    deadline = time.monotonic() + 20
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            os.close(reader)
            return "it hung"
        time.sleep(0.005)
    with os.fdopen(reader) as stream:
        return stream.read()


@pytest.fixture(scope="module")
def used(make_vae, digits, tmp_path_factory):
    """A model that this process has used, and a file of it."""
    vae = make_vae(optimizer="adam", eager=True)
    x = (digits[:16] > 0.5).astype("float32")
    vae.fit(x, epochs=1, verbose=0)
    vae.log_prob(x, num_samples=2)
    vae.decode(vae.sample(2, seed=1)[:, :2, 0, 0])
    vae.encode(x), vae.reconstruct(x), vae.predict(x, verbose=0), vae.evaluate(x, verbose=0)
    vae.train_on_batch(x), vae.test_on_batch(x), vae.predict_on_batch(x)
    path = tmp_path_factory.mktemp("forks") / "model.keras"
    vae.save(path)
    return vae, x, path


CALLS = {
    "sample": lambda vae, x, path: vae.sample(2, seed=1),
    "sample unseeded": lambda vae, x, path: vae.sample(2),
    "encode": lambda vae, x, path: vae.encode(x),
    "decode": lambda vae, x, path: vae.decode(np.zeros((2, 2), "float32")),
    "reconstruct": lambda vae, x, path: vae.reconstruct(x),
    "log_prob": lambda vae, x, path: vae.log_prob(x, num_samples=2),
    "annealed": lambda vae, x, path: kvae.evaluation.annealed_log_prob(vae, x, num_steps=2),
    "fit": lambda vae, x, path: vae.fit(x, verbose=0),
    "evaluate": lambda vae, x, path: vae.evaluate(x, verbose=0),
    "predict": lambda vae, x, path: vae.predict(x, verbose=0),
    "train_on_batch": lambda vae, x, path: vae.train_on_batch(x),
    "test_on_batch": lambda vae, x, path: vae.test_on_batch(x),
    "predict_on_batch": lambda vae, x, path: vae.predict_on_batch(x),
    "call": lambda vae, x, path: vae(x),
    "load_model": lambda vae, x, path: kvae.load_model(path),
    "random": lambda vae, x, path: kvae.random.normal((10**6,), 1),
    "batches": lambda vae, x, path: kvae.datasets.Dataset(x).batches(4),
    "sampler": lambda vae, x, path: kvae.samplers.get("gmm").fit(vae, x),
    "quality": lambda vae, x, path: kvae.evaluation.evaluate(
        vae, kvae.datasets.Dataset(x), num_samples=2
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_forked_child_gets_an_error_and_does_not_hang(used, name):
    text = in_child(lambda: str(CALLS[name](*used))[:20])
    assert text.startswith("RuntimeError: This process was forked after its parent had used Tens")
    assert "multiprocessing.get_context('spawn')" in text and "\n" not in text


def test_the_parent_goes_on_as_before(used):
    vae, _, _ = used
    before = vae.sample(2, seed=3).numpy()
    assert in_child(lambda: "nothing of TensorFlow") == "nothing of TensorFlow"
    np.testing.assert_array_equal(vae.sample(2, seed=3), before)


def test_without_tensorflow_nothing_is_used(monkeypatch):
    assert forks._is_used()
    monkeypatch.delitem(forks.sys.modules, "tensorflow.python.eager.context")
    assert not forks._is_used()
