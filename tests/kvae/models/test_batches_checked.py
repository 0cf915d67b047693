"""Data in batches: each step checks its own, and a bad one changes nothing."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.datasets import Dataset

RNG = np.random.default_rng(0)
GOOD = RNG.random((16, 4)).astype("float32")
PIXELS = GOOD.copy()
PIXELS[9:] *= 255  # From the third batch of four on.
NAN = GOOD.copy()
NAN[9, 1] = np.nan
LABELS = np.arange(16, dtype="int32") % 3
RANGE = r"has values from .*, outside the support \[0, 1\] of Bernoulli\. Divide images of 0–255"


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return tuple(array[4 * index : 4 * index + 4] for array in self.arrays)


def as_tf_data(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


def as_generator(*arrays):
    batches = Batches(*arrays)
    return (batches[i] for i in range(4))


FORMS = {"tf.data": as_tf_data, "generator": as_generator, "PyDataset": Batches}


def make(num_classes=None, vae=kvae.VAE, **options):
    keras.utils.set_random_seed(3)
    x, z = keras.Input((4,)), keras.Input((2,))
    inputs, more = (x, z), {}
    if num_classes:
        inputs = [[i, keras.Input((num_classes,))] for i in inputs]
        x, z = (keras.layers.Concatenate()(i) for i in inputs)
    encoder = keras.Model(inputs[0], keras.layers.Dense(3, "relu")(x))
    decoder = keras.Model(inputs[1], keras.layers.Dense(4)(z))
    vae = vae(encoder, decoder, latent_dim=2, num_classes=num_classes, **more)
    vae.compile(keras.optimizers.Adam(0.01), **options)
    return vae


@pytest.fixture(scope="module")
def eager():
    return make(run_eagerly=True)


def state(vae):
    return [np.array(v) for v in (*vae.variables, *vae.optimizer.variables)]


def set_state(vae, values):
    for variable, value in zip((*vae.variables, *vae.optimizer.variables), values, strict=True):
        variable.assign(value)


def assert_state(vae, values):
    for a, b in zip(state(vae), values, strict=True):
        np.testing.assert_array_equal(a, b)


# Every way in.


BAD = {
    "pixels": (PIXELS, False, RANGE),
    "pairs of pixels": (PIXELS, True, RANGE),
    "NaN": (NAN, False, "holds NaN or infinite values in 1 of 4 examples"),
}


@pytest.mark.default("pixels-tf.data", "NaN-PyDataset")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", BAD)
def test_later_batches_of_every_form(eager, bad, form):
    x, pairs, message = BAD[bad]
    data = (x, x) if pairs else (x,)
    with pytest.raises(ValueError, match=f"`[xy]` {message}"):
        eager.fit(FORMS[form](*data), verbose=0)
    with pytest.raises(ValueError, match=f"`[xy]` {message}"):
        eager.evaluate(FORMS[form](*data), verbose=0)
    with pytest.raises(ValueError, match=f"`[xy]` {message}"):
        eager.fit(GOOD, validation_data=FORMS[form](*data), verbose=0)


def test_single_batches(eager):
    before = state(eager)
    huge = GOOD.astype("float64") + 1e39
    for x, message in ((PIXELS, RANGE), (NAN, "holds NaN"), (huge, "too large for float32")):
        for arguments in ((x,), (x, x), (GOOD, x)):
            with pytest.raises(ValueError, match=message):
                eager.train_on_batch(*arguments)
            with pytest.raises(ValueError, match=message):
                eager.test_on_batch(*arguments)
    with pytest.raises(ValueError, match="`sample_weight` has the value -1 in example 3"):
        eager.train_on_batch(GOOD, sample_weight=np.where(np.arange(16) == 3, -1.0, 1.0))
    assert_state(eager, before)


@pytest.mark.default("tf.data")
@pytest.mark.parametrize("form", FORMS)
def test_predictions_of_batches_that_are_not_finite(eager, form):
    with pytest.raises(ValueError, match="`x` holds NaN"):
        eager.predict(FORMS[form](NAN), verbose=0)
    assert eager.predict(FORMS[form](PIXELS), verbose=0).shape == (16, 4)


def test_datasets_of_h5py(eager, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = PIXELS
        for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
            with pytest.raises(ValueError, match=RANGE):
                getattr(eager, method)(file["x"])


@pytest.mark.default("generator")
@pytest.mark.parametrize("form", FORMS)
def test_noise_may_push_inputs_beside_a_target_out_of_the_support(eager, form):
    logs = eager.evaluate(FORMS[form](PIXELS, GOOD), verbose=0, return_dict=True)
    assert np.isfinite(logs["loss"])
    with pytest.raises(ValueError, match="`x` holds NaN"):
        eager.evaluate(FORMS[form](NAN, GOOD), verbose=0)


@pytest.mark.default("PyDataset")
@pytest.mark.parametrize("form", FORMS)
def test_labels_of_later_batches(form):
    wrong = LABELS.copy()
    wrong[9] = 3
    vae = make(num_classes=3, run_eagerly=True)

    def data(labels):
        if form == "tf.data":
            return tf.data.Dataset.from_tensor_slices(((GOOD, labels),)).batch(4)
        batches = Batches(GOOD, labels)
        if form == "generator":
            return ((batches[i],) for i in range(4))
        batches.__class__ = type("Pairs", (Batches,), {"__getitem__": lambda s, i: (_pair(s, i),)})
        return batches

    vae.fit(data(LABELS), verbose=0)
    for method in (vae.fit, vae.evaluate, vae.predict):
        with pytest.raises(ValueError, match="`label` has values from .* to 3; .*from 0 to 2"):
            method(data(wrong), verbose=0)


def _pair(batches, index):
    return tuple(array[4 * index : 4 * index + 4] for array in batches.arrays)


@pytest.mark.default(cover=1)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_of_later_batches(eager, form, weight):
    weights = np.ones(16, "float32")
    eager.evaluate(FORMS[form](GOOD, GOOD, weights), verbose=0)
    weights[9] = weight
    with pytest.raises(ValueError, match="`sample_weight` has the value .* in example 1"):
        eager.evaluate(FORMS[form](GOOD, GOOD, weights), verbose=0)


@pytest.mark.default("mixed_tabular")
@pytest.mark.parametrize(
    "likelihood, good, bad, message",
    [
        ("poisson", 3.0, 0.5, "`y` has the value 0.5; Poisson takes whole numbers"),
        (kvae.likelihoods.DiscretizedLogistic(17), 3 / 16, 0.3, "`y` has the value 0.3; .*levels"),
        (kvae.likelihoods.MixedTabular([("bernoulli",), ("poisson",)] * 2), 1.0, 0.5, r"`y\[:, 1"),
    ],
    ids=["poisson", "discretized_logistic", "mixed_tabular"],
)
def test_values_that_a_likelihood_does_not_take(make_vae, likelihood, good, bad, message):
    vae = make_vae((4,), likelihood=likelihood, optimizer="sgd", eager=True)
    x = np.full((16, 4), good, "float32")
    vae.fit(as_tf_data(x, x), verbose=0)
    x[9, 1] = bad
    with pytest.raises(ValueError, match=message):
        vae.fit(as_tf_data(x, x), verbose=0)


# Compiled.

COMPILED = {
    "graph": {},
    "several steps": {"steps_per_execution": 3},
    "XLA": {"jit_compile": True},
}


class OwnStep(kvae.VAE):
    def train_step(self, data):
        terms, _ = self.optimize(data)
        return {"loss": tf.reduce_mean(terms["loss"])}


@pytest.mark.default("several steps")
@pytest.mark.parametrize("options", COMPILED.values(), ids=COMPILED)
def test_a_bad_batch_leaves_everything_as_it_was(options):
    vae = make(**options)  # One model, which goes back to its start: to compile takes longest.
    start = state(vae)
    vae.fit(as_tf_data(GOOD, GOOD).take(2), verbose=0)
    after_two = state(vae)
    vae.fit(as_tf_data(GOOD, GOOD), verbose=0)
    after_more = state(vae)
    set_state(vae, start)
    with pytest.raises(ValueError, match=f"`y` {RANGE}"):
        vae.fit(as_tf_data(PIXELS, PIXELS), verbose=0)
    assert_state(vae, after_two)  # It has learnt from the two good batches, and nothing else.
    with pytest.raises(ValueError, match="`x` holds NaN"):
        vae.evaluate(as_tf_data(NAN, GOOD), verbose=0)
    # The training goes on as if nothing had been.
    vae.fit(as_tf_data(GOOD, GOOD), verbose=0)
    assert_state(vae, after_more)


def test_a_step_that_xla_has_compiled_is_taken_back():
    """As above, of a step that only counts: to compile a training takes many seconds."""
    vae = make(jit_compile=True)
    count = keras.Variable(0.0)

    @tf.function(jit_compile=True)
    def step(x):
        with vae.guard.step({"x": x}, state=lambda: [count]):
            count.assign_add(1.0)

    for data, error in (
        (GOOD, None),
        (PIXELS, f"`x` {RANGE}"),
        (NAN, "`x` holds NaN"),
        (GOOD, None),
    ):
        run, before = vae.guard.watched(step), float(count)
        if error is None:
            run(tf.constant(data))
            assert float(count) == before + 1.0
        else:
            with pytest.raises(ValueError, match=error):
                run(tf.constant(data))
            assert float(count) == before


@pytest.mark.slow  # Another compilation by XLA.
def test_under_xla_labels_weights_and_own_steps_are_checked_as_well():
    options = {"jit_compile": True, "steps_per_execution": 3}
    vae = make(num_classes=3, **options)
    wrong = LABELS.copy()
    wrong[9] = 3
    weights = np.where(np.arange(16) == 9, -1.0, 1.0).astype("float32")
    for labels, weight, message in (
        (wrong, weights * 0 + 1, "`label` has values from 3 to 3"),
        (LABELS, weights, "`sample_weight` has the value -1"),
    ):
        data = tf.data.Dataset.from_tensor_slices(((GOOD, labels), GOOD, weight)).batch(4)
        with pytest.raises(ValueError, match=message):
            vae.fit(data, verbose=0)
    with pytest.raises(ValueError, match=RANGE):
        make(vae=OwnStep, **options).fit(as_tf_data(PIXELS, PIXELS), verbose=0)


def test_a_step_of_ones_own_is_checked():
    vae = make(vae=OwnStep, run_eagerly=True)
    with pytest.raises(ValueError, match=RANGE):
        vae.fit(as_tf_data(PIXELS), verbose=0)
    # In a loop of one's own TensorFlow raises an error of its own, which holds the words.
    step = tf.function(vae.train_step, autograph=False)
    step(tf.constant(GOOD[:4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="`x` has values from"):
        step(tf.constant(PIXELS[-4:]))


_REPLICAS = """
import sys, keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import kvae
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    vae = kvae.VAE(encoder, decoder, 2)
    vae.compile("adam")
x = np.full((16, 4), 0.5, "float32")
x[9:10] = 255.0  # In the batch of one of the replicas alone.
data = tf.data.Dataset.from_tensor_slices((x, x)).batch(4)
vae.fit(data.take(2), verbose=0)
before = vae.get_weights()
for call in (vae.fit, vae.evaluate):
    try:
        call(data.skip(2), verbose=0)
    except ValueError as error:
        assert "values from 0.5 to 255" in str(error), error
    else:
        raise SystemExit("no error")
for a, b in zip(vae.get_weights(), before, strict=True):
    np.testing.assert_array_equal(a, b)
print("refused")
"""


@pytest.mark.slow  # A process of its own.
def test_replicas_stop_together(run_python):
    assert "refused" in run_python(_REPLICAS).stdout


# Weights.


def weighted_kl(vae, weights):
    """The average over all examples of their closed-form KL."""
    terms = vae.objective.terms(vae, GOOD, GOOD, training=False, seed=tf.constant([0, 1]))
    return np.average(terms["kl"], weights=weights)


def test_weights_beside_arrays_and_in_datasets_are_those_of_each_example(eager):
    weights = np.arange(16.0)
    expected = weighted_kl(eager, weights)
    for arguments, options in (
        ((GOOD,), {"sample_weight": weights}),
        ((GOOD, GOOD), {"sample_weight": weights.tolist()}),
        ((GOOD,), {"sample_weight": weights[:, None]}),
        ((Dataset(GOOD, weights=weights),), {}),
        ((Dataset(GOOD, target=GOOD, weights=weights),), {}),
        ((Dataset(GOOD),), {"sample_weight": weights}),
    ):
        logs = eager.evaluate(*arguments, batch_size=9, verbose=0, return_dict=True, **options)
        np.testing.assert_allclose(logs["kl"], expected, rtol=1e-5)
    history = eager.fit(
        GOOD, validation_data=(GOOD, None, weights), verbose=0, sample_weight=weights
    ).history
    np.testing.assert_allclose(history["val_kl"][-1], weighted_kl(eager, weights), rtol=1e-5)


@pytest.mark.slow  # `test_fit.py` leaves examples out, and weights of a Dataset are above.
def test_examples_of_weight_zero_are_not_learnt_from():
    weights = (np.arange(16) < 8).astype(float)
    vae, other = make(run_eagerly=True), make(run_eagerly=True)
    batches = {"batch_size": 8, "shuffle": False, "verbose": 0}
    vae.fit(Dataset(np.concatenate([GOOD[:8], GOOD[8:]]), weights=weights), **batches)
    other.fit(GOOD[:8], **batches)
    np.testing.assert_allclose(
        vae.history.history["loss"], other.history.history["loss"], rtol=1e-6
    )
    part = Dataset(GOOD, weights=np.arange(16))[4:6]
    assert part.weights.tolist() == [4, 5]


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones((16, 4)), r"has shape \(16, 4\); it holds one weight for each example, \[n\]"),
        (np.ones((16, 2, 2)), r"has shape \(16, 2, 2\).*element_log_prob"),
        (np.ones(15), "has 15 rows for 16 examples"),
        (np.where(np.arange(16) == 3, np.nan, 1.0), "has the value nan in example 3"),
        (np.where(np.arange(16) == 3, -1.0, 1.0), "has the value -1 in example 3"),
        (np.full(16, 1e39), "has the value inf in example 0"),
        (np.zeros(16), "is zero for every example"),
        (["a"] * 16, "holds <U1, not numbers"),
    ],
    ids=["(n, T)", "(n, h, w)", "too few", "NaN", "negative", "too large", "zero", "text"],
)
def test_weights_that_are_refused(eager, weights, message):
    for call in (
        lambda: eager.fit(GOOD, sample_weight=weights),
        lambda: eager.fit(GOOD, GOOD, sample_weight=weights, validation_split=0.25),
        lambda: eager.fit(Dataset(GOOD), sample_weight=weights),
        lambda: eager.fit(GOOD, validation_data=(GOOD, GOOD, weights)),
        lambda: eager.evaluate(GOOD, sample_weight=weights),
    ):
        with pytest.raises(ValueError, match=f"`sample_weight` {message}"):
            call()
    with pytest.raises(ValueError, match=f"`weights` {message}"):
        Dataset(GOOD, weights=weights)


def test_weights_beside_batches_are_refused(eager):
    for data in (as_tf_data(GOOD), Batches(GOOD), as_generator(GOOD)):
        with pytest.raises(ValueError, match=r"stand in the batches, \(x, y, sample_weight\)"):
            eager.fit(data, sample_weight=np.ones(16))
