"""kvae.priors: the mixture of Gaussians and the sphere, against SciPy, TFP and closed forms."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import priors, random
from kvae.distributions.gaussian import pick_component
from kvae.priors import GaussianMixture, StandardNormal, UniformSphere

K, D = 3, 2


@pytest.fixture
def mixture():
    """A mixture that has been trained, as it were."""
    rng = np.random.default_rng(0)
    prior = GaussianMixture(K, latent_dim=D)
    prior.build()
    prior.means.assign(3.0 * rng.normal(size=(K, D)))
    prior.raw_log_vars.assign(rng.normal(size=(K, D)))
    prior.logits.assign([0.7, -1.0, 0.2])
    return prior


def exact(prior):
    """Weights, means and scales in float64."""
    w = scipy.special.softmax(np.float64(prior.logits))
    return w, np.float64(prior.means), np.exp(0.5 * np.float64(prior.log_vars))


def test_mixture_log_prob_is_that_of_scipy(mixture):
    w, means, scales = exact(mixture)
    z = 3.0 * np.random.default_rng(1).normal(size=(4, 5, D)).astype("float32")
    each = scipy.stats.norm(means, scales).logpdf(z[..., None, :]).sum(axis=-1)
    log_p = mixture.log_prob(z)
    assert log_p.shape == (4, 5)
    np.testing.assert_allclose(
        log_p, scipy.special.logsumexp(each, b=w, axis=-1), rtol=1e-5, atol=1e-5
    )
    truth = scipy.special.softmax(each + np.log(w), axis=-1)
    np.testing.assert_allclose(mixture.responsibilities(z), truth, rtol=1e-4, atol=1e-6)
    # CMVAE's sum over clusters, with q(k|z) = p(k|z), is log p(z).
    q = np.float64(mixture.responsibilities(z)) + 1e-20
    over_clusters = np.sum(q * (np.log(w) + each - np.log(q)), axis=-1)
    np.testing.assert_allclose(log_p, over_clusters, rtol=1e-4, atol=1e-4)


def test_mixture_draws_have_the_mixture_s_moments(mixture):
    w, means, scales = exact(mixture)
    z, n = np.float64(mixture.sample(40_000, 3)), 40_000
    mean = w @ means
    second = np.einsum("k,ki,kj->ij", w, means, means) + np.diag(w @ scales**2)
    products = np.einsum("ni,nj->nij", z, z)
    for values, truth in ((z, mean), (products, second)):
        error = values.std(axis=0) / np.sqrt(n)
        assert (np.abs(values.mean(axis=0) - truth) < 5 * error).all()
        assert error.max() < 0.1
    np.testing.assert_allclose(mixture.mean(), mean, rtol=1e-5)


def test_one_coordinate_of_noise_gives_a_component_and_fresh_noise(mixture):
    noise = random.normal([20_000, D], 4)
    chosen, fresh = pick_component(tf.constant(mixture.logits), noise)
    component = np.argmax(chosen, axis=-1)
    np.testing.assert_array_equal(np.sum(chosen, axis=-1), np.ones(20_000))
    w = exact(mixture)[0]
    counts = np.bincount(component, minlength=K)
    assert scipy.stats.chisquare(counts, 20_000 * w).pvalue > 1e-3
    for k in range(K):  # Gaussian whatever the component: independent of it.
        for i in range(D):
            assert scipy.stats.kstest(fresh.numpy()[component == k, i], "norm").pvalue > 1e-3
    np.testing.assert_array_equal(fresh[:, 1:], noise[:, 1:])


def test_components_without_weight_are_not_drawn_and_noise_stays_finite():
    noise = tf.constant([[-6.0, 0.0], [0.0, 0.0], [6.0, 0.0], [40.0, 0.0], [-40.0, 0.0]])
    chosen, fresh = pick_component(tf.constant([-80.0, 0.0, -80.0]), noise)
    assert np.isfinite(fresh).all()
    np.testing.assert_array_equal(np.argmax(chosen, axis=-1)[:3], [1, 1, 1])
    np.testing.assert_allclose(fresh[:3], noise[:3], atol=1e-4)


def test_one_component_is_a_gaussian():
    prior = GaussianMixture(1, latent_dim=D)
    prior.build()
    prior.means.assign(np.zeros((1, D)))
    z = random.normal([50, D], 0)
    np.testing.assert_allclose(
        prior.transform({"noise": z, "component_uniform": tf.zeros((50, 1))}), z, atol=1e-5
    )
    np.testing.assert_allclose(prior.log_prob(z), StandardNormal(D).log_prob(z), rtol=1e-5)


def test_temperature_shrinks_the_components_and_keeps_their_weights(mixture):
    w, means, scales = exact(mixture)
    cold = np.float64(mixture.sample(5000, 3, temperature=0.0))
    distance = np.abs(cold[:, None] - means).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-5  # All at the means…
    counts = np.bincount(np.argmin(distance, axis=1), minlength=K)
    assert scipy.stats.chisquare(counts, 5000 * w).pvalue > 1e-3  # …in proportion.
    warm, half = (np.float64(mixture.sample(5000, 3, temperature=t)) for t in (1.0, 0.5))
    np.testing.assert_allclose(half, cold + 0.5 * (warm - cold), atol=1e-5)


def test_every_variable_of_the_mixture_has_the_gradient_of_the_likelihood(mixture):
    """∂/∂means log p(z) = responsibility (z − mean) / variance, and so on."""
    w, means, scales = exact(mixture)
    z = np.random.default_rng(1).normal(size=(6, D))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(mixture.log_prob(tf.constant(z, tf.float32)))
    by_name = dict(
        zip(
            [v.name for v in mixture.trainable_variables],
            tape.gradient(value, [v.value for v in mixture.trainable_variables]),
            strict=True,
        )
    )
    each = scipy.stats.norm(means, scales).logpdf(z[:, None]).sum(axis=-1) + np.log(w)
    r = scipy.special.softmax(each, axis=-1)
    t = (z[:, None] - means) / scales
    truth = {
        "means": np.einsum("nk,nkd->kd", r, t / scales),
        "log_vars": np.einsum("nk,nkd->kd", r, 0.5 * (t**2 - 1)),
        "logits": np.sum(r - w, axis=0),
    }
    assert set(by_name) == set(truth)
    for name, gradient in by_name.items():
        np.testing.assert_allclose(gradient, truth[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow  # Compiled by XLA.
def test_draws_are_the_same_in_a_graph_and_under_xla(mixture):
    eager = mixture.sample(20, 3)
    for compiled in (False, True):
        graph = tf.function(lambda seed: mixture.sample(20, seed), jit_compile=compiled)
        np.testing.assert_allclose(graph(random.as_seed(3)), eager, rtol=1e-4, atol=1e-5)


def test_extreme_mixtures_stay_finite(mixture):
    z = tf.constant([[0.0, 0.0], [1e3, -1e3]])
    for extreme in (-1e4, 1e4):
        mixture.raw_log_vars.assign(np.full((K, D), extreme))
        mixture.logits.assign([extreme, 0.0, -extreme])
        assert np.isfinite(mixture.log_prob(z)).all() and np.isfinite(mixture.sample(9, 0)).all()


def test_sphere_is_that_of_tfp():
    prior = UniformSphere(4)
    z = np.float64(prior.sample(5000, 1))
    np.testing.assert_allclose(np.sum(z**2, axis=-1), 1.0, atol=1e-5)
    uniform = tfp.distributions.SphericalUniform(4, dtype=np.float64)
    np.testing.assert_allclose(prior.log_prob(z[:3]), uniform.log_prob(z[:3]), rtol=1e-5)
    # E[z] = 0, E[z zᵀ] = I / 4, and a coordinate's (1 + z) / 2 ~ Beta(3/2, 3/2).
    assert np.abs(z.mean(axis=0)).max() < 5 * 0.5 / np.sqrt(5000)
    assert np.abs(z.T @ z / 5000 - np.eye(4) / 4).max() < 5 * 0.25 / np.sqrt(5000)
    for i in range(4):
        assert scipy.stats.kstest((1 + z[:, i]) / 2, scipy.stats.beta(1.5, 1.5).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(prior.mean(), np.zeros(4))
    np.testing.assert_array_equal(prior.sample(5, 1, temperature=0.3), prior.sample(5, 1))


def test_area_of_known_spheres():
    for dimension, area in ((2, 2 * np.pi), (3, 4 * np.pi), (4, 2 * np.pi**2)):
        assert UniformSphere(dimension).log_area() == pytest.approx(np.log(area))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: UniformSphere(1).build(), "at least 2, not 1"),
        (lambda: GaussianMixture(0), "`num_components`.*0"),
    ],
)
def test_refuses_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_config_round_trip_and_names():
    part = GaussianMixture(5, latent_dim=2, log_var_bound=3.0, seed=4)
    copy = priors.get(keras.saving.serialize_keras_object(part))
    assert type(copy) is GaussianMixture
    assert (copy.num_components, copy.latent_dim, copy.log_var_bound, copy.seed) == (5, 2, 3.0, 4)
    for prior in (part, copy):
        prior.build()
    np.testing.assert_array_equal(part.means, copy.means)
    assert isinstance(priors.get("gaussian_mixture"), GaussianMixture)
    sphere = priors.get(keras.saving.serialize_keras_object(UniformSphere(3)))
    assert type(sphere) is UniformSphere and sphere.latent_dim == 3
    assert isinstance(priors.get("uniform_sphere"), UniformSphere)
