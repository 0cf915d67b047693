"""Data in batches run in blocks as well: the same steps, each batch checked before it is learnt."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.models.fit import plan
from kvae.models.fit.batch_blocks import BatchBlocks

EVENT = (8, 8, 1)
N, BATCH = 60, 16  # Batches of 16, 16, 16, 12.


@pytest.fixture(scope="module")
def model(make_vae, make_encoder):
    """Makes models with a convolution, whose blocks do without XLA, or dense ones."""

    def make(dense=False, **options):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Reshape(EVENT), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
        vae = make_vae(encoder=make_encoder(width=64, extra=[] if dense else layers))
        vae.compile(keras.optimizers.Adam(0.01, epsilon=1e-3), **options)
        return vae

    return make


def batches(x, filtered=False):
    """Triples of batches: x, a target and weights, some of which are 0."""
    weights = (np.arange(len(x)) % 3).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, 1.0 - x, weights)).batch(BATCH)
    return data.filter(lambda *batch: True) if filtered else data


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.found = list(batches(x).as_numpy_iterator())

    def __len__(self):
        return len(self.found)

    def __getitem__(self, index):
        return self.found[index]


def endless(x):
    while True:
        yield from batches(x).as_numpy_iterator()


FORMS = {
    "tf.data": (batches, {}),
    "unknown length": (lambda x: batches(x, filtered=True), {}),
    "endless": (lambda x: batches(x).repeat(), {"steps_per_epoch": 4}),
    "generator": (endless, {"steps_per_epoch": 4}),
    "PyDataset": (Batches, {"shuffle": False}),
}


def assert_close(vae, other):
    for a, b in zip(vae.get_weights(), other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def one_by_one(model, digits):
    vae = model(run_eagerly=True)
    history = vae.fit(batches(digits[:N]), epochs=2, verbose=0).history
    return vae.get_weights(), history


@pytest.mark.default("tf.data")
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("form", FORMS)
def test_a_block_of_batches_is_its_steps(model, digits, one_by_one, monkeypatch, form):
    weights, history = one_by_one
    monkeypatch.setattr(plan, "_MOST_READ", 3)
    vae, (make, options) = model(), FORMS[form]
    taken, run = [], BatchBlocks._run

    def spy(self, batches):
        taken.append(len(batches))
        return run(self, batches)

    monkeypatch.setattr(BatchBlocks, "_run", spy)
    found = vae.fit(make(digits[:N]), epochs=2, verbose=0, **options).history
    assert taken == ([3, 1, 3, 1] if form == "unknown length" else [2, 2, 2, 2])
    assert int(vae.optimizer.iterations) == 8
    assert_close(vae, weights)
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)


@pytest.mark.slow  # XLA compiles it.
@pytest.mark.parametrize("form", ["tf.data", "generator"])
def test_blocks_under_xla_are_their_steps(model, digits, monkeypatch, form):
    found, (make, options) = [], FORMS[form]
    for least in (10**6, 1):
        monkeypatch.setattr(plan, "LEAST_STEPS", least)
        vae = model(dense=True)
        vae.fit(make(digits[:N]), epochs=2, verbose=0, **options)
        found.append(vae.get_weights())
        (blocks,) = vae._blocks._made.values()
        assert [block._works for block in blocks._made.values()] == [True]
    assert_close(vae, found[0])


def test_a_bad_batch_ends_a_block_after_the_steps_before_it(model, digits):
    x = digits[:64].copy()
    vae, other = model(), model()
    other.fit(batches(x).take(2), verbose=0)
    x[40] *= 255.0  # In the third batch.
    with pytest.raises(ValueError, match="`y` has values from -"):
        vae.fit(batches(x), verbose=0)
    assert int(vae.optimizer.iterations) == 2
    for a, b in zip(vae.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow  # It is traced anew.
def test_what_a_source_raises_comes_after_the_steps_before_it(model, digits):
    def broken():
        yield from batches(digits[:48]).as_numpy_iterator()
        raise OSError("the disk is gone")

    vae = model()
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        vae.fit(broken(), verbose=0)
    assert int(vae.optimizer.iterations) == 3


def plan_of(vae, data, callbacks=(), epochs=2, steps=None):
    return plan.plan_steps(vae, data, BATCH, epochs, steps, list(callbacks))


def test_what_fits_batches_is_chosen(model, digits):
    dense, convolutional = model(dense=True), model()
    data = batches(digits[:N])
    assert plan_of(convolutional, data) == plan.Plan(4)
    assert plan_of(dense, data, epochs=249) == plan.Plan(1)
    assert plan_of(dense, data, epochs=250) == plan.Plan(4, jit=True)
    # Nothing says whether such a training is long: the first steps wait for nothing.
    unknown = plan_of(dense, iter([]))
    assert unknown == plan.Plan(32, jit=True, alone=plan.LEAST_STEPS)
    assert plan_of(dense, iter([]), steps=64, epochs=2) == plan.Plan(1)
    assert "steps_per_epoch is not the number" in plan_of(dense, data, steps=3, epochs=999).reason
    assert plan_of(model(jit_compile=True), data).steps == 0
    assert plan_of(model(steps_per_execution=2), data).steps == 0  # As Keras runs them.
    sure = model(dense=True, reproducible=True)
    assert plan_of(sure, iter([])) == plan.Plan(1)
    assert plan_of(sure, data, epochs=250) == plan.Plan(4, jit=True)


def test_a_long_training_of_unknown_length_begins_without_blocks(model, digits):
    vae = model()
    blocks = BatchBlocks(vae, plan.Plan(4, alone=2))
    taken, run = [], blocks._run
    blocks._run = lambda batches: taken.append(len(batches)) or run(batches)
    data = iter(batches(digits[:48]).repeat(3))
    blocks(data), blocks(data)
    assert taken == [1, 1, 2, 4]
    with pytest.raises(StopIteration):
        blocks(data), blocks(data)
    assert taken == [1, 1, 2, 4, 1]
