"""Sequences of different lengths: every way to give them is the same, and padding is not seen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import datasets

STEPS, LENGTHS = 6, (2, 5, 6, 3)
RNG = np.random.default_rng(0)
SEQUENCES = [RNG.normal(size=(n, 1)).astype("float32") for n in LENGTHS]
PADDED = datasets.padded(SEQUENCES)
GARBAGE = np.where(np.isnan(PADDED), 7.0, PADDED)


def build(missing="zero:mask", layer=None, steps=STEPS, **settings):
    keras.utils.set_random_seed(1)
    layer = keras.layers.LSTM(4) if layer is None else layer
    encoder = keras.Sequential([keras.Input((steps, 2 if "mask" in missing else 1)), layer])
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.RepeatVector(steps),
            keras.layers.SimpleRNN(3, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    vae = kvae.VAE(encoder, decoder, 2, likelihood="gaussian", missing=missing, **settings)
    vae.compile("sgd", run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return build()


def ways():
    """The same four sequences, in each form that is taken."""
    values, kinds = tf.constant(np.concatenate(SEQUENCES)), tf.TensorSpec((None, 1))
    each = tf.data.Dataset.from_generator(lambda: iter(SEQUENCES), output_signature=kinds)
    ragged = tf.RaggedTensor.from_row_lengths(values, LENGTHS)
    return {
        "list of arrays": SEQUENCES,
        "list of lists of numbers": [one[:, 0].tolist() for one in SEQUENCES],
        "array of objects": np.array(SEQUENCES, dtype=object),
        "ragged": ragged,
        "ragged, one channel": tf.RaggedTensor.from_row_lengths(values[:, 0], LENGTHS),
        "NaN": PADDED,
        "NaN, longer": datasets.padded(SEQUENCES, STEPS),
        "mask of steps": {"x": GARBAGE, "mask": ~np.isnan(PADDED[..., 0])},
        "lengths": {"x": GARBAGE, "lengths": list(LENGTHS)},
        "dataset": datasets.Dataset(PADDED),
        "tf.data, padded": each.padded_batch(3, padding_values=np.float32("nan")),
        "tf.data, ragged": each.ragged_batch(3),
        "tf.data, lengths": tf.data.Dataset.from_tensors(
            {"x": GARBAGE, "lengths": np.array(LENGTHS)}
        ),
        "buckets": iter([SEQUENCES[0][None], SEQUENCES[1][None], PADDED[2:]]),
    }


@pytest.fixture(scope="module")
def wanted(vae):
    full = datasets.padded(SEQUENCES, STEPS)
    return vae.encode(full)["z_mean"], vae.log_prob(full, num_samples=9).value


@pytest.mark.default("list of arrays", "ragged", "mask of steps", "tf.data, lengths", "buckets")
@pytest.mark.parametrize("way", ways())
def test_every_way_to_give_sequences_is_the_same(vae, wanted, way):
    np.testing.assert_allclose(vae.encode(ways()[way])["z_mean"], wanted[0], atol=1e-6)
    if way in ("list of arrays", "tf.data, padded", "buckets"):
        found = vae.log_prob(ways()[way], num_samples=9).value
        np.testing.assert_allclose(found, wanted[1], rtol=1e-5)


# What `fit` is given goes through the same door; tests/zoo/test_sequences.py trains on a list.
@pytest.mark.slow
def test_training_on_each_is_the_same():
    found = []
    for way in ("list of arrays", "tf.data, lengths"):
        vae = build()
        batches = ways()[way]
        if way == "tf.data, lengths":
            batches = batches.unbatch().batch(3)
        vae.fit(batches, batch_size=3, shuffle=False, verbose=0)
        found.append(vae.get_weights())
    for weights in found[1:]:
        for a, b in zip(weights, found[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(4),
        pytest.param(keras.layers.Bidirectional(keras.layers.GRU(3)), marks=pytest.mark.slow),
        pytest.param(keras.layers.LSTM(4, unroll=True), marks=pytest.mark.slow),
        pytest.param(keras.layers.GRU(4), marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("error:.*masking")
def test_recurrent_encoders_do_not_see_the_padding(layer):
    """What the layer returns for the bare sequences is what the model has of padded ones."""
    vae = build("learned:mask", layer)
    vae.missing.set_weights([w + 3.0 for w in vae.missing.get_weights()])
    x = tf.constant(datasets.padded(SEQUENCES, STEPS))
    found = vae.encoder(vae.missing.seen(vae.likelihood, x, ~tf.math.is_nan(x)))
    for sequence, own in zip(SEQUENCES, found, strict=True):
        bare = layer(tf.constant(np.concatenate([sequence, np.ones_like(sequence)], -1))[None])
        np.testing.assert_allclose(own, bare[0], atol=1e-6)
    # A model of longer sequences with the same weights says the same of them.
    longer = build("zero:mask", type(layer).from_config(layer.get_config()), steps=STEPS + 3)
    shorter = build("zero:mask", type(layer).from_config(layer.get_config()))
    longer.set_weights(shorter.get_weights())
    for one in (longer, shorter):
        one.posterior.set_weights(vae.posterior.get_weights())
    a, b = (one.encode(SEQUENCES)["z_mean"] for one in (longer, shorter))
    np.testing.assert_allclose(a, b, atol=1e-6)
    a, b = (one.log_prob(SEQUENCES, num_samples=5).value for one in (longer, shorter))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_gaps_before_the_end_are_steps(vae):
    gap = datasets.padded(SEQUENCES, STEPS)
    gap[2, 3] = np.nan
    without = np.delete(gap[2:3], 3, axis=1)
    assert not np.allclose(vae.encode(gap[2:3])["z_mean"], vae.encode(without)["z_mean"])


def test_files_keep_the_mask(vae, tmp_path, wanted):
    full = datasets.padded(SEQUENCES, STEPS)
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.encode(SEQUENCES)["z_mean"], wanted[0], atol=1e-6)
    vae.encoder_model().save(tmp_path / "encoder.keras")
    encoder = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(encoder(full)["z_mean"], wanted[0], atol=1e-6)


def test_a_forecast_is_an_imputation_of_the_steps_to_come(vae):
    """The decoder is linear in nothing; what is asked is where values come from, and where not."""
    found = vae.impute(SEQUENCES, num_samples=20)
    assert found.value.shape == (4, STEPS, 1) and np.isfinite(found.value).all()
    for row, sequence in zip(found.value, SEQUENCES, strict=True):
        assert row[: len(sequence)].tobytes() == sequence.tobytes()


def test_lists_of_numbers_have_one_channel(vae):
    x = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    np.testing.assert_allclose(
        vae.encode(x)["z_mean"], vae.encode(np.array(x)[..., None])["z_mean"], atol=1e-6
    )


def test_unpadded_is_the_inverse():
    for a, b in zip(datasets.unpadded(PADDED), SEQUENCES, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([np.ones((2, 1)), np.ones((9, 1))], "sequence 1 of 9 steps, and .* at most 6"),
        ([np.ones((2, 1)), np.ones((0, 1))], "Sequence 1 of `x` has no steps"),
        ([np.ones((2, 1)), np.ones((3, 2))], r"sequence 1 of `x` have shape \(2,\)"),
        ([[[1.0], [2.0, 3.0]], [[1.0]]], "differ in their number of channels"),
        ([["a"], ["b", "c"]], "Sequence 0 of `x` holds <U1, not numbers"),
        ({"x": GARBAGE, "lengths": [1, 0, 2, 3]}, "from 1 to .*given are 0 to 3 of 6"),
        ({"x": GARBAGE, "lengths": [1, 7, 2, 3]}, "given are 1 to 7 of 6 steps"),
        ({"x": GARBAGE, "lengths": [1, 2]}, r"`lengths` has shape \(2,\)"),
        ({"x": GARBAGE, "lengths": [1.0, 2.0, 2.0, 2.0]}, "whole numbers.*given are float64"),
        ({"x": GARBAGE, "mask": np.ones((4, 3), bool)}, r"`mask` has shape \(4, 3\)"),
        (np.ones((2, 9, 1)), "a sequence of 9 steps, and the model takes at most 6"),
        (datasets.Dataset(np.ones((2, 3, 1))), r"padded\(x, steps=6\)"),
        (np.ones((2, 3, 2)), r"shape \(2, 3, 2\), the model takes \(n, 6, 1\)"),
    ],
)
def test_refusals(vae, x, words):
    with pytest.raises(ValueError, match=words) as caught:
        vae.encode(x)
    assert "\n" not in str(caught.value)


def test_a_model_of_complete_data_names_the_option(make_encoder, make_decoder):
    plain = kvae.VAE(make_encoder((6, 1)), make_decoder((6, 1)), 2, likelihood="gaussian")
    for x in (ways()["ragged"], SEQUENCES):
        with pytest.raises(ValueError, match="`missing`"):
            plain.encode(x)
