"""Ladders: linear ones, of which everything is known, and the one of the zoo."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae import divergences, posteriors, priors

TOP, BELOW, STATE, EVENT = 2, 3, 2, 4
FREE = 0.4


def linear(inputs, outputs, kernel, bias):
    """A network of one affine map of its inputs, joined."""
    given = [keras.Input((size,)) for size in inputs]
    x = keras.layers.Concatenate()(given) if len(given) > 1 else given[0]
    layer = keras.layers.Dense(outputs)
    model = keras.Model(given if len(given) > 1 else given[0], layer(x))
    layer.set_weights([np.asarray(kernel), np.asarray(bias)])
    return model


@pytest.fixture(scope="module")
def known():
    """A ladder of two groups with affine networks, and its distributions as Gaussians of SciPy.

    `s = A z_1`, `p(z_2|s) = N(B s + b, v)`, and x = C [s, z_2] with noise. Of q the means are
    affine in x: `q(z_1|x) = N(D x + d, w)`, `q(z_2|x, s) = p's mean + √v (E [x, s] + e)`, and its
    variance is v u.
    """
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(TOP, STATE)), rng.normal(size=(STATE, BELOW))
    c = rng.normal(size=(STATE + BELOW, EVENT)) / 4
    d, e = 0.2 * rng.normal(size=(EVENT, TOP)), 0.2 * rng.normal(size=(EVENT + STATE, BELOW))
    b_0, d_0, e_0 = (rng.normal(size=size) / 3 for size in (BELOW, TOP, BELOW))
    v, w, u = (np.exp(rng.normal(size=size) / 3) for size in (BELOW, TOP, BELOW))

    def with_log_var(kernel, bias, var):
        """Log-variances beside means, which the bound by a tanh leaves as they are."""
        free = 10.0 * np.arctanh(np.log(var) / 10.0)
        return np.hstack([kernel, np.zeros_like(kernel)]), np.concatenate([bias, free])

    vae = kvae.VAE(
        keras.Sequential([keras.Input((EVENT,)), _Twice()]),
        kvae.layers.TopDown(
            [
                linear([TOP], STATE, a, np.zeros(STATE)),
                linear([STATE, BELOW], EVENT, c, np.zeros(EVENT)),
            ]
        ),
        latent_dim=TOP + BELOW,
        posterior=posteriors.Ladder(
            [
                linear([EVENT], 2 * TOP, *with_log_var(d, d_0, w)),
                linear([EVENT, STATE], 2 * BELOW, *with_log_var(e, e_0, u)),
            ]
        ),
        prior=priors.Ladder([linear([STATE], 2 * BELOW, *with_log_var(b, b_0, v))]),
        likelihood=kvae.likelihoods.Gaussian(scale=0.7),
        objective=kvae.objectives.ELBO(free_bits=FREE),
    )

    def gaussian(mean_1, var_1, slope, shift, var_2):
        mean = np.concatenate([mean_1, mean_1 @ slope + shift])
        top = np.diag(var_1)
        cov = np.block(
            [[top, top @ slope], [slope.T @ top, slope.T @ top @ slope + np.diag(var_2)]]
        )
        return scipy.stats.multivariate_normal(mean, cov)

    p = gaussian(np.zeros(TOP), np.ones(TOP), a @ b, b_0, v)

    def q(x):
        slope = a @ (b + np.sqrt(v) * e[EVENT:])
        return gaussian(x @ d + d_0, w, slope, b_0 + np.sqrt(v) * (x @ e[:EVENT] + e_0), v * u)

    # x is affine in z.
    whole = np.vstack([a @ c[:STATE], c[STATE:]])
    px = scipy.stats.multivariate_normal(
        p.mean @ whole, whole.T @ p.cov @ whole + 0.49 * np.eye(EVENT)
    )
    return vae, p, q, px


@keras.saving.register_keras_serializable(package="tests.ladder")
class _Twice(keras.layers.Layer):
    """Features of both groups: x itself."""

    def call(self, x):
        return {"features_0": x, "features_1": x + 0.0}


def test_the_prior_is_the_gaussian_that_its_networks_make(known):
    vae, p, _, _ = known
    z = p.rvs(50, random_state=0).astype("float32")
    np.testing.assert_allclose(vae.prior.log_prob(z), p.logpdf(z), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(vae.prior.mean(), p.mean, atol=1e-5)
    draws = np.asarray(vae.prior.sample(40_000, seed=1))
    np.testing.assert_allclose(draws.mean(axis=0), p.mean, atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), p.cov, rtol=0.05, atol=0.15)


def test_the_posterior_is_the_gaussian_that_its_networks_make(known):
    vae, _, q, _ = known
    x = np.random.default_rng(1).normal(size=(3, EVENT)).astype("float32")
    params = vae.encode_params(x)
    z = np.asarray(vae.posterior.sample(params, 20_000, seed=0))
    log_q = np.asarray(vae.posterior.log_prob(params, z))
    mean = np.asarray(vae.posterior.mean(params))
    for row in range(3):
        truth = q(x[row].astype(float))
        np.testing.assert_allclose(log_q[:, row], truth.logpdf(z[:, row]), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(mean[row], truth.mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.cov(z[:, row].T), truth.cov, rtol=0.1, atol=0.1)
    # Each draw under each posterior.
    cross = np.asarray(vae.posterior.cross_log_prob(params, z[:5]))
    for row in range(3):
        truth = q(x[row].astype(float)).logpdf(z[:5])
        np.testing.assert_allclose(cross[..., row], truth, rtol=1e-3, atol=1e-2)


def test_the_kl_of_the_groups_adds_up_to_that_of_the_gaussians(known):
    vae, p, q, _ = known
    x = np.random.default_rng(2).normal(size=(2, EVENT)).astype("float32")
    params = vae.encode_params(x)
    z = vae.posterior.sample(params, 20_000, seed=0)
    kl = np.asarray(divergences.kl_of_groups(vae.posterior, vae.prior)(params, z))
    assert kl.shape == (20_000, 2, 2) and (kl > 0).all()
    for row in range(2):
        truth = q(x[row].astype(float))
        inverse = np.linalg.inv(p.cov)
        shift = p.mean - truth.mean
        expected = 0.5 * (
            np.trace(inverse @ truth.cov)
            + shift @ inverse @ shift
            - (TOP + BELOW)
            + np.linalg.slogdet(p.cov)[1]
            - np.linalg.slogdet(truth.cov)[1]
        )
        found = kl[:, row].sum(axis=-1)
        assert abs(found.mean() - expected) < 5 * found.std() / np.sqrt(len(found))
        assert (kl[:, row, 0] == kl[0, row, 0]).all()  # The top group depends on no other.


def test_the_bound_of_a_step_is_the_direct_computation(known):
    """In a graph, where posterior, prior and decoder walk one path: each layer is there once."""
    vae, _, _, _ = known
    x = np.random.default_rng(3).normal(size=(5, EVENT)).astype("float32")

    def step():
        seed = kvae.random.as_seed(4)
        terms = vae.objective.terms(vae, x, x, training=True, seed=seed)
        return terms, vae.posterior.sample(vae.encode_params(x), 1, seed=seed)

    # The draw of z beside the terms takes two networks of q, that of p, and the path to it.
    graph = tf.function(step, autograph=False).get_concrete_function()
    kinds = [operation.type for operation in graph.graph.get_operations()]
    assert kinds.count("MatMul") == 5 + 4
    terms, z = tf.nest.map_structure(np.asarray, graph())
    decoded = np.asarray(vae.decode_params(z[0])["mean"])
    reconstruction = -scipy.stats.norm(decoded, 0.7).logpdf(x).sum(axis=-1)
    np.testing.assert_allclose(terms["reconstruction"], reconstruction, rtol=1e-4)
    kl = np.asarray(vae.posterior.kl_of_groups(vae.encode_params(x), z))[0]
    np.testing.assert_allclose(terms["kl"], kl.sum(axis=-1), rtol=1e-4)
    np.testing.assert_allclose(terms["elbo"], -(reconstruction + kl.sum(axis=-1)), rtol=1e-4)
    # FREE nats are free in each group, for the mean over the batch: one group pays, one does not.
    pays = kl.mean(axis=0) > FREE
    assert pays.any() and not pays.all()
    paid = np.where(pays, kl, FREE).sum(axis=-1)
    np.testing.assert_allclose(terms["loss"], reconstruction + paid, rtol=1e-4)


def test_a_weight_of_log_p_walks_one_path(known):
    vae, _, _, _ = known
    x = np.random.default_rng(3).normal(size=(5, EVENT)).astype("float32")

    def weight():
        params = vae.encode_params(x)
        z, log_q = vae.posterior.sample_and_log_prob(params, 2, seed=1)
        return vae.likelihood.log_prob(vae.decode_params(z), x) + vae.prior.log_prob(z) - log_q

    graph = tf.function(weight, autograph=False).get_concrete_function()
    kinds = [operation.type for operation in graph.graph.get_operations()]
    assert kinds.count("MatMul") == 5
    # Outside of a graph nothing is remembered.
    np.testing.assert_allclose(graph(), weight(), rtol=1e-4, atol=1e-4)


def test_log_p_of_x_is_that_of_the_gaussian(known):
    vae, _, _, px = known
    x = px.rvs(8, random_state=5).astype("float32")
    found = vae.log_prob(x, num_samples=2000)
    error = np.abs(found.value - px.logpdf(x))
    assert (error < 5 * found.monte_carlo_error + 0.05).all()


def test_it_comes_back_from_a_file(known, tmp_path):
    vae, _, _, px = known
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=1), vae.sample(3, seed=1))
    x = px.rvs(2, random_state=6).astype("float32")
    for own, other in zip(vae.encode(x).values(), loaded.encode(x).values(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_what_does_not_go_together_says_why(known, make_vae):
    vae, _, _, _ = known
    network = linear([3], 4, np.zeros((3, 4)), np.zeros(4))
    with pytest.raises(ValueError, match="is a kvae.layers.TopDown, not a Sequential"):
        make_vae(latent_dim=2, posterior=posteriors.Ladder([network]))
    with pytest.raises(ValueError, match="the first takes the top group of latents"):
        kvae.layers.TopDown([network])
    with pytest.raises(ValueError, match=r"the shapes \[\(4,\)\]; means .* have \[\(6,\)\]"):
        kvae.VAE(vae.encoder, vae.decoder, 5, prior=priors.Ladder([network]))
    with pytest.raises(ValueError, match="relative to the prior that it was trained with"):
        vae.with_prior("standard_normal")
