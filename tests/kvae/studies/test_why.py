"""kvae.studies.why_sample and why_two_parameters: the computations behind their tables."""

import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.studies.draws import expectation_gap, gradient_noise, second_order_gap


def test_the_second_order_gap_is_exact_for_a_quadratic_likelihood(linear_gaussian):
    """log N(x; W z + b, s²) has the Hessian −WᵀW / s², so the gap is −½ tr(Σ WᵀW) / s²."""
    vae = linear_gaussian.vae(widen=0.3)
    x = tf.constant(linear_gaussian.draw(5, seed=0))
    params = vae.encode_params(x)
    variance = linear_gaussian.variance * np.exp(0.3)
    exact = -0.5 * np.sum(variance * np.sum(linear_gaussian.w**2, axis=0)) / linear_gaussian.s**2
    np.testing.assert_allclose(second_order_gap(vae, params, x), np.full(5, exact), rtol=1e-4)
    runs = np.stack([expectation_gap(vae, params, x, 2000, seed) for seed in range(8)])
    error = runs.std(axis=0, ddof=1) / np.sqrt(8)
    assert (np.abs(runs.mean(axis=0) - exact) < 5 * error).all() and error.max() < 0.1


@pytest.mark.slow  # The test above has the exact gap of a linear model.
def test_the_second_order_gap_against_a_hessian(make_vae, digits):
    vae = make_vae()
    x = tf.constant(digits[:3])
    params = vae.encode_params(x)
    with tf.GradientTape() as outer:
        outer.watch(z := tf.identity(params["z_mean"]))
        with tf.GradientTape() as inner:
            inner.watch(z)
            value = vae.likelihood.log_prob(vae.decode_params(z), x)
        gradient = inner.gradient(value, z)
    diagonal = tf.linalg.diag_part(outer.batch_jacobian(gradient, z))
    exact = 0.5 * np.sum(np.exp(params["z_log_var"]) * diagonal, axis=-1)
    np.testing.assert_allclose(second_order_gap(vae, params, x), exact, rtol=1e-3, atol=1e-5)


@pytest.mark.slow  # As the study.
def test_gradient_noise_falls_with_the_samples_and_is_none_at_the_true_posterior(linear_gaussian):
    vae = linear_gaussian.vae()
    x = tf.constant(linear_gaussian.draw(8, seed=0))
    one, ten = (
        gradient_noise(vae, kvae.objectives.ELBO(num_samples=num), x, 80, seed=1) for num in (1, 10)
    )
    assert one / ten == pytest.approx(10.0, rel=0.35)
    assert gradient_noise(vae, kvae.objectives.ELBO(gradient="path"), x, 10, seed=1) < 1e-6 * one


@pytest.fixture
def tiny(monkeypatch):
    from kvae.studies import why_sample, why_two_parameters

    monkeypatch.setattr(why_sample, "_REPEATS", 3)
    monkeypatch.setattr(why_sample, "_NOISE_SAMPLES", (1, 2))
    monkeypatch.setattr(why_sample, "_SAMPLES", (1, 2))
    monkeypatch.setattr(why_two_parameters, "_FEW", 3)


@pytest.mark.slow  # As the other studies.
def test_why_sample(run_study, tiny):
    findings, page = run_study("why-sample")
    assert len(findings) == 7
    assert "mean only, Gaussian fitted to its codes" in page and "gap_and_noise.png" in page


@pytest.mark.slow
def test_why_two_parameters(run_study, tiny):
    findings, page = run_study("why-two-parameters")
    assert len(findings) == 11
    for name in ("Delta", "UnitVariance", "PriorNoise", "DiagonalGaussian", "IAF"):
        assert page.count(f"| {name} |") == 3  # In each of the three tables.
    noise = next(found for found in findings if "Without μ" in found["claim"])
    assert "KL 0.00, 0 active units" in noise["evidence"]
