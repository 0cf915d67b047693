"""Two stochastic layers: densities against SciPy, and a chain whose p(x) is known."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae import priors
from kvae.distributions.gaussian_chain import GaussianChain, group_sizes
from kvae.posteriors import Hierarchical

LINEAR = {"hidden": (), "activation": "linear"}


@pytest.fixture(scope="module")
def chain():
    """z_1 of 2, z_2 of 3, z_3 of 1; with a context of 2."""
    keras.utils.set_random_seed(1)
    chain = GaussianChain((2, 3, 1), (5,), "tanh", context_dim=2)
    chain.build()
    return chain


def test_log_prob_is_the_product_of_conditionals(chain):
    rng = np.random.default_rng(0)
    z, context = rng.normal(size=(4, 7, 6)), rng.normal(size=(7, 2))
    z, context = z.astype("float32"), context.astype("float32")
    expected = np.zeros((4, 7))
    for index, (done, size) in enumerate([(2, 3), (5, 1)]):
        inputs = np.concatenate([np.broadcast_to(context, (4, 7, 2)), z[..., :done]], axis=-1)
        outputs = chain.networks[index](inputs.reshape(28, -1)).numpy().reshape(4, 7, -1)
        mean, log_var = np.split(outputs, 2, axis=-1)
        density = scipy.stats.norm(mean, np.exp(log_var / 2)).logpdf(z[..., done : done + size])
        expected += density.sum(axis=-1)
    np.testing.assert_allclose(chain.log_prob(z, context), expected, rtol=1e-4, atol=1e-4)


def test_transform_has_the_density_that_log_prob_says(chain):
    """Change of variables, with the Jacobian by automatic differentiation."""
    rng = np.random.default_rng(1)
    first, noise = rng.normal(size=(5, 2)), rng.normal(size=(5, 4))
    context = tf.constant(rng.normal(size=(5, 2)), tf.float32)
    first, noise = tf.constant(first, tf.float32), tf.constant(noise, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        z = chain.transform(first, noise, context)
        below = z[:, 2:]
    log_det = np.linalg.slogdet(tape.batch_jacobian(below, noise))[1]
    expected = scipy.stats.norm.logpdf(noise).sum(axis=1) - log_det
    np.testing.assert_allclose(chain.log_prob(z, context), expected, rtol=1e-4, atol=1e-4)
    together = chain.transform_and_log_prob(first, noise, context)[1]
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def linear():
    """`p(z_2|z_1) = N(A z_1 + c, diag(v))`: then p(z) is Gaussian."""
    keras.utils.set_random_seed(2)
    prior = priors.Hierarchical(4, groups=(2, 2), **LINEAR)
    prior.attach(None)
    prior.build()
    kernel, bias = np.zeros((2, 4)), np.array([0.3, -0.2, -1.0, 0.5])
    kernel[:, :2] = [[0.8, -0.5], [0.2, 1.1]]
    prior.lower.networks[0].set_weights([kernel, bias])
    a, v = kernel[:, :2].T, np.exp(bias[2:])
    mean = np.concatenate([np.zeros(2), bias[:2]])
    cov = np.block([[np.eye(2), a.T], [a, a @ a.T + np.diag(v)]])
    return prior, scipy.stats.multivariate_normal(mean, cov)


def test_a_linear_hierarchy_is_the_gaussian_that_it_should_be(linear):
    prior, known = linear
    z = known.rvs(50, random_state=0).astype("float32")
    np.testing.assert_allclose(prior.log_prob(z), known.logpdf(z), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        prior.precomputed().log_prob(z), known.logpdf(z), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(prior.mean(), known.mean, atol=1e-6)
    draws = np.asarray(prior.sample(40_000, seed=1))
    np.testing.assert_allclose(draws.mean(axis=0), known.mean, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), known.cov, atol=0.08)
    np.testing.assert_array_equal(draws[:5], prior.precomputed().sample(40_000, seed=1)[:5])


def test_posterior_against_its_parts():
    keras.utils.set_random_seed(3)
    posterior = Hierarchical(5, groups=(2, 3), features_dim=4, hidden=(6,))
    params = posterior(np.random.default_rng(0).normal(size=(3, 7)).astype("float32"))
    assert {k: tuple(v.shape) for k, v in params.items()} == {
        "z_mean": (3, 2),
        "z_log_var": (3, 2),
        "features": (3, 4),
    }
    z, log_q = posterior.sample_and_log_prob(params, 6, seed=0)
    assert z.shape == (6, 3, 5)
    for k in range(3):  # Each density of every draw: cross_log_prob broadcasts both.
        own = {name: value[k : k + 1] for name, value in params.items()}
        cross = posterior.cross_log_prob(params, z)[..., k]
        each = posterior.log_prob(own, tf.reshape(z, (18, 1, 5)))
        np.testing.assert_allclose(cross, tf.reshape(each, (6, 3)), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(log_q[:, k], cross[:, k], rtol=1e-4, atol=1e-4)
    top = scipy.stats.norm(params["z_mean"], np.exp(params["z_log_var"] / 2))
    lower = posterior.lower.log_prob(z, params["features"])
    np.testing.assert_allclose(log_q, top.logpdf(z[..., :2]).sum(-1) + lower, rtol=1e-4, atol=1e-4)
    zero = posterior.transform(params, {"noise": tf.zeros((3, 5))})
    np.testing.assert_allclose(posterior.mean(params), zero, atol=1e-6)


@pytest.mark.slow  # 40 epochs; both densities are tested above.
def test_log_prob_of_a_model_whose_hierarchy_is_known(linear):
    """x = W z + noise under the linear hierarchy: log p(x) by importance sampling."""
    prior, known = linear
    rng = np.random.default_rng(4)
    w, s = rng.normal(size=(4, 3)), 0.8
    decoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    decoder.layers[0].set_weights([w, np.zeros(3)])
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16, "tanh")])
    vae = kvae.VAE(
        encoder,
        decoder,
        latent_dim=4,
        posterior=Hierarchical(groups=(2, 2), hidden=(8,)),
        prior=prior,
        likelihood=kvae.likelihoods.Gaussian(scale=s),
        objective="iwae",
    )
    truth = scipy.stats.multivariate_normal(known.mean @ w, w.T @ known.cov @ w + s**2 * np.eye(3))
    x = truth.rvs(256, random_state=0).astype("float32")
    weights = [weight.copy() for weight in prior.get_weights()]
    decoder.trainable = prior.trainable = False
    vae.compile(keras.optimizers.Adam(0.01))
    vae.fit(x, epochs=40, batch_size=64, verbose=0)
    for before, after in zip(weights, prior.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    estimate = vae.log_prob(x[:50], num_samples=2000)
    assert np.median(estimate.effective_sample_size) > 100
    error = np.abs(estimate.value - truth.logpdf(x[:50]))
    assert (error < 5 * estimate.monte_carlo_error + 1e-3).all() and np.mean(error) < 0.06


@pytest.mark.slow  # The two parts are tested alone.
def test_a_vamp_prior_on_top_mixes_the_top_groups(digits, make_vae, tmp_path):
    prior = priors.Hierarchical(groups=(3, 2), top=priors.Vamp(4, initial=digits), hidden=(6,))
    vae = make_vae(
        latent_dim=5,
        posterior=Hierarchical(groups=(3, 2), features_dim=6, hidden=(6,)),
        prior=prior,
        optimizer="adam",
        eager=True,
    )
    z = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
    params = vae.encode_params(prior.top.pseudo_inputs)
    each = scipy.stats.norm(params["z_mean"], np.exp(params["z_log_var"] / 2))
    each = each.logpdf(z[:, None, :3]).sum(axis=-1)
    expected = scipy.special.logsumexp(each, axis=1) - np.log(4) + prior.lower.log_prob(z)
    np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-4)
    np.testing.assert_allclose(prior.precomputed().log_prob(z), expected, rtol=1e-4)
    vae.fit(digits, epochs=1, verbose=0)
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(vae.sample(3, seed=0), loaded.sample(3, seed=0))
    np.testing.assert_array_equal(
        vae.log_prob(digits[:3], num_samples=4).value,
        loaded.log_prob(digits[:3], num_samples=4).value,
    )


def test_groups():
    assert group_sizes(7, 3) == (3, 2, 2) and group_sizes(7, (3, 4)) == (3, 4)
    for groups in (1, 8, (7,), (3, 3), (7, 0)):
        with pytest.raises(ValueError, match="hierarchy"):
            group_sizes(7, groups)


def test_tops_that_cannot_be_say_why(make_vae):
    with pytest.raises(ValueError, match="does not depend on labels"):
        priors.Hierarchical(top="class_conditional")
    with pytest.raises(ValueError, match="mixes the top groups of a Hierarchical"):
        make_vae(latent_dim=4, prior=priors.Hierarchical(top="vamp"))
    with pytest.raises(ValueError, match="mixes the top groups"):
        make_vae(
            latent_dim=4,
            posterior=Hierarchical(groups=(1, 3)),
            prior=priors.Hierarchical(top="vamp"),
        )
    with pytest.raises(ValueError, match="UniformSphere not"):
        make_vae(latent_dim=4, prior=priors.Hierarchical(top="uniform_sphere"))
    with pytest.raises(ValueError, match="latent_dim=3, the top group 2"):
        make_vae(latent_dim=4, prior=priors.Hierarchical(top=kvae.priors.StandardNormal(3)))


def test_experts_of_a_hierarchy_compute_in_full_precision(policy):
    policy("mixed_float16")
    posterior = kvae.posteriors.HierarchicalExperts(5, groups=(2, 3), features_dim=4)
    posterior.build({"experts": [(None, 3), (None, 3)]})
    features = [np.ones((2, 3), "float16")] * 2
    params = posterior({"experts": features, "present": np.ones((2, 2), "float32")})
    below = posterior.chains[0].after(0, params["z_mean"], params["features"][:, 0])
    assert {value.dtype for value in (*params.values(), *below)} == {tf.float32}
