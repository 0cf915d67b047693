"""Several steps in each call: an epoch has its own steps and no more, and a resume is exact."""

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import Checkpoint

BATCH = 16


@pytest.fixture(scope="module")
def data(digits):
    return kvae.datasets.Dataset(digits[:60], binarize="dynamic")  # Batches of 16, 16, 16, 12.


def compiled(make_vae, steps, eager=True, rate=1e-3):
    vae = make_vae()
    vae.compile(keras.optimizers.SGD(rate), steps_per_execution=steps, run_eagerly=eager)
    return vae


def train(make_vae, data, steps, epochs=2, callbacks=(), first=0, eager=True, **options):
    vae = compiled(make_vae, steps, eager)
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            first = callback.restore(vae)
    options = {"batch_size": BATCH, "verbose": 0, "callbacks": list(callbacks), **options}
    history = vae.fit(data, epochs=epochs, initial_epoch=first, **options).history
    return vae, history


def assert_equal(vae, other, **tolerance):
    for a, b in zip(vae.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@pytest.fixture(scope="module")
def one_by_one(make_vae, data):
    return train(make_vae, data, 1)


class Calls(keras.callbacks.Callback):
    """The optimizer's step after each call, and what the model says of its calls in between."""

    def __init__(self):
        super().__init__()
        self.after, self.between = [], set()

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(int(self.model.optimizer.iterations))

    def on_test_begin(self, logs=None):
        self.between.add(self.model.steps_per_execution)


@pytest.mark.default("eager")
@pytest.mark.parametrize(
    "steps, after, eager",
    [(3, [3, 4, 7, 8], False), (5, [4, 8], True)],
    ids=["graph", "eager"],
)
def test_an_epoch_has_its_steps_and_no_more(make_vae, data, one_by_one, steps, after, eager):
    reference, expected = one_by_one
    calls = Calls()
    vae, history = train(
        make_vae, data, steps, callbacks=[calls], validation_data=data[:20], eager=eager
    )
    assert calls.after == after
    assert calls.between == {vae.steps_per_execution} == {steps}
    # The same batches in the same order, the short one among them.
    assert_equal(vae, reference, rtol=1e-3, atol=1e-6)
    for name in ("loss", "elbo", "reconstruction", "kl"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-4)
        assert len(history["val_" + name]) == 2


@pytest.mark.slow  # `test_checkpoint.py` resumes, with one step in each call.
def test_a_resumed_training_sees_the_same_batches(make_vae, data, one_by_one, tmp_path):
    whole, history = one_by_one
    train(make_vae, data, 3, epochs=1, callbacks=[Checkpoint(tmp_path, every_seconds=0.0)])
    resumed, rest = train(make_vae, data, 3, callbacks=[Checkpoint(tmp_path)])
    assert int(resumed.optimizer.iterations) == int(whole.optimizer.iterations) == 8
    assert_equal(resumed, whole, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(rest["loss"], history["loss"][1:], rtol=1e-6)


class Fail(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if batch == 3:
            raise KeyboardInterrupt


@pytest.mark.slow  # Five trainings.
def test_the_model_is_as_compiled_after_a_failure_and_other_data(make_vae, data):
    vae = compiled(make_vae, 3)
    fail = keras.callbacks.CallbackList([Fail()], add_history=True, model=vae)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(data, batch_size=BATCH, verbose=0, callbacks=fail)
    assert vae.steps_per_execution == 3 and int(vae.optimizer.iterations) == 3
    # Five steps leave two, four leave one: each has a function of its own, made once.
    for n, batch_size, steps in ((60, 12, 5), (60, 15, 4), (20, 4, 5)):
        before = int(vae.optimizer.iterations)
        vae.fit(data[:n], batch_size=batch_size, verbose=0)
        assert int(vae.optimizer.iterations) - before == steps
    assert sorted(vae._last_calls) == [1, 2]
    vae.compile(keras.optimizers.SGD(0.0), steps_per_execution=3, run_eagerly=True)
    weights = vae.get_weights()
    vae.fit(data, batch_size=12, verbose=0)  # By the new optimizer, in every call.
    for a, b in zip(weights, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
