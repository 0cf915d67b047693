"""kvae.likelihoods: densities against TensorFlow Probability, moments, extremes, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import likelihoods
from kvae.likelihoods import Bernoulli, Gaussian

RNG = np.random.default_rng(0)
EVENT = (3, 4, 2)
VARIANCES = ["fixed", "global", "per_pixel"]


def outputs_of(likelihood, *lead, scale=1.0):
    shape = (*lead, *likelihood.output_shape(EVENT))
    return (scale * RNG.normal(size=shape)).astype("float32")


# Bernoulli.


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_bernoulli_log_prob_is_that_of_tfp(lead):
    logits = outputs_of(Bernoulli(), *lead, scale=3.0)
    x = (RNG.random((5, *EVENT)) < 0.5).astype("float32")
    likelihood = Bernoulli()
    by_tfp = tfp.distributions.Bernoulli(logits=logits).log_prob(x)
    log_p = likelihood.log_prob(likelihood(logits), x)
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-5)


def test_bernoulli_of_intensities_is_the_binary_cross_entropy():
    logits, x = outputs_of(Bernoulli(), 5), RNG.random((5, *EVENT)).astype("float32")
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    exact = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(Bernoulli().log_prob({"logits": logits}, x), exact, rtol=1e-5)


@pytest.mark.parametrize("logit", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
def test_bernoulli_with_extreme_logits(logit, x):
    logits = tf.fill((1, 1), logit)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_p = Bernoulli().log_prob({"logits": logits}, np.full((1, 1), x, "float32"))
    exact = -(x * np.logaddexp(0, -logit) + (1 - x) * np.logaddexp(0, logit))
    np.testing.assert_allclose(log_p, [exact], rtol=1e-6, atol=1e-6)
    gradient = x - np.exp(-np.logaddexp(0, -logit))
    np.testing.assert_allclose(tape.gradient(log_p, logits), [[gradient]], atol=1e-6)


def test_bernoulli_gradient_is_that_of_the_tape():
    likelihood, generator = Bernoulli(), np.random.default_rng(0)
    logits = tf.constant(40 * generator.normal(size=(3, 2, 7)), tf.float32)
    x = generator.random((2, 7)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = likelihood.log_prob({"logits": logits}, x)
    found = likelihood.log_prob_gradient({"logits": logits}, x)["logits"]
    np.testing.assert_allclose(found, tape.gradient(log_prob, logits), atol=1e-6)
    likelihood.take_missing()  # Then it is another function.
    assert likelihood.log_prob_gradient({"logits": logits}, x) is None


def test_bernoulli_mean_mode_and_draws():
    likelihood, n = Bernoulli(), 20_000
    logits = np.array([-3.0, -0.5, 0.25, 2.0], "float32")
    p = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(likelihood.mean({"logits": logits}), p, rtol=1e-6)
    np.testing.assert_array_equal(likelihood.mode({"logits": logits}), [0, 0, 1, 1])
    params = {"logits": np.tile(logits, (n, 1))}
    draws = likelihood.sample(params, 3).numpy()
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert (np.abs(draws.mean(axis=0) - p) < 5 * np.sqrt(p * (1 - p) / n)).all()
    np.testing.assert_array_equal(likelihood.sample(params, 3), draws)
    assert not np.array_equal(likelihood.sample(params, 4), draws)


# Gaussian.


def scales(likelihood, outputs):
    """The mean and σ that the documentation promises, computed by hand."""
    if likelihood.variance == "per_pixel":
        half = outputs.shape[-1] // 2
        return outputs[..., :half], np.exp(0.5 * outputs[..., half:])
    return outputs, np.full_like(outputs, likelihood.scale)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_gaussian_log_prob_is_that_of_tfp(variance, lead):
    likelihood = Gaussian(variance, scale=0.3)
    outputs = outputs_of(likelihood, *lead)
    x = RNG.normal(size=(5, *EVENT)).astype("float32")
    mean, sigma = scales(likelihood, outputs)
    by_tfp = tfp.distributions.Normal(mean, sigma).log_prob(x)
    log_p = likelihood.log_prob(likelihood(outputs), x)
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-5)


@pytest.mark.parametrize("variance", VARIANCES)
def test_gaussian_mean_mode_and_draws(variance):
    likelihood, n = Gaussian(variance, scale=0.3), 20_000
    outputs = outputs_of(likelihood, 1)
    mean, sigma = scales(likelihood, outputs)
    params = likelihood(np.repeat(outputs, n, axis=0))
    np.testing.assert_array_equal(likelihood.mean(params)[:1], mean)
    np.testing.assert_array_equal(likelihood.mode(params)[:1], mean)
    draws = likelihood.sample(params, 3).numpy()
    assert draws.shape == (n, *EVENT)
    assert (np.abs(draws.mean(axis=0) - mean) < 5 * sigma / np.sqrt(n)).all()
    assert (np.abs(draws.var(axis=0) - sigma**2) < 5 * sigma**2 * np.sqrt(2 / n)).all()
    np.testing.assert_array_equal(likelihood.sample(params, 3), draws)


def test_gaussian_of_fixed_scale_is_the_squared_error():
    likelihood = Gaussian(scale=np.sqrt(0.5))
    outputs, x = outputs_of(likelihood, 5), RNG.normal(size=(5, *EVENT)).astype("float32")
    squared = ((x - outputs) ** 2).sum(axis=(1, 2, 3))
    constant = 0.5 * np.prod(EVENT) * np.log(2 * np.pi * 0.5)
    np.testing.assert_allclose(
        likelihood.log_prob(likelihood(outputs), x), -squared - constant, rtol=1e-5
    )


@pytest.mark.parametrize("variance", ["global", "per_pixel"])
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_learned_variances_stay_bounded(variance, extreme):
    likelihood = Gaussian(variance, log_var_bound=6.0)
    outputs = outputs_of(likelihood, 5)
    if variance == "global":
        likelihood(outputs)
        likelihood.log_var.assign(extreme)
    else:
        outputs[..., EVENT[-1] :] = extreme
    params = likelihood(outputs)
    np.testing.assert_allclose(params["log_var"], np.full((5, *EVENT), 6.0 * np.sign(extreme)))
    assert np.isfinite(likelihood.log_prob(params, np.ones((5, *EVENT), "float32"))).all()


def test_the_global_variance_is_trainable_and_its_optimum_is_the_mean_squared_error():
    likelihood = Gaussian("global", scale=0.7)
    outputs, x = outputs_of(likelihood, 50), RNG.normal(size=(50, *EVENT)).astype("float32")
    likelihood(outputs)
    (log_var,) = likelihood.trainable_variables
    np.testing.assert_allclose(log_var, 2 * np.log(0.7), rtol=1e-6)

    def gradient(value):
        log_var.assign(value)
        with tf.GradientTape() as tape:
            log_p = tf.reduce_mean(likelihood.log_prob(likelihood(outputs), x))
        return float(tape.gradient(log_p, log_var.value))

    optimum = np.log(np.mean((x - outputs) ** 2))
    assert abs(gradient(optimum)) < 1e-4
    assert gradient(optimum - 0.5) > 1 and gradient(optimum + 0.5) < -1


@pytest.mark.parametrize("event", [(28, 28, 1), (27, 31, 3), (30, 2), (7,)])
@pytest.mark.parametrize(
    "likelihood, factor",
    [
        (Bernoulli(), 1),
        (Gaussian(), 1),
        (Gaussian("global"), 1),
        (Gaussian("per_pixel"), 2),
    ],
)
def test_output_shape(likelihood, factor, event):
    shape = likelihood.output_shape(event)
    assert shape == (*event[:-1], factor * event[-1])
    params = likelihood(np.zeros((2, *shape), "float32"))
    assert likelihood.mean(params).shape == (2, *event)


# Configuration and errors.


@pytest.mark.parametrize(
    "part, attributes",
    [
        (Bernoulli(), {}),
        (
            Gaussian("global", scale=0.2, log_var_bound=5.0),
            {"variance": "global", "scale": 0.2, "log_var_bound": 5.0},
        ),
    ],
)
def test_config_round_trip(part, attributes):
    copy = likelihoods.get(keras.saving.serialize_keras_object(part))
    assert type(copy) is type(part)
    assert {name: getattr(copy, name) for name in attributes} == attributes


def test_get_and_its_errors():
    assert isinstance(likelihoods.get("bernoulli"), Bernoulli)
    assert isinstance(likelihoods.get("gaussian"), Gaussian)
    with pytest.raises(ValueError, match="Unknown likelihood 'bernouli'.*'bernoulli'"):
        likelihoods.get("bernouli")
    with pytest.raises(ValueError, match="Unknown variance 'fixd'.*'fixed'"):
        Gaussian("fixd")
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`scale` is positive"):
            Gaussian(scale=scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("support", [True, False])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian()])
def test_check_finds_the_example_that_is_not_finite(likelihood, support, bad):
    x = np.full((9, 4), 0.5)
    x[[5, 7], 2] = bad
    with pytest.raises(ValueError, match="`data` holds NaN.* 2 of 9 examples, .* example 5"):
        likelihood.check(x, "data", support=support)
    large = np.full((9, 4), 1e30, "float32")  # The squares of which are too large.
    assert likelihood.check(large, support=False) is large
    assert likelihood.check(large[:, ::2], support=False).shape == (9, 2)


@pytest.mark.parametrize("low, high", [(0, 255), (-1, 1), (0, 1.001)])
def test_check_names_the_range_and_the_support(low, high):
    x = np.linspace(low, high, 12).reshape(3, 4)
    with pytest.raises(ValueError, match=rf"from {low} to {high}, .*\[0, 1\] of Bernoulli.*255"):
        Bernoulli().check(x)
    Bernoulli().check(x, support=False)
    Gaussian().check(x)


@pytest.mark.parametrize("dtype", [object, complex, str])
def test_check_refuses_what_are_no_numbers(dtype):
    with pytest.raises(ValueError, match="not numbers"):
        Gaussian().check(np.ones((2, 2)).astype(dtype))
    for fine in (bool, np.uint8, np.float16, np.int64):
        Bernoulli().check(np.ones((2, 2), fine))


def test_check_refuses_empty_arrays():
    with pytest.raises(ValueError, match=r"empty.*\(0, 4\)"):
        Bernoulli().check(np.zeros((0, 4)))
