"""Continuous Bernoulli, Laplace: densities against TFP and integrals, moments, extremes."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import likelihoods
from kvae.likelihoods import ContinuousBernoulli, Laplace, StudentT

RNG = np.random.default_rng(0)
EVENT = (3, 4, 2)
N = 20_000
LOGITS = np.array([-30.0, -3.0, -1.0, -0.999, -0.01, 0.0, 1e-4, 0.5, 0.999, 1.0, 2.0, 15.0])


def exact_continuous_bernoulli(logits):
    """log-density at (l, x) and mean in float64, from the definition's integral."""

    def moment(logit, k):
        # exp(l x - max(l, 0)) never overflows.
        area = scipy.integrate.quad(
            lambda x: x**k * np.exp(logit * x - max(logit, 0.0)), 0, 1, epsabs=1e-13, epsrel=1e-12
        )
        return area[0]

    norm = np.array([moment(logit, 0) for logit in logits])
    mean = np.array([moment(logit, 1) for logit in logits]) / norm
    return lambda x: x * logits - np.maximum(logits, 0.0) - np.log(norm), mean


def test_continuous_bernoulli_is_its_normalised_definition_at_every_logit():
    # Those around the switch from series to closed form (±1) among them.
    log_density, mean = exact_continuous_bernoulli(LOGITS)
    params = {"logits": LOGITS.astype("float32")}
    for x in (0.0, 0.3, 1.0):
        value = ContinuousBernoulli().element_log_prob(params, np.float32(x))
        np.testing.assert_allclose(value, log_density(x), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(ContinuousBernoulli().mean(params), mean, rtol=2e-6)


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_continuous_bernoulli_log_prob_is_that_of_tfp(lead):
    logits = RNG.normal(size=(*lead, *EVENT), scale=3).astype("float32")
    x = RNG.random((5, *EVENT)).astype("float32")
    likelihood = ContinuousBernoulli()
    by_tfp = tfp.distributions.ContinuousBernoulli(logits=logits.astype(np.float64))
    log_p = likelihood.log_prob(likelihood(logits), x)
    assert log_p.shape == lead
    exact = np.sum(by_tfp.log_prob(x.astype(np.float64)), axis=(-3, -2, -1))
    np.testing.assert_allclose(log_p, exact, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        likelihood.mean({"logits": logits}), by_tfp.mean(), rtol=1e-4, atol=1e-5
    )


def test_continuous_bernoulli_is_the_cross_entropy_less_its_constant():
    logits, x = RNG.normal(size=(50,)) * 4, RNG.random(50)
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -(x * np.log(p) + (1 - x) * np.log(1 - p))
    log_c = np.log(2 * np.arctanh(1 - 2 * p) / (1 - 2 * p))
    value = ContinuousBernoulli().element_log_prob(
        {"logits": logits.astype("float32")}, x.astype("float32")
    )
    np.testing.assert_allclose(value, log_c - cross_entropy, rtol=1e-5, atol=2e-6)


def test_continuous_bernoulli_gradient_is_x_minus_the_mean():
    # An exponential family: its score is x - E[x], also at 0 and where the series ends.
    _, mean = exact_continuous_bernoulli(LOGITS)
    logits = tf.constant(LOGITS, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_p = ContinuousBernoulli().element_log_prob({"logits": logits}, 0.25)
    np.testing.assert_allclose(tape.gradient(log_p, logits), 0.25 - mean, atol=2e-6)


def test_continuous_bernoulli_draws_and_mode():
    logits = np.array([-1e3, -8.0, -1.0, 0.0, 0.3, 20.0], "float32")
    likelihood, params = ContinuousBernoulli(), {"logits": np.tile(logits, (N, 1))}
    draws = likelihood.sample(params, 3).numpy()
    assert draws.min() >= 0 and draws.max() <= 1
    error = 5 * draws.std(axis=0) / np.sqrt(N)
    assert (np.abs(draws.mean(axis=0) - likelihood.mean({"logits": logits})) < error).all()
    for i, rate in enumerate([8.0, 1.0], start=1):
        # A negative logit makes it the exponential of that rate, cut off at 1.
        cdf = scipy.stats.truncexpon(b=rate, scale=1 / rate).cdf
        assert scipy.stats.kstest(draws[:, i], cdf).pvalue > 1e-4
    np.testing.assert_array_equal(likelihood.sample(params, 3), draws)
    assert not np.array_equal(likelihood.sample(params, 4), draws)
    np.testing.assert_array_equal(likelihood.mode({"logits": logits}), [0, 0, 0, 0, 1, 1])


# Laplace.


@pytest.mark.parametrize("variance", ["fixed", "global", "per_pixel"])
@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_laplace_log_prob_is_that_of_tfp(variance, lead):
    likelihood = Laplace(variance, scale=0.3)
    outputs = RNG.normal(size=(*lead, *likelihood.output_shape(EVENT))).astype("float32")
    x = RNG.normal(size=(5, *EVENT)).astype("float32")
    mean, b = outputs, 0.3
    if variance == "per_pixel":
        mean, b = outputs[..., :2], np.exp(outputs[..., 2:])
    log_p = likelihood.log_prob(likelihood(outputs), x)
    assert log_p.shape == lead
    by_tfp = tfp.distributions.Laplace(mean, b).log_prob(x)
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-5)


def test_laplace_of_unit_scale_is_the_absolute_error():
    outputs, x = RNG.normal(size=(2, 5, *EVENT)).astype("float32")
    absolute = np.abs(x - outputs).sum(axis=(1, 2, 3))
    likelihood = Laplace()
    np.testing.assert_allclose(
        likelihood.log_prob(likelihood(outputs), x), -absolute - 24 * np.log(2), rtol=1e-5
    )


def test_laplace_draws():
    likelihood = Laplace(scale=0.5)
    params = likelihood(np.full((N, 1), 2.0, "float32"))
    draws = likelihood.sample(params, 1).numpy()[:, 0]
    assert scipy.stats.kstest(draws, scipy.stats.laplace(2.0, 0.5).cdf).pvalue > 1e-4
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(likelihood.sample(params, 1)[:, 0], draws)


def test_the_global_laplace_scale_has_the_mean_absolute_error_as_optimum():
    likelihood = Laplace("global", scale=0.7)
    outputs, x = RNG.normal(size=(2, 50, *EVENT)).astype("float32")
    likelihood(outputs)
    (log_scale,) = likelihood.trainable_variables
    np.testing.assert_allclose(log_scale, np.log(0.7), rtol=1e-6)

    def gradient(value):
        log_scale.assign(value)
        with tf.GradientTape() as tape:
            log_p = tf.reduce_mean(likelihood.log_prob(likelihood(outputs), x))
        return float(tape.gradient(log_p, log_scale.value))

    optimum = np.log(np.abs(x - outputs).mean())
    assert abs(gradient(optimum)) < 1e-4
    assert gradient(optimum - 0.5) > 1 and gradient(optimum + 0.5) < -1


@pytest.mark.parametrize("variance", ["global", "per_pixel"])
@pytest.mark.parametrize("extreme", [-1e3, 1e3])
def test_laplace_scales_stay_bounded(variance, extreme):
    likelihood = Laplace(variance, log_scale_bound=6.0)
    outputs = np.full((2, *likelihood.output_shape((3,))), extreme, "float32")
    if variance == "global":
        likelihood(outputs)
        likelihood.log_scale.assign(extreme)
    params = likelihood(outputs)
    np.testing.assert_allclose(params["log_scale"], np.full((2, 3), 6 * np.sign(extreme)))


def test_laplace_errors():
    with pytest.raises(ValueError, match="Unknown variance 'fixd'.*'fixed'"):
        Laplace("fixd")
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`scale` is positive"):
            Laplace(scale=bad)
        with pytest.raises(ValueError, match="`log_scale_bound` is positive"):
            Laplace(log_scale_bound=bad)


@pytest.mark.parametrize("low, high", [(0, 255), (-1, 1), (0, 1.001)])
def test_continuous_bernoulli_names_the_range(low, high):
    x = np.linspace(low, high, 12).reshape(3, 4)
    with pytest.raises(ValueError, match=rf"from {low} to {high}, .*\[0, 1\] of Continuous.*255"):
        ContinuousBernoulli().check(x)
    ContinuousBernoulli().check(x, support=False)
    Laplace().check(x)
    assert isinstance(likelihoods.get("laplace"), Laplace)


@pytest.mark.parametrize("df", [2.5, 3.0, 40.0, None])
def test_student_t_log_prob_is_that_of_scipy(df):
    likelihood = StudentT("per_pixel", df=df)
    outputs = RNG.normal(size=(5, *likelihood.output_shape(EVENT))).astype("float32")
    x = (4 * RNG.normal(size=(5, *EVENT))).astype("float32")
    params = likelihood(outputs)
    mean, log_scale, *of_df = np.split(outputs.astype(float), likelihood.num_parameters, axis=-1)
    exact_df = df or 3.0 + np.logaddexp(0.0, of_df[0])
    exact = scipy.stats.t.logpdf(x, exact_df, mean, np.exp(log_scale)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(likelihood.log_prob(params, x), exact, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(likelihood.mean(params), mean, rtol=1e-6)


def test_student_t_draws_have_its_quantiles():
    likelihood = StudentT(scale=2.0, df=3.0)
    draws = likelihood.sample(likelihood(np.full((N, 1), 1.0, "float32")), seed=1)
    assert scipy.stats.kstest(draws[:, 0], scipy.stats.t(3.0, 1.0, 2.0).cdf).pvalue > 1e-3
    for bad in ({"df": 2.0}, {"df": float("inf")}, {"scale": 0.0}, {"variance": "learned"}):
        with pytest.raises(ValueError):
            StudentT(**bad)
