"""The hyperbolic secant, whose loss is log-cosh, against SciPy."""

import numpy as np
import scipy.stats
import tensorflow as tf

import kvae


def test_density_and_draws_are_those_of_scipy():
    likelihood = kvae.likelihoods.get("log_cosh:scale=0.3")
    mean = np.random.default_rng(0).normal(size=(2000, 4)).astype("float32")
    params = likelihood(mean)
    drawn = likelihood.sample(params, kvae.random.as_seed(1)).numpy()
    known = scipy.stats.hypsecant(mean, 0.3)
    np.testing.assert_allclose(
        likelihood.log_prob(params, drawn), known.logpdf(drawn).sum(axis=1), rtol=1e-4, atol=1e-4
    )
    standard = ((drawn - mean) / 0.3).ravel()
    assert scipy.stats.kstest(standard, scipy.stats.hypsecant.cdf).pvalue > 0.01
    log_cosh = np.log(np.cosh((drawn - mean) / 0.3)).sum(axis=1)
    loss = -likelihood.log_prob(params, drawn).numpy()
    np.testing.assert_allclose(loss - log_cosh, 4 * np.log(0.3 * np.pi), rtol=1e-3, atol=1e-3)


def test_far_off_it_is_finite_and_at_the_mean_smooth():
    likelihood = kvae.likelihoods.HyperbolicSecant()
    x = tf.constant([[-1e4], [-0.5], [0.0], [1e-3], [1e4]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = likelihood.log_prob(likelihood(tf.zeros((5, 1))), x)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(tape.gradient(value, x), -np.tanh(x), rtol=1e-4, atol=1e-6)
