"""Data formats: the zoo keeps its own, and models of the user's own may have either."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import kvae
import zoo
from kvae.plots.grid import as_images
from zoo.classifiers import classifier_card


@pytest.fixture
def channels_first():
    """As `"image_data_format": "channels_first"` in keras.json."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


SMALL = {
    "tabular_vae": {"event_shape": (6,)},
    "timeseries_vae": {"event_shape": (15, 3), "filters": (2, 3), "hidden": 4},
    "lstm_autoencoder": {"event_shape": (4, 3), "width": 3},
    "vqvae": {"event_shape": (9, 8, 3), "filters": (2, 3), "num_embeddings": 4, "embedding_dim": 2},
    "conv_vae": {"event_shape": (9, 8, 3), "filters": (2, 3), "hidden": 4},
    "dense_vae": {"event_shape": (3, 4, 2), "hidden": (5,)},
}


def numbers(name):
    """Codes, a reconstruction and a draw of a model with known weights, as bytes of an array."""
    vae = zoo.build(name, **SMALL[name])
    generator = np.random.default_rng(0)
    for weight in vae.weights:
        if weight.dtype == "float32":
            weight.assign(generator.normal(0, 0.3, weight.shape))
    x = generator.random((3, *vae.event_shape), np.float32)
    found = [*vae.encode(x).values(), vae.reconstruct(x)]
    if vae.prior is not None:
        found.append(vae.sample(2, seed=1))
    return [np.asarray(value) for value in found]


last = functools.cache(numbers)


@pytest.fixture(params=sorted(SMALL))
def with_channels_last(request):
    """An architecture, and its numbers under Keras's default, computed before it changes."""
    return request.param, last(request.param)


@pytest.mark.default("conv_vae")
@pytest.mark.usefixtures("eagerly")
def test_the_zoo_has_the_same_numbers(with_channels_last, channels_first):
    name, expected = with_channels_last
    for found, wanted in zip(numbers(name), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["dense_vae.digits", "conv_vae.digits", "lstm_autoencoder.digits"])
@pytest.mark.slow  # The networks above and the classifier below say it by default.
def test_trained_models_keep_their_figures(name, channels_first):
    card, vae = zoo.card(name), zoo.load(name)
    test = kvae.datasets.load("digits", "test", binarize=card.preprocessing["binarize"])
    found = vae.evaluate(test, verbose=0, return_dict=True)["reconstruction"]
    assert found == pytest.approx(card.metrics["reconstruction"], abs=0.5)


def test_the_classifier_keeps_its_accuracy(channels_first):
    test = kvae.datasets.load("digits", "test")
    found = zoo.load_classifier("digits")(test.examples)["logits"]
    accuracy = np.mean(np.argmax(found, axis=1) == test.labels)
    assert accuracy == pytest.approx(classifier_card("digits").metrics["accuracy"], abs=0.003)


def own(data_format, likelihood):
    """A convolutional VAE, equal to that of the other format but for the order of the axes."""
    keras.utils.set_random_seed(1)
    first = data_format == "channels_first"
    shape = (3, 8, 10) if first else (8, 10, 3)
    form = {"data_format": data_format, "padding": "same", "strides": 2}
    encoder = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, activation="relu", **form),
            layers.Flatten(data_format=data_format),
            layers.Dense(6),
        ]
    )
    turned = [layers.Permute((3, 1, 2))] if first else []
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(80),
            layers.Reshape((4, 5, 4)),
            *turned,
            layers.Conv2DTranspose(3, 4, **form),
        ]
    )
    return kvae.VAE(encoder, decoder, latent_dim=2, likelihood=likelihood)


@pytest.mark.default("gaussian")
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_own_networks_of_either_format_have_the_same_numbers(likelihood, tmp_path, eagerly):
    x = np.random.default_rng(0).integers(2, size=(4, 8, 10, 3)).astype(np.float32)
    turned = x.transpose(0, 3, 1, 2)
    one, other = own("channels_last", likelihood), own("channels_first", likelihood)
    assert other.event_shape == (3, 8, 10)
    expected = one.log_prob(x, num_samples=3).value
    np.testing.assert_allclose(other.log_prob(turned, num_samples=3).value, expected, rtol=1e-5)
    drawn = np.asarray(other.sample(2, seed=0)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(drawn, one.sample(2, seed=0), rtol=1e-4, atol=1e-5)
    other.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.reconstruct(turned), other.reconstruct(turned))
    # Pictures of them are those of the others.
    np.testing.assert_array_equal(as_images(turned), x)
    grey = x[..., :1]
    np.testing.assert_array_equal(as_images(grey.transpose(0, 3, 1, 2)), as_images(grey))


def test_parameters_on_the_first_axis_are_refused_with_the_layers_that_turn_them():
    """Two parameters for each value: [6, 8, 10] is not [3, 8, 20], which has other numbers."""
    encoder = keras.Sequential([keras.Input((3, 8, 10)), layers.Flatten(), layers.Dense(4)])
    outputs = [layers.Dense(480), layers.Reshape((6, 8, 10))]
    gaussian = kvae.likelihoods.Gaussian("per_pixel")
    with pytest.raises(ValueError, match="parameters of x on the last axis"):
        kvae.VAE(encoder, keras.Sequential([keras.Input((2,)), *outputs]), 2, likelihood=gaussian)
    turn = [
        layers.Reshape((3, 2, 8, 10)), layers.Permute((1, 3, 4, 2)), layers.Reshape((3, 8, 20)),
    ]  # fmt: skip
    decoder = keras.Sequential([keras.Input((2,)), *outputs, *turn])
    vae = kvae.VAE(encoder, decoder, 2, likelihood=kvae.likelihoods.Gaussian("per_pixel"))
    assert vae.sample(2, seed=0).shape == (2, 3, 8, 10)
