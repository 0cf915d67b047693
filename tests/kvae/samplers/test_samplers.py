"""kvae.samplers: known densities found again, on autoencoders whose codes are the data."""

import random

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers

import kvae
from kvae import samplers

MEANS = np.array([[-4.0, 1.0], [3.0, 0.0], [0.0, 20.0]])
SHARES = np.array([0.5, 0.3, 0.2])
FACTORS = np.array([[[1.0, 0.0], [0.8, 0.3]], [[0.5, 0.0], [0.0, 2.0]], [[1.0, 0.0], [-1.0, 3.0]]])
FAST = {"steps": 200, "learning_rate": 1e-2}


def identity(dim, **parts):
    """A model whose code is x, and whose mean reconstruction is z."""
    x, z = keras.Input((dim,)), keras.Input((dim,))
    outputs = {"z_mean": layers.Identity()(x)}
    if parts.get("posterior") == "power_spherical":
        concentration = layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")
        outputs["z_concentration"] = 900.0 * concentration(x)
    parts = {"posterior": "delta", "prior": None, **parts}
    return kvae.VAE(
        keras.Model(x, outputs),
        keras.Model(z, layers.Identity()(z)),
        latent_dim=dim,
        likelihood=kvae.likelihoods.Gaussian(scale=0.1),
        **parts,
    )


def clusters(n, seed):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(3, n, p=SHARES)
    z = MEANS[chosen] + np.einsum("nij,nj->ni", FACTORS[chosen], rng.normal(size=(n, 2)))
    each = [
        scipy.stats.multivariate_normal(m, f @ f.T).pdf(z)
        for m, f in zip(MEANS, FACTORS, strict=True)
    ]
    return z.astype("float32"), np.log(SHARES @ np.array(each))


@pytest.fixture(scope="module")
def autoencoder():
    return identity(2)


def test_a_known_mixture_is_found_again(autoencoder):
    sampler = samplers.GaussianMixture(3).fit(autoencoder, clusters(4000, 0)[0])
    prior = sampler.as_prior()
    order = [int(np.argmin(np.linalg.norm(prior.means - mean, axis=1))) for mean in MEANS]
    np.testing.assert_allclose(np.asarray(prior.means)[order], MEANS, atol=0.5)
    np.testing.assert_allclose(np.asarray(prior.weights_of_components)[order], SHARES, atol=0.05)
    factors = np.asarray(prior.component.scale_tril(prior.parameters()))[order]
    np.testing.assert_allclose(factors, FACTORS, atol=0.4)
    z, truth = clusters(2000, 1)
    gap = truth - np.float64(sampler.log_prob(z))
    # 17 parameters of 4000 codes cost 17 / 8000 nats; a diagonal mixture costs far more.
    assert abs(gap.mean()) < 0.02
    plain = samplers.GaussianMixture(3, covariance="diagonal").fit(
        autoencoder, clusters(4000, 0)[0]
    )
    assert np.mean(truth - plain.log_prob(z)) > 0.3
    # Codes are what is decoded.
    drawn = np.float64(sampler.sample(4000, seed=2))
    assert np.mean(sampler.log_prob(drawn)) == pytest.approx(np.mean(truth), abs=0.15)
    noisy = sampler.sample(4000, seed=2, output="sample") - drawn
    assert np.std(noisy) == pytest.approx(0.1, rel=0.05)


def test_clusters_of_k_means(autoencoder):
    rng = np.random.default_rng(0)
    near, far = rng.normal(0.0, [1.0, 2.0], (300, 2)), rng.normal([30.0, 0.0], [3.0, 1.0], (700, 2))
    z = np.concatenate([near, far])
    prior = samplers.KMeans(2).fit(autoencoder, z.astype("float32")).as_prior()
    order = np.argsort(prior.means[:, 0])
    np.testing.assert_allclose(
        np.asarray(prior.means)[order], [z[:300].mean(0), z[300:].mean(0)], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        np.asarray(prior.weights_of_components)[order], [0.3, 0.7], rtol=1e-4
    )
    variances = np.exp(np.asarray(prior.log_vars))[order]
    np.testing.assert_allclose(variances, [z[:300].var(0), z[300:].var(0)], rtol=0.03)


def test_a_cluster_of_one_code_does_not_repeat_it(autoencoder):
    z = np.concatenate([np.random.default_rng(0).normal(size=(200, 2)), [[40.0, 40.0]]])
    prior = samplers.KMeans(2).fit(autoencoder, z.astype("float32")).as_prior()
    alone = int(np.argmax(prior.means[:, 0]))
    # Half of the variance of all clusters, which is about 1.
    np.testing.assert_allclose(np.exp(prior.log_vars[alone]), 0.5, rtol=0.3)


@pytest.mark.slow  # `test_clusters_of_k_means` has those that are not on a sphere.
def test_clusters_on_the_sphere():
    vae = identity(3, posterior="power_spherical", prior="uniform_sphere")
    truth = kvae.priors.SphericalMixture(2, latent_dim=3)
    truth.build()
    truth.raw_parameters["z_mean"].assign([[1.0, 0.0, 0.0], [-0.8, 0.0, -0.6]])
    truth.raw_parameters["z_concentration"].assign([[10.0], [40.0]])
    truth.logits.assign(np.log([0.25, 0.75]))
    sampler = samplers.KMeans(2).fit(vae, truth.sample(1000, 0), seed=5)
    z = truth.sample(500, 1)
    gap = np.mean(truth.log_prob(z) - sampler.log_prob(z))
    assert abs(gap) < 0.05
    assert np.mean(truth.log_prob(z) - vae.prior.log_prob(z)) > 1.0
    np.testing.assert_allclose(np.linalg.norm(sampler.sample(9, seed=0), axis=1), 1.0, atol=1e-4)
    with pytest.raises(ValueError, match="R\\^latent_dim"):
        samplers.GaussianMixture().fit(vae, z)


@pytest.mark.slow  # A training; the density of flows is tested in `test_flows.py`.
def test_a_flow_follows_what_a_gaussian_does_not(autoencoder):
    """z_2 = z_1² + noise, in units far from 1."""

    def banana(n, seed):
        noise = np.random.default_rng(seed).normal(size=(n, 2))
        z = np.stack([noise[:, 0], noise[:, 0] ** 2 + 0.3 * noise[:, 1]], axis=1)
        return (50.0 * z + 200.0).astype("float32")

    flow = samplers.Flow(num_flows=1, **FAST).fit(autoencoder, banana(3000, 0))
    z = banana(1000, 1)
    u = (np.float64(z) - 200.0) / 50.0
    truth = scipy.stats.norm.logpdf(u[:, 0]) + scipy.stats.norm(u[:, 0] ** 2, 0.3).logpdf(u[:, 1])
    truth = truth - 2 * np.log(50.0)
    gap = truth - np.float64(flow.log_prob(z))
    # Not better than the truth, and near it; one Gaussian is 1.2 nats worse.
    assert -5 * gap.std() / np.sqrt(1000) < gap.mean() < 0.25
    gaussian = samplers.GaussianMixture(1).fit(autoencoder, banana(3000, 0))
    assert np.mean(truth - gaussian.log_prob(z)) > 1.0


@pytest.mark.slow  # 600 steps of a second model.
def test_a_second_stage_mends_a_mismatched_aggregate(tmp_path):
    """Codes lie in two places, far from the prior that the model has."""
    rng = np.random.default_rng(0)
    x = rng.choice([-4.0, 4.0], (2000, 1)) * [1.0, -0.5] + 0.5 * rng.normal(size=(2000, 2))
    x = x.astype("float32")
    vae = identity(2, prior="standard_normal")
    before = vae.get_weights()
    prior = samplers.Prior().fit(vae)
    sampler = samplers.TwoStage(hidden=(32,), steps=600, learning_rate=1e-2).fit(vae, x)
    assert type(vae.prior) is kvae.priors.StandardNormal

    def distance(drawn):
        """The energy distance to the data, 0 for equal distributions."""
        between = np.linalg.norm(np.asarray(drawn)[:, None] - x[:500], axis=-1).mean()
        within = [
            np.linalg.norm(v[:, None] - v, axis=-1).mean() for v in (np.asarray(drawn), x[:500])
        ]
        return 2 * between - sum(within)

    assert distance(sampler.sample(500, seed=1)) < 0.15 * distance(prior.sample(500, seed=1))
    assert np.mean(sampler.log_prob(x)) > np.mean(prior.log_prob(x)) + 3.0
    # Its density is a lower bound: not above that of the data's own mixture.
    own = np.mean(
        [scipy.stats.multivariate_normal(m, 0.25).pdf(x) for m in ([-4, 2], [4, -2])], axis=0
    )
    gap = np.log(own) - np.float64(sampler.log_prob(x))
    assert gap.mean() > -5 * gap.std() / np.sqrt(2000)
    for mine, then in zip(vae.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, then)
    sampler.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.sample(3, seed=1), sampler.sample(3, seed=1))


def test_codes_are_those_of_the_aggregate_posterior(linear_gaussian):
    """q(z) of the exact model is its prior, N(0, I); the means alone vary less."""
    vae = linear_gaussian.vae()
    x = linear_gaussian.draw(5000, 0)
    codes = samplers.aggregate_codes(vae, x, num_samples=2, seed=1)
    assert codes.shape == (10_000, 2) and codes.dtype == np.float64
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.08)
    assert np.var(vae.encode(x)["z_mean"], axis=0).max() < 0.9
    same = samplers.aggregate_codes(vae, x, num_samples=2, seed=1, batch_size=700)
    np.testing.assert_allclose(codes, same, atol=1e-5)
    delta = linear_gaussian.vae(posterior="delta", prior=None)
    codes = samplers.aggregate_codes(delta, x[:5], num_samples=3)
    np.testing.assert_array_equal(codes, delta.encode(x[:5])["z_mean"])


@pytest.mark.default("kmeans")
@pytest.mark.parametrize(
    "make",
    [
        lambda: samplers.GaussianMixture(3),
        lambda: samplers.KMeans(3),
        lambda: samplers.Flow(num_flows=1, steps=2),
        lambda: samplers.TwoStage(hidden=(4,), steps=2),
    ],
    ids=["gaussian_mixture", "kmeans", "flow", "two_stage"],
)
def test_a_seed_gives_the_same_bits(autoencoder, make, eagerly):
    x = clusters(400, 0)[0]
    state = random.getstate(), np.random.get_state()[1].copy()
    first = make().fit(autoencoder, x, seed=4)
    assert random.getstate() == state[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    second = make().fit(autoencoder, x, seed=4)
    for ours, theirs in zip(first.as_prior().variables, second.as_prior().variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(first.sample(5, seed=1), second.sample(5, seed=1))
    assert not np.array_equal(first.sample(5, seed=1), first.sample(5, seed=2))


def test_the_prior_and_the_sphere(linear_gaussian, autoencoder, eagerly):
    vae = linear_gaussian.vae()
    sampler = samplers.get("prior").fit(vae)
    assert sampler.model is vae and sampler.as_prior() is vae.prior
    np.testing.assert_array_equal(sampler.sample(3, seed=1), vae.sample(3, seed=1))
    z = np.random.default_rng(0).normal(size=(50, 2)).astype("float32")
    np.testing.assert_allclose(sampler.log_prob(z, batch_size=7), vae.prior.log_prob(z), rtol=1e-6)
    directions = z / np.linalg.norm(z, axis=1, keepdims=True)
    sphere = samplers.get("uniform_sphere").fit(autoencoder, directions)
    np.testing.assert_allclose(np.linalg.norm(sphere.sample(9, seed=0), axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(sphere.log_prob(directions), -np.log(2 * np.pi), rtol=1e-5)
    with pytest.raises(ValueError, match="not on the unit sphere"):
        sphere.fit(autoencoder, z)


def test_samplers_by_name():
    assert type(samplers.get("gmm")) is samplers.GaussianMixture
    sampler = samplers.Flow()
    assert samplers.get(sampler) is sampler
    with pytest.raises(ValueError, match="two_stage"):
        samplers.get("two_stages")


def test_what_a_sampler_refuses(autoencoder, make_vae, digits, eagerly):
    gmm = samplers.GaussianMixture(3)
    with pytest.raises(ValueError, match="not fitted"):
        gmm.sample(3)
    z = clusters(20, 0)[0]
    with pytest.raises(ValueError, match="without a prior"):
        samplers.Prior().fit(autoencoder)
    for sampler in (samplers.GaussianMixture(30), samplers.KMeans(30)):
        with pytest.raises(ValueError, match="not 20"):
            sampler.fit(autoencoder, z)
    with pytest.raises(ValueError, match="two codes"):
        samplers.Flow().fit(autoencoder, z[:1])
    for arguments in ({"num_components": 0}, {"covariance": "none"}, {"regularization": 0.0}):
        with pytest.raises(ValueError):
            samplers.GaussianMixture(**arguments)
    with pytest.raises(ValueError, match="`steps`"):
        samplers.TwoStage(steps=0)
    with pytest.raises(ValueError, match="`num_samples`"):
        gmm.fit(autoencoder, z, num_samples=0)
    with pytest.raises(ValueError, match="shape"):
        gmm.fit(autoencoder, z).log_prob(np.zeros((3, 5)))
    vae = make_vae(posterior="delta", prior="class_conditional", num_classes=3)
    with pytest.raises(ValueError, match="conditional"):
        gmm.fit(vae, kvae.datasets.Dataset(digits, np.arange(len(digits)) % 3))
    sampler = samplers.Prior().fit(vae)
    assert sampler.sample(2, seed=0, label=1).shape == (2, 8, 8, 1)
    discrete = kvae.posteriors.GumbelSoftmax(num_categories=2)
    vae = make_vae(latent_dim=4, posterior=discrete, prior=kvae.priors.UniformCategorical(2))
    with pytest.raises(ValueError, match="GumbelSoftmax puts z elsewhere"):
        gmm.fit(vae, digits)


@pytest.mark.slow  # It trains a PixelCNN.
def test_pixel_cnn_finds_the_entropy_of_the_codes():
    """Two codes that are always equal cost log 2, and not the 2 log 2 of uniform codes."""
    quantizer = kvae.posteriors.VectorQuantized(num_embeddings=2, embedding_dim=1)
    vae = identity_of_codes(quantizer)
    quantizer.embeddings.assign([[-1.0], [1.0]])
    x = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 200, axis=0).astype("float32")
    sampler = samplers.PixelCNN(filters=4, num_layers=0, steps=100, learning_rate=0.05)
    sampler.fit(vae, x)
    np.testing.assert_allclose(sampler.log_prob(x), -np.log(2.0), atol=0.05)
    drawn = np.asarray(sampler.as_prior().sample(200, seed=0))
    assert (drawn[:, 0] == drawn[:, 1]).mean() > 0.95
    assert 60 < (drawn[:, 0] > 0).sum() < 140
    with pytest.raises(ValueError, match="fits densities on the entries of codebooks"):
        sampler.fit(identity(2), x)


def identity_of_codes(quantizer):
    """A model of two numbers, each of which is a code."""
    x, z = keras.Input((2,)), keras.Input((2,))
    return kvae.VAE(
        keras.Model(x, {"z_e": layers.Identity()(x)}),
        keras.Model(z, layers.Identity()(z)),
        latent_dim=2,
        posterior=quantizer,
        prior="uniform_codes",
        likelihood=kvae.likelihoods.Gaussian(scale=0.1),
    )
