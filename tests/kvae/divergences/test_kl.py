"""kvae.divergences: closed forms against TensorFlow Probability and against their definition."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import divergences
from kvae.posteriors import Delta, DiagonalGaussian
from kvae.priors import Prior, StandardNormal


def gaussian(n=6, d=3, seed=0):
    values = np.random.default_rng(seed).normal(size=(2, n, d)).astype("float32")
    return {"z_mean": tf.constant(values[0]), "z_log_var": tf.constant(values[1])}


def test_kl_is_that_of_tfp():
    params = gaussian()
    kl = divergences.closed_form_kl(DiagonalGaussian(3), StandardNormal(3))(params)
    q = tfp.distributions.MultivariateNormalDiag(
        params["z_mean"], np.exp(0.5 * params["z_log_var"])
    )
    p = tfp.distributions.MultivariateNormalDiag(tf.zeros(3), tf.ones(3))
    assert kl.shape == (6,)
    np.testing.assert_allclose(kl, tfp.distributions.kl_divergence(q, p), rtol=1e-5)


def test_kl_is_the_expectation_that_defines_it():
    posterior, prior, params, n = DiagonalGaussian(3), StandardNormal(3), gaussian(), 20_000
    z, log_q = posterior.sample_and_log_prob(params, n, seed=3)
    log_ratio = (log_q - prior.log_prob(z)).numpy()
    standard_error = log_ratio.std(axis=0) / np.sqrt(n)
    kl = divergences.closed_form_kl(posterior, prior)(params)
    assert (standard_error < 0.05).all()
    assert (np.abs(log_ratio.mean(axis=0) - kl) < 4 * standard_error).all()


def test_kl_is_zero_at_the_prior_only():
    kl = divergences.closed_form_kl(DiagonalGaussian(2), StandardNormal(2))
    z_mean = tf.constant([[0.0, 0.0], [0.1, 0.0], [0.0, 0.0]])
    z_log_var = tf.constant([[0.0, 0.0], [0.0, 0.0], [0.0, -0.2]])
    values = kl({"z_mean": z_mean, "z_log_var": z_log_var}).numpy()
    # To second order m²/2 for the mean and v²/4 for the log-variance.
    np.testing.assert_allclose(values, [0.0, 0.005, 0.01], rtol=0.1, atol=1e-7)


@pytest.mark.parametrize("prior", [None, StandardNormal(3)])
def test_a_point_mass_has_none(prior):
    kl = divergences.closed_form_kl(Delta(3), prior)
    np.testing.assert_array_equal(kl({"z_mean": gaussian()["z_mean"]}), np.zeros(6))


class OtherPrior(Prior):
    pass


class WidePosterior(DiagonalGaussian):
    pass


def test_unknown_pairs_have_no_closed_form():
    assert divergences.closed_form_kl(DiagonalGaussian(2), OtherPrior(2)) is None


def test_registered_pairs_are_found_by_the_nearest_class(monkeypatch):
    monkeypatch.setattr(divergences.kl, "_CLOSED_FORMS", dict(divergences.kl._CLOSED_FORMS))
    params = gaussian()
    inherited = divergences.closed_form_kl(WidePosterior(3), StandardNormal(3))
    own = divergences.closed_form_kl(DiagonalGaussian(3), StandardNormal(3))
    np.testing.assert_array_equal(inherited(params), own(params))

    @divergences.register_kl(WidePosterior, StandardNormal)
    def _(posterior, params, prior):
        return tf.fill([6], float(posterior.latent_dim + prior.latent_dim))

    nearest = divergences.closed_form_kl(WidePosterior(3), StandardNormal(3))
    np.testing.assert_array_equal(nearest(params), np.full(6, 6.0))
    np.testing.assert_array_equal(
        divergences.closed_form_kl(DiagonalGaussian(3), StandardNormal(3))(params), own(params)
    )
