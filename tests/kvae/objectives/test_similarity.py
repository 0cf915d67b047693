"""MS-SSIM and features of networks in the place of log p(x|z)."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.divergences.ms_ssim import POWER_FACTORS, ms_ssim, scales_that_fit

SIZES = {"window": 5, "power_factors": (0.25, 0.75)}


@pytest.fixture(scope="module")
def pairs():
    """Images of odd sides and two channels, and others that are more or less like them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(4, 23, 18, 2)).astype("float32")
    noise = rng.uniform(size=x.shape).astype("float32")
    return x, x + np.float32([0.0, 0.2, 0.7, 1.0])[:, None, None, None] * (noise - x)


def by_hand(x, y, factors, window, sigma):
    """MS-SSIM of images `[h, w]`, window by window."""
    places = np.arange(window) - (window - 1) / 2
    row = np.exp(-0.5 * (places / sigma) ** 2)
    weights = np.outer(row, row) / np.outer(row, row).sum()
    product = 1.0
    for index, factor in enumerate(factors):
        if index:
            x, y = (
                np.pad(image, [(0, size % 2) for size in image.shape], "edge") for image in (x, y)
            )
            x, y = (
                (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
                for image in (x, y)
            )
        found = []
        for i in range(x.shape[0] - window + 1):
            for j in range(x.shape[1] - window + 1):
                a, b = (image[i : i + window, j : j + window] for image in (x, y))
                means = (weights * a).sum(), (weights * b).sum()
                covariance = (weights * (a - means[0]) * (b - means[1])).sum()
                variances = (weights * ((a - means[0]) ** 2 + (b - means[1]) ** 2)).sum()
                structure = (2 * covariance + 0.0009) / (variances + 0.0009)
                bright = (2 * means[0] * means[1] + 0.0001) / (
                    means[0] ** 2 + means[1] ** 2 + 0.0001
                )
                found.append(structure * (bright if index == len(factors) - 1 else 1.0))
        product *= max(np.mean(found), 0.0) ** factor
    return product


def test_ms_ssim_is_what_tensorflow_and_a_loop_over_windows_say(pairs):
    x, y = pairs
    found = ms_ssim(x, y, (0.25, 0.75), window=5, sigma=1.2).numpy()
    theirs = tf.image.ssim_multiscale(x, y, 1.0, (0.25, 0.75), filter_size=5, filter_sigma=1.2)
    np.testing.assert_allclose(found, theirs, rtol=1e-4)
    each = [by_hand(x[1, ..., c], y[1, ..., c], (0.25, 0.75), 5, 1.2) for c in range(2)]
    np.testing.assert_allclose(found[1], np.mean(each), rtol=1e-4)
    assert found[0] == pytest.approx(1.0) and np.all(np.diff(found) < -0.01)
    large = np.random.default_rng(1).uniform(size=(1, 176, 176, 1)).astype("float32")
    assert scales_that_fit(176) == (11, pytest.approx(POWER_FACTORS, abs=1e-4))
    theirs = tf.image.ssim_multiscale(large, large**2, 1.0)
    np.testing.assert_allclose(ms_ssim(large, large**2), theirs, rtol=1e-4)


def test_its_gradient_is_finite_where_nothing_is_alike():
    x = np.indices((8, 8)).sum(axis=0)[..., None] % 2.0
    variable = tf.constant(1.0 - x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = ms_ssim(x, variable, (0.5, 0.5), window=3)
    assert value == 0.0 and np.isfinite(tape.gradient(value, variable)).all()
    assert scales_that_fit(8) == (3, pytest.approx(np.divide([0.2363, 0.1333], 0.3696)))
    # Half as large an image has the scales of the larger one without the finest.
    assert scales_that_fit(88)[1] == pytest.approx(
        np.divide(POWER_FACTORS[1:], 1 - POWER_FACTORS[0]), rel=1e-3
    )
    assert scales_that_fit(28)[0] == 7 and len(scales_that_fit(28)[1]) == 3


def test_the_loss_by_structure(make_vae, digits):
    objective = kvae.objectives.MSSSIM(
        weight=7.0, reconstruction_weight=0.5, beta=2.0, num_samples=2, **SIZES | {"window": 3}
    )
    vae = make_vae(objective=objective)
    x = digits[:6]
    terms = objective.terms(vae, x, x, training=False, seed=4)
    z = vae.posterior.sample(vae.encode_params(x), 2, seed=4)
    decoded = vae.likelihood.mean(vae.decode_params(z))
    factors, sigma = (0.25, 0.75), 1.5 * 3 / 11
    alike = [
        tf.image.ssim_multiscale(x, one, 1.0, factors, filter_size=3, filter_sigma=sigma)
        for one in decoded
    ]
    np.testing.assert_allclose(terms["structure"], 1 - np.mean(alike, axis=0), rtol=1e-3)
    expected = 7.0 * terms["structure"] + 0.5 * terms["reconstruction"] + 2.0 * terms["kl"]
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)
    assert objective.metric_names()[-1] == "structure"


def test_images_are_brought_into_the_unit_range():
    images = np.float32([-1.0, 0.0, 3.0])
    for likelihood, value_range, expected in (
        ("gaussian", (-1, 3), [0.0, 0.25, 1.0]),
        ("gaussian", None, images),
        ("categorical:5", None, images / 4),
        ("bernoulli", None, images),
    ):
        model = types.SimpleNamespace(likelihood=kvae.likelihoods.get(likelihood))
        found = kvae.objectives.MSSSIM(value_range=value_range).in_unit_range(model, images)
        np.testing.assert_allclose(found, expected)


def features():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation="tanh", name="first"),
            layers.Flatten(),
            layers.Dense(4, name="second"),
            layers.Dense(2, name="unused"),
        ]
    )


def test_the_loss_in_features_and_a_model_that_keeps_them(make_vae, digits, tmp_path):
    network = features()
    objective = kvae.objectives.Perceptual(network, ["first", "second"], weight=3.0)
    vae = make_vae(objective=objective, optimizer="sgd", eager=True)
    x = digits[:6]
    before = network.get_weights()
    vae.trainable = True
    vae.train_on_batch(x)
    held = {variable.path for variable in vae.trainable_variables}
    assert not held & {variable.path for variable in objective.network.variables}
    np.testing.assert_array_equal(objective.network.learned[0], before[0])
    terms = objective.terms(vae, x, x, training=False, seed=4)
    z = vae.posterior.sample(vae.encode_params(x), seed=4)
    decoded = vae.likelihood.mean(vae.decode_params(z))
    expected = 0.0
    for name in ("first", "second"):
        layer = keras.Model(network.inputs, network.get_layer(name).output)
        off = np.square(layer(decoded) - layer(x)).reshape(6, -1)
        expected = expected + off.mean(axis=1) / 2
    np.testing.assert_allclose(terms["features"], expected, rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], 3.0 * expected + terms["kl"], rtol=1e-5)
    vae.save(tmp_path / "model.keras")
    again = kvae.load_model(tmp_path / "model.keras")
    same = again.objective.terms(again, x, x, training=False, seed=4)
    np.testing.assert_allclose(same["loss"], terms["loss"], rtol=1e-6)
    assert "unused" not in str(again.objective.get_config())


@pytest.mark.slow  # A network of 2 million weights; a given one is tested above.
def test_an_application_sees_images_as_it_was_trained(make_vae):
    for channels, name, scale in ((1, "vgg16", "caffe"), (3, "mobilenet_v2", "tf")):
        event = (32, 32, channels)
        objective = kvae.objectives.Perceptual(name, weights=None)
        vae = make_vae(event, objective=objective)
        x = np.random.default_rng(0).uniform(size=(2, *event)).astype("float32")
        truncated = objective._given().layers[-1]
        colours = np.repeat(x, 3 // channels, axis=-1)
        seen = keras.applications.imagenet_utils.preprocess_input(255.0 * colours, mode=scale)
        for own, theirs in zip(objective.network(x), truncated(seen), strict=True):
            np.testing.assert_allclose(own, theirs, rtol=1e-3, atol=1e-4)
        assert np.isfinite(objective.terms(vae, x, x, training=True, seed=0)["loss"]).all()


def test_wrong_settings_and_models(make_vae):
    objectives = kvae.objectives
    for make, error, words in (
        (lambda: objectives.MSSSIM(value_range=(1, 0)), ValueError, "from black to white"),
        (lambda: objectives.MSSSIM(value_range=3), ValueError, "a pair of numbers, not 3"),
        (lambda: objectives.MSSSIM(window=1), ValueError, "`window` is at least 2"),
        (lambda: objectives.MSSSIM(power_factors=[]), ValueError, "`power_factors` are positive"),
        (lambda: objectives.Perceptual("vgg18"), ValueError, "vgg18.*vgg16"),
        (lambda: objectives.Perceptual(3), TypeError, "keras.Model or one of"),
        (lambda: objectives.Perceptual(features(), []), ValueError, "one layer at least"),
    ):
        with pytest.raises(error, match=words):
            make()
    with pytest.raises(ValueError, match=r"have 4 at scale 2 of 2, fewer than the window of 5"):
        make_vae(objective=objectives.MSSSIM(**SIZES))
    with pytest.raises(ValueError, match="compares images.*Use objective='elbo'"):
        make_vae((64,), objective="ms_ssim")
    with pytest.raises(ValueError, match="takes missing values"):
        make_vae(objective="ms_ssim", missing="zero")
    with pytest.raises(ValueError, match="vgg19 takes images of at least 32"):
        make_vae(objective="perceptual")
    with pytest.raises(ValueError, match="Unknown feature layer 'third'"):
        make_vae(objective=objectives.Perceptual(features(), ["third"]))
    with pytest.raises(ValueError, match=r"and the model's images have \(8, 7, 1\)"):
        make_vae((8, 7, 1), objective=objectives.Perceptual(features()))
