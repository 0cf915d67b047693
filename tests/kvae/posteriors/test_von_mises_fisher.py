"""The quadrature behind `VonMisesFisher`, from nearly uniform to nearly a point."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import kvae
from kvae.posteriors import PowerSpherical, VonMisesFisher
from kvae.priors import UniformSphere

CASES = [(d, kappa) for d in (2, 3, 5, 40) for kappa in (0.01, 1.0, 30.0, 1000.0)]


def parameters(d, kappa, seed=0):
    mean = np.random.default_rng(seed).normal(size=(1, d))
    mean /= np.linalg.norm(mean)
    return {"z_mean": tf.constant(mean, tf.float32), "z_concentration": tf.constant([[kappa]])}


def mean_cosine(d, kappa):
    return scipy.special.ive(d / 2, kappa) / scipy.special.ive(d / 2 - 1, kappa)


@pytest.mark.parametrize("d, kappa", CASES)
def test_density_and_draws_are_those_of_scipy(d, kappa):
    posterior, params = VonMisesFisher(d), parameters(d, kappa)
    n = 4000
    z = np.float64(posterior.sample(params, n, seed=1))[:, 0]
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, rtol=1e-5)
    mean = np.float64(params["z_mean"][0])
    exact = scipy.stats.vonmises_fisher(mean / np.linalg.norm(mean), kappa)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    found = posterior.log_prob(params, np.float32(z)[:50, None])[:, 0]
    np.testing.assert_allclose(found, exact.logpdf(z[:50]), rtol=1e-4, atol=1e-3)
    cosine = z @ mean
    error = cosine.std(ddof=1) / np.sqrt(n)
    assert abs(cosine.mean() - mean_cosine(d, kappa)) < 5 * error
    # The directions around the mean are uniform.
    rest = z - cosine[:, None] * mean
    assert (np.abs(rest.mean(axis=0)) < 5 * rest.std(axis=0) / np.sqrt(n) + 1e-6).all()


@pytest.mark.parametrize("d, kappa", CASES)
def test_the_quantile_function_inverts_the_distribution_function(d, kappa):
    """F(θ) by SciPy's quadrature, at the angles that are drawn for known uniform numbers."""
    uniform = np.array([1e-4, 0.05, 0.3, 0.5, 0.9, 0.9999])[:, None]
    concentration = tf.constant([kappa], tf.float64)
    cosine, sine = VonMisesFisher(d).angle(concentration, tf.constant(uniform))
    theta = np.arctan2(sine, cosine)[:, 0]

    def density(t):
        return np.exp(kappa * (np.cos(t) - 1)) * np.sin(t) ** (d - 2)

    peak = np.arccos(2 * kappa / (d - 2 + np.sqrt((d - 2) ** 2 + 4 * kappa**2)))
    width = 12 / np.sqrt(kappa + d - 2)
    ends = max(0.0, peak - width), min(np.pi, peak + width)
    nodes, weights = np.polynomial.legendre.leggauss(200)

    def integral(a, b):
        return 0.5 * (b - a) * np.sum(weights * density(0.5 * (a + b) + 0.5 * (b - a) * nodes))

    total = integral(*ends)
    exact = [integral(ends[0], t) / total for t in theta]
    np.testing.assert_allclose(exact, uniform[:, 0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("d, kappa", [(2, 2.0), (3, 30.0), (10, 5.0)])
def test_gradients_of_draws_are_those_of_the_expectation(d, kappa):
    """d/dκ of E[cos θ], by draws and by Bessel functions."""
    concentration = tf.Variable([kappa], dtype=tf.float64)
    uniform = (np.arange(2000) + 0.5)[:, None] / 2000
    with tf.GradientTape() as tape:
        cosine, _ = VonMisesFisher(d).angle(concentration, tf.constant(uniform))
        value = tf.reduce_mean(cosine)
    step = 1e-3 * kappa
    slope = (mean_cosine(d, kappa + step) - mean_cosine(d, kappa - step)) / (2 * step)
    assert float(value) == pytest.approx(mean_cosine(d, kappa), rel=1e-3)
    assert float(tape.gradient(value, concentration)[0]) == pytest.approx(slope, rel=1e-2)


@pytest.mark.slow  # Compiled by XLA.
def test_compiled_by_xla():
    posterior, params = VonMisesFisher(4), parameters(4, 20.0)

    @tf.function(jit_compile=True)
    def draw(params):
        with tf.GradientTape() as tape:
            tape.watch(params)
            z, log_q = posterior.sample_and_log_prob(params, 5, seed=3)
            total = tf.reduce_sum(z[..., 0] + log_q)
        return z, tape.gradient(total, params)

    z, gradients = draw(params)
    np.testing.assert_allclose(z, posterior.sample(params, 5, seed=3), rtol=1e-4, atol=1e-5)
    assert all(np.isfinite(value).all() for value in gradients.values())


def test_models_that_were_saved_before_keep_their_numbers():
    config = VonMisesFisher(5).get_config()
    del config["min_concentration"]
    raw = {"z_mean": tf.ones((1, 5)), "z_concentration": tf.constant([[-100.0]])}
    params = VonMisesFisher.from_config(config).constrain(raw)
    np.testing.assert_allclose(params["z_concentration"], 0.01)


@pytest.mark.parametrize("kind", [VonMisesFisher, PowerSpherical])
def test_no_posterior_is_the_prior(kind):
    """However little the encoder says, z tells the decoder where the mean is."""
    posterior = kind(5)
    raw = {"z_mean": tf.constant([[0.0, 2.0, 0.0, 0.0, 0.0]]), "z_concentration": [[-100.0]]}
    params = posterior.constrain(raw)
    assert params["z_concentration"] == 1.0
    z = np.float64(posterior.sample(params, 4000, seed=0))[:, 0, 1]
    exact = mean_cosine(5, 1.0) if kind is VonMisesFisher else 1.0 / 5.0  # κ / (κ + d − 1)
    assert abs(z.mean() - exact) < 4 * z.std() / np.sqrt(4000)
    nats = kvae.divergences.closed_form_kl(posterior, UniformSphere(5))(params)
    assert float(nats[0]) == pytest.approx(1.0 / (2 * 5), rel=0.15)
