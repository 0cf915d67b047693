"""kvae.studies.what_the_kl_compares and bernoulli_or_mse: what their tables are computed from."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import kvae
from kvae.studies.bernoulli_or_mse import Binned
from kvae.studies.what_the_kl_compares import MistakenNoise, gaussian_kl, honest


def test_gaussian_kl():
    rng = np.random.default_rng(0)
    factor, mean = rng.normal(size=(3, 3)), rng.normal(size=3)
    covariance = factor @ factor.T
    tfd = tfp.distributions
    exact = tfd.kl_divergence(
        tfd.MultivariateNormalFullCovariance(mean, covariance),
        tfd.MultivariateNormalDiag(np.zeros(3)),
    )
    assert gaussian_kl(mean, covariance) == pytest.approx(float(exact), rel=1e-8)


def test_the_mistake_draws_what_the_honest_posterior_says(make_vae, digits):
    vae = make_vae(posterior=MistakenNoise())
    true = honest(vae)
    wrong = vae.encode(digits[:4])
    params = true.encode(digits[:4])
    z = np.asarray(vae.posterior.sample(wrong, 20_000, seed=1))
    scale = np.abs(np.log(0.5 * np.exp(0.5 * wrong["z_log_var"])))
    np.testing.assert_allclose(z.std(axis=0), scale, rtol=0.03)
    np.testing.assert_allclose(np.exp(0.5 * params["z_log_var"]), scale, rtol=1e-4)
    np.testing.assert_allclose(params["z_mean"], wrong["z_mean"], rtol=1e-5)
    # At σ = 2 the noise is gone.
    at_two = {"z_mean": tf.zeros((1, 2)), "z_log_var": tf.fill((1, 2), np.float32(np.log(4.0)))}
    np.testing.assert_allclose(vae.posterior.sample(at_two, 3, seed=1), 0.0, atol=1e-6)


def test_averages_are_a_beta(make_vae, digits):
    """mean-over-pixels BCE + mean-over-latents KL has the gradient of β = P / D, over P."""
    vae = make_vae()
    pixels, latents = 64, vae.latent_dim

    def gradient(loss_of):
        with tf.GradientTape() as tape:
            terms = loss_of()
        variables = vae.encoder.trainable_variables
        return np.concatenate([np.ravel(g) for g in tape.gradient(terms, variables)])

    def averaged():
        terms = kvae.ELBO().terms(vae, digits, digits, training=False, seed=1)
        return tf.reduce_mean(terms["reconstruction"] / pixels + terms["kl"] / latents)

    def weighted():
        objective = kvae.ELBO(beta=pixels / latents)
        return tf.reduce_mean(objective.terms(vae, digits, digits, training=False, seed=1)["loss"])

    np.testing.assert_allclose(
        pixels * gradient(averaged), gradient(weighted), rtol=1e-3, atol=1e-4
    )


LEVELS = 17
GREY = np.arange(LEVELS, dtype="float32") / (LEVELS - 1)


@pytest.mark.parametrize("mean, sigma", [(0.4, 0.3), (-0.5, 0.05), (1.4, 0.1), (0.5, 1.0)])
def test_bins_of_a_gaussian(mean, sigma):
    binned = Binned(kvae.GaussianLikelihood(scale=sigma), LEVELS)
    params = binned(tf.fill((LEVELS, 1), np.float32(mean)))
    found = np.float64(binned.element_log_prob(params, GREY[:, None])[:, 0])
    normal = scipy.stats.norm(mean, sigma)
    edges = np.concatenate([[-np.inf], (GREY[1:] + GREY[:-1]) / 2.0, [np.inf]])
    mass = np.diff(normal.cdf(edges))
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-4)
    likely = mass > 1e-8
    np.testing.assert_allclose(found[likely], np.log(mass[likely]), rtol=1e-3, atol=1e-3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 1e-4, 0.5, 12.0])
@pytest.mark.parametrize("base", [kvae.Bernoulli, kvae.ContinuousBernoulli])
def test_bins_of_a_continuous_bernoulli(logit, base):
    binned = Binned(base(), LEVELS)
    params = binned(tf.fill((LEVELS, 1), np.float32(logit)))
    found = np.float64(binned.element_log_prob(params, GREY[:, None])[:, 0])
    edges = np.clip(np.concatenate([[0], (GREY[1:] + GREY[:-1]) / 2.0, [1]]), 0, 1)
    cdf = np.expm1(logit * edges) / np.expm1(logit) if logit else edges
    np.testing.assert_allclose(np.exp(found), np.diff(cdf), rtol=2e-3, atol=1e-7)
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-3)


def test_what_the_kl_compares(run_study, monkeypatch):
    from kvae.studies import what_the_kl_compares

    monkeypatch.setattr(what_the_kl_compares, "_BETAS", (0.0, 0.5, 1.0, 2.0, 10.0))
    findings, page = run_study("what-the-kl-compares")
    assert len(findings) == 8 and "posteriors_and_prior.png" in page
    assert "| pixels and latents averaged | 8 |" in page  # 64 pixels over 8 latents.


def test_bernoulli_or_mse(run_study):
    findings, page = run_study("bernoulli-or-mse")
    assert len(findings) == 7
    assert "| continuous Bernoulli |" in page and "17 grey levels" in page
