"""Bad input: one clear line that says what is wrong and what to do, wherever it comes in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.datasets import Dataset

TRAINING = ["fit", "evaluate"]
USING = ["encode", "reconstruct", "predict"]
ALL = [*TRAINING, "log_prob", *USING]


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae(optimizer="sgd")


@pytest.fixture(scope="module")
def untouched(vae):
    """Afterwards: nothing of all this has trained the model."""
    before = [weight.copy() for weight in vae.get_weights()]
    yield
    for a, b in zip(vae.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


pytestmark = pytest.mark.usefixtures("untouched")


def images(n=6, event=(8, 8, 1), value=0.5):
    return np.full((n, *event), value, "float32")


def spoiled(value, row=4):
    x = images()
    x[row, 3, 2] = value
    return x


# Values.


@pytest.mark.parametrize("method", [*TRAINING, "log_prob"])
@pytest.mark.parametrize(
    "x, found",
    [
        (images() * 510, "255 to 255"),
        ((images() * 510).astype(np.uint8), "255 to 255"),
        (spoiled(-1.0), "-1 to 0.5"),
        (spoiled(1.5), "0.5 to 1.5"),
    ],
    ids=["0-255", "uint8", "negative", "above 1"],
)
def test_values_outside_the_support(vae, method, x, found):
    message = rf"`x` has values from {found}, outside the support \[0, 1\] of Bernoulli.*255"
    with pytest.raises(ValueError, match=message):
        getattr(vae, method)(x)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(vae, method, value):
    with pytest.raises(ValueError, match="`x` holds NaN.* in 1 of 6 examples, .* example 4"):
        getattr(vae, method)(spoiled(value))


@pytest.mark.parametrize("value", [np.nan, 2.0])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: Dataset(x),
        lambda x: tf.constant(x),
        lambda x: x.tolist(),
        lambda x: tf.data.Dataset.from_tensor_slices(x).batch(6),
    ],
    ids=["Dataset", "tensor", "list", "tf.data"],
)
def test_values_are_checked_in_every_form(vae, wrap, value):
    for method in TRAINING:
        with pytest.raises(ValueError, match="`x` h(olds NaN|as values from 0.5 to 2)"):
            getattr(vae, method)(wrap(spoiled(value)))


def test_values_of_a_generator_are_checked_in_its_first_batch(vae):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return (spoiled(7.0),)

    with pytest.raises(ValueError, match="from 0.5 to 7"):
        vae.fit(Batches())


def test_targets_and_validation_data_are_checked(vae):
    with pytest.raises(ValueError, match="`y` has values from 0.5 to 2"):
        vae.fit(images(), spoiled(2.0))
    with pytest.raises(ValueError, match="`y` holds NaN"):
        vae.evaluate(images(), spoiled(np.nan))
    for validation in (spoiled(2.0), Dataset(spoiled(2.0)), (images(), spoiled(2.0))):
        with pytest.raises(ValueError, match="from 0.5 to 2, outside"):
            vae.fit(images(), validation_data=validation)


def test_inputs_beside_a_target_may_leave_the_support(make_vae):
    # A denoising autoencoder: noise may push the inputs out of [0, 1], never the target.
    vae = make_vae(optimizer="sgd", eager=True)
    assert np.isfinite(vae.fit(spoiled(1.5), images(), verbose=0).history["loss"]).all()


def test_any_value_suits_a_gaussian(make_vae):
    vae = make_vae(likelihood="gaussian", optimizer="sgd", eager=True)
    assert np.isfinite(vae.evaluate(spoiled(-300.0), verbose=0)).all()


# Types and sizes.


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("dtype", [object, str, complex])
def test_what_are_no_numbers(vae, method, dtype):
    with pytest.raises(ValueError, match="`x` holds .*, not numbers"):
        getattr(vae, method)(images().astype(dtype))


@pytest.mark.parametrize("method", ALL)
def test_nothing(vae, method):
    with pytest.raises(ValueError, match=r"`x` is empty: its shape is \(0, 8, 8, 1\)"):
        getattr(vae, method)(images(0))


def test_no_data_at_all(vae):
    with pytest.raises(ValueError, match="`fit` takes an array"):
        vae.fit()


# Shapes.


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    "shape, hint",
    [
        ((6, 8, 8), r" Add the channel axis: x\[..., None\]\."),
        (
            (8, 8, 1),
            r" Add the batch axis: x\[None\]\. A tf.data.Dataset .* dataset.batch\(128\)\.",
        ),
        ((6, 64), r" Give the rows their shape: x.reshape\(\(-1, 8, 8, 1\)\)\."),
        ((6, 8, 9, 1), ""),
        ((6, 8, 8, 3), ""),
        ((6,), ""),
    ],
    ids=str,
)
def test_a_wrong_shape_and_what_to_do(vae, method, shape, hint):
    got = str(shape).replace("(", r"\(").replace(")", r"\)")
    message = rf"`x` has shape {got}, the model takes \(n, 8, 8, 1\)\.{hint}$"
    with pytest.raises(ValueError, match=message):
        getattr(vae, method)(np.full(shape, 0.5, "float32"))


@pytest.mark.parametrize("method", TRAINING)
def test_a_wrong_shape_of_datasets_and_batches(vae, method):
    wrong = images(event=(8, 9, 1))
    for data in (Dataset(wrong), tf.data.Dataset.from_tensor_slices(wrong).batch(3)):
        with pytest.raises(ValueError, match=r"8, 9, 1\), the model takes \(n, 8, 8, 1\)"):
            getattr(vae, method)(data)


@pytest.mark.parametrize("method", TRAINING)
@pytest.mark.parametrize("labels", [np.arange(6), np.eye(6)], ids=["classes", "one-hot"])
def test_labels_are_not_a_target(vae, method, labels):
    pairs = tf.data.Dataset.from_tensor_slices((images(), labels)).batch(6)
    for arguments in ((images(), labels), (pairs,)):
        with pytest.raises(ValueError, match="`y` has shape .*Labels are not a target"):
            getattr(vae, method)(*arguments, verbose=0)


def test_a_target_belongs_into_the_dataset(vae):
    with pytest.raises(ValueError, match=r"Dataset\(..., target=y\)"):
        vae.fit(Dataset(images()), images())


# Latents.


@pytest.mark.parametrize(
    "z, message",
    [
        (np.zeros((3, 4)), r"`z` has shape \(3, 4\), the model takes \(n, 2\)"),
        (np.zeros(2), r"`z` has shape \(2,\), the model takes \(n, 2\)"),
        (np.zeros((2, 3, 2)), r"`z` has shape \(2, 3, 2\)"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "`z` holds NaN.* 1 of 2 examples, .* example 1"),
        (np.array([["a", "b"]]), "`z` holds .*, not numbers"),
        (np.zeros((1, 2), object), "`z` holds object, not numbers"),
        (np.zeros((0, 2)), r"`z` is empty: its shape is \(0, 2\)"),
    ],
)
def test_latents(vae, z, message):
    with pytest.raises(ValueError, match=message):
        vae.decode(z)


# What the networks return.


def test_an_encoder_that_lacks_a_parameter(make_vae):
    x = keras.Input((8, 8, 1))
    mean = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    with pytest.raises(ValueError, match=r"returns \['z_mean'\].* needs 'z_log_var'"):
        make_vae(encoder=keras.Model(x, {"z_mean": mean}))
    with pytest.raises(ValueError, match="returns 3 tensors.*its 2 parameters"):
        make_vae(encoder=keras.Model(x, [mean, mean, mean]))
    with pytest.raises(ValueError, match=r"'z_mean' with shape \(None, 2\).*latent_dim=3"):
        make_vae(latent_dim=3, encoder=keras.Model(x, {"z_mean": mean, "z_log_var": mean}))


def test_a_part_of_another_kind(make_vae):
    with pytest.raises(TypeError, match="`posterior` is a Posterior or one of 'delta'"):
        make_vae(posterior=kvae.priors.StandardNormal())


# Numbers beyond float32, in which models compute.


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize(
    "wrap", [np.asarray, tf.constant, np.ndarray.tolist], ids=["array", "tensor", "list"]
)
def test_numbers_too_large_for_float32(vae, method, wrap):
    x = images().astype("float64")
    x[4, 3, 2] = 1e39
    with pytest.raises(ValueError, match="`x` holds numbers too large for float32.*example 4"):
        getattr(vae, method)(wrap(x))


def test_latents_targets_and_datasets_too_large_for_float32(vae):
    large = images().astype("float64") * 1e39
    with pytest.raises(ValueError, match="`z` holds numbers too large for float32"):
        vae.decode([[1e39, 0.0]])
    for call in (
        lambda: vae.fit(images(), large),
        lambda: vae.fit(images(), validation_data=large),
        lambda: vae.train_on_batch(large),
        lambda: Dataset(large),
        lambda: Dataset(images(), target=large),
    ):
        with pytest.raises(ValueError, match="too large for float32"):
            call()


# Counts and other numbers.

NO_COUNTS = [0, -1, 2.5, 2.0, True, "2", np.nan, None]


@pytest.mark.parametrize("size", NO_COUNTS, ids=repr)
def test_a_batch_size_is_a_whole_number(vae, size):
    x, z = images(), np.zeros((3, 2))
    calls = {
        "encode": lambda: vae.encode(x, batch_size=size),
        "decode": lambda: vae.decode(z, batch_size=size),
        "reconstruct": lambda: vae.reconstruct(x, batch_size=size),
        "sample": lambda: vae.sample(3, seed=0, batch_size=size),
        "log_prob": lambda: vae.log_prob(x, batch_size=size),
        "batches": lambda: Dataset(x).batches(size),
        "steps": lambda: Dataset(x).steps(size),
    }
    if size is not None:  # Which is Keras's own default.
        calls["fit"] = lambda: vae.fit(x, batch_size=size)
        calls["fit of a Dataset"] = lambda: vae.fit(Dataset(x), batch_size=size)
        calls["evaluate"] = lambda: vae.evaluate(x, batch_size=size)
        calls["predict"] = lambda: vae.predict(x, batch_size=size)
        calls["validation"] = lambda: vae.fit(x, validation_data=x, validation_batch_size=size)
    for name, call in calls.items():
        with pytest.raises(ValueError, match="batch_size` is a whole number of at least 1, not"):
            call()
            pytest.fail(name)


@pytest.mark.default("np.int64(2)")
@pytest.mark.parametrize("size", [np.int64(2), np.uint8(2), np.array(2), tf.constant(2)], ids=repr)
def test_whole_numbers_of_numpy_and_tensorflow(make_vae, size):
    vae, x = make_vae(optimizer="sgd", eager=True), images()
    assert vae.encode(x, batch_size=size)["z_mean"].shape == (6, 2)
    assert vae.sample(size, seed=0).shape == (2, 8, 8, 1)
    assert vae.log_prob(x, num_samples=size, batch_size=size).value.shape == (6,)
    assert Dataset(x).steps(size) == 3
    vae.fit(x, batch_size=size, epochs=size, verbose=0)
    assert int(vae.optimizer.iterations) == 6


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda vae, x: vae.fit(x, epochs=-1), "`epochs` is a whole number of at least 0"),
        (lambda vae, x: vae.fit(x, epochs=1.5), "`epochs` is a whole number"),
        (lambda vae, x: vae.fit(x, epochs=True), "`epochs` is a whole number"),
        (lambda vae, x: vae.fit(x, steps_per_epoch=0), "`steps_per_epoch` is a whole number"),
        (lambda vae, x: vae.fit(x, validation_split=np.nan), "`validation_split` is a finite"),
        (lambda vae, x: vae.fit(x, validation_split=-0.5), "`validation_split` is a finite"),
        (lambda vae, x: vae.fit(x, validation_split=1.5), "`validation_split` is a .* at most 1"),
        (lambda vae, x: vae.log_prob(x, num_samples=2.5), "`num_samples` is a whole number"),
        (lambda vae, x: vae.log_prob(x, num_samples=0), "`num_samples` is a whole number"),
        (lambda vae, x: vae.sample(1, temperature=np.nan), "`temperature` is a finite number of"),
        (lambda vae, x: vae.sample(1, temperature=-1.0), "`temperature` is .* at least 0, not -1"),
        (lambda vae, x: vae.sample(1, temperature=np.inf), "`temperature` is a finite number"),
        (lambda vae, x: vae.sample(1, temperature="1"), "`temperature` is a finite number"),
    ],
)
def test_other_numbers(vae, call, message):
    with pytest.raises(ValueError, match=message):
        call(vae, images())


def test_at_temperature_zero_there_is_no_noise(vae):
    draws = vae.sample(3, seed=0, temperature=np.float32(0.0))
    np.testing.assert_array_equal(draws, vae.decode(np.zeros((3, 2))))
