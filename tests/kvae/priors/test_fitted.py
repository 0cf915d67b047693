"""Priors that samplers fit: full covariances, spheres, other units, a second VAE; with_prior."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import kvae
from kvae import priors, random

K, D = 3, 2


def full_mixture(latent_dim=D):
    rng = np.random.default_rng(0)
    prior = priors.GaussianMixture(K, latent_dim, covariance="full")
    prior.build()
    for variable, scale in zip(prior.trainable_variables, (3.0, 0.5, 1.0, 1.0), strict=False):
        variable.assign(scale * rng.normal(size=variable.shape))
    return prior


def test_a_mixture_with_correlations_is_that_of_scipy():
    prior = full_mixture()
    params = prior.parameters()
    factors = np.float64(prior.component.scale_tril(params))
    covariances = factors @ np.swapaxes(factors, 1, 2)
    assert np.abs(covariances[:, 0, 1]).min() > 0.05
    w, means = np.float64(prior.weights_of_components), np.float64(prior.means)
    z = 3.0 * np.random.default_rng(1).normal(size=(4, 5, D)).astype("float32")
    each = [
        scipy.stats.multivariate_normal(m, c).logpdf(z)
        for m, c in zip(means, covariances, strict=True)
    ]
    truth = scipy.special.logsumexp(np.stack(each, -1), b=w, axis=-1)
    np.testing.assert_allclose(prior.log_prob(z), truth, rtol=1e-4, atol=1e-4)
    draws = np.float64(prior.sample(40_000, 3))
    second = np.einsum("k,kij->ij", w, covariances + means[:, :, None] * means[:, None, :])
    products = np.einsum("ni,nj->nij", draws, draws)
    error = products.std(axis=0) / 200.0
    assert (np.abs(products.mean(axis=0) - second) < 5 * error).all()


def test_every_variable_of_it_is_trained_and_one_dimension_has_no_correlations():
    prior = full_mixture()
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(prior.log_prob(prior.sample(5, 0)))
    for gradient in tape.gradient(value, prior.trainable_variables):
        assert np.abs(gradient).max() > 0
    line = full_mixture(latent_dim=1)
    plain = priors.GaussianMixture(K, 1)
    plain.build()
    plain.set_weights(line.get_weights())
    z = np.linspace(-3, 3, 7, dtype="float32")[:, None]
    np.testing.assert_allclose(line.log_prob(z), plain.log_prob(z), rtol=1e-5)


def test_a_mixture_on_the_sphere_is_a_density_with_the_known_mean():
    prior = priors.SphericalMixture(2, latent_dim=3)
    prior.build()
    prior.raw_parameters["z_mean"].assign([[2.0, 0.0, 0.0], [0.0, 0.6, -0.8]])
    prior.raw_parameters["z_concentration"].assign([[3.0], [9.0]])
    prior.logits.assign(np.log([0.3, 0.7]))
    everywhere = priors.UniformSphere(3).sample(20_000, 1)
    values = 4 * np.pi * np.exp(np.float64(prior.log_prob(everywhere)))
    assert abs(values.mean() - 1) < 5 * values.std() / np.sqrt(20_000) < 0.1
    draws = np.float64(prior.sample(20_000, 2, temperature=0.1))  # Nothing to scale.
    np.testing.assert_allclose(np.linalg.norm(draws, axis=1), 1.0, atol=1e-5)
    kappa = np.float64(prior.parameters()["z_concentration"])
    truth = np.array([0.3, 0.7]) @ (kappa / (kappa + 2) * [[1, 0, 0], [0, 0.6, -0.8]])
    assert (np.abs(draws.mean(axis=0) - truth) < 5 * draws.std(axis=0) / np.sqrt(20_000)).all()
    with pytest.raises(ValueError, match="at least 2"):
        priors.SphericalMixture(2, latent_dim=1).build()


def test_other_units():
    prior = priors.Rescaled("standard_normal", latent_dim=3)
    codes = np.random.default_rng(0).normal([5.0, -1.0, 2.0], [0.1, 30.0, 0.0], size=(50, 3))
    u = prior.standardize(codes)
    np.testing.assert_allclose(u.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(u.std(axis=0), [1.0, 1.0, 0.0], atol=1e-5)
    mean, std = codes.mean(axis=0), codes.std(axis=0)
    scale = np.where(std > 0, std, std.max())
    truth = scipy.stats.norm(mean, scale).logpdf(codes).sum(axis=1)
    np.testing.assert_allclose(prior.log_prob(tf.cast(codes, tf.float32)), truth, rtol=1e-4)
    np.testing.assert_allclose(prior.mean(), mean, rtol=1e-5)
    noise = random.normal([4, 3], 7)
    np.testing.assert_allclose(prior.sample(4, 7, 0.5), mean + 0.5 * scale * noise, rtol=1e-4)
    np.testing.assert_array_equal(prior.sample(4, 7), prior.transform({"noise": noise}))
    assert not prior.trainable_variables
    for refused in ("uniform_sphere", "class_conditional", priors.Vamp(3)):
        with pytest.raises(ValueError, match="R\\^latent_dim"):
            priors.Rescaled(refused)


@pytest.fixture(scope="module")
def two_stage(linear_gaussian):
    """The second model's posterior is exact, so that every importance weight is p(z)."""
    return priors.TwoStage(linear_gaussian.vae(), num_samples=3)


def test_a_second_vae_has_its_own_density(two_stage, linear_gaussian):
    z = linear_gaussian.draw(6, seed=1)
    truth = linear_gaussian.log_prob(z)
    np.testing.assert_allclose(two_stage.log_prob(z), truth, rtol=1e-4)
    other = two_stage.log_prob(np.stack([z[3:], z[:3]]))
    np.testing.assert_allclose(np.ravel(other), np.roll(truth, 3), rtol=1e-4)
    draws = np.float64(two_stage.sample(20_000, 5))
    values = linear_gaussian.log_prob(draws)
    entropy = scipy.stats.multivariate_normal(
        cov=linear_gaussian.w @ linear_gaussian.w.T + linear_gaussian.s**2 * np.eye(6)
    ).entropy()
    assert abs(values.mean() + entropy) < 5 * values.std() / np.sqrt(20_000)
    np.testing.assert_allclose(two_stage.mean(), linear_gaussian.b, rtol=1e-5)
    cold = two_stage.sample(4, 5, temperature=0.0)
    np.testing.assert_allclose(cold, np.tile(linear_gaussian.b, (4, 1)), rtol=1e-5)


def test_worse_importance_samples_give_a_lower_bound(linear_gaussian):
    z, vae = linear_gaussian.draw(500, seed=1), linear_gaussian.vae(shift=0.5, widen=0.5)
    bounds = [priors.TwoStage(vae, num_samples=n) for n in (1, 100)]
    gap = [linear_gaussian.log_prob(z) - np.float64(prior.log_prob(z)) for prior in bounds]
    error = [values.std() / np.sqrt(500) for values in gap]
    # The gap of one sample is KL(q ‖ p(u|z)), summed over two dimensions.
    kl = 0.5 * np.sum(np.exp(0.5) - 1.5 + 0.25 / linear_gaussian.variance)
    assert abs(gap[0].mean() - kl) < 5 * error[0] < 0.5 * kl
    assert 0 < gap[1].mean() + 5 * error[1] < 0.2 * kl


def test_what_is_no_second_model(make_vae, linear_gaussian):
    for model in (None, make_vae(), linear_gaussian.vae(posterior="delta", prior=None)):
        with pytest.raises(ValueError, match="`model`"):
            priors.TwoStage(model)
    with pytest.raises(ValueError, match="6 numbers, not of 5"):
        priors.TwoStage(linear_gaussian.vae(), latent_dim=5)


# kvae.VAE.with_prior


def test_a_model_with_another_prior_shares_the_rest(make_vae, digits, eagerly):
    vae = make_vae(optimizer="adam", eager=True, likelihood=kvae.likelihoods.Gaussian("global"))
    prior = full_mixture()
    other = vae.with_prior(prior)
    assert other.prior is prior and type(vae.prior) is priors.StandardNormal
    for part in ("encoder", "decoder", "posterior", "likelihood"):
        assert getattr(other, part) is getattr(vae, part)
    assert other.objective is not vae.objective and other.name == vae.name
    assert np.array_equal(other.sample(4, seed=0), vae.decode(prior.sample(4, _first_half(0))))
    vae.train_on_batch(digits)
    np.testing.assert_array_equal(other(digits), vae(digits))
    other.compile("adam", run_eagerly=True)
    before = [variable.numpy() for variable in prior.trainable_variables]
    other.train_on_batch(digits)
    np.testing.assert_array_equal(other(digits), vae(digits))
    assert not np.array_equal(prior.trainable_variables[0], before[0])


def _first_half(seed):
    return random.split(seed)[0]


FITTED = {
    "mixture": lambda linear_gaussian: full_mixture(6),
    "flow": lambda linear_gaussian: priors.Rescaled(priors.Flow(num_flows=1), latent_dim=6),
    "two_stage": lambda linear_gaussian: priors.Rescaled(priors.TwoStage(linear_gaussian.vae())),
}


@pytest.mark.default("two_stage")
@pytest.mark.parametrize("kind", FITTED)
def test_an_autoencoder_with_a_prior_samples_and_is_saved(
    make_vae, tmp_path, linear_gaussian, kind, eagerly
):
    vae = make_vae(latent_dim=6, posterior="delta", prior=None)
    with pytest.raises(ValueError, match="kvae.samplers"):
        vae.sample(2)
    prior = FITTED[kind](linear_gaussian)
    model = vae.with_prior(prior)
    if kind == "two_stage":
        prior.standardize(linear_gaussian.draw(9, seed=0))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    samples = model.sample(3, seed=1)
    np.testing.assert_array_equal(loaded.sample(3, seed=1), samples)
    z = prior.sample(3, 0)
    np.testing.assert_array_equal(loaded.prior.log_prob(z), prior.log_prob(z))


@pytest.mark.default("mixture")
@pytest.mark.parametrize("kind", ["mixture", "two_stage"])
def test_it_is_exported_like_any_other(make_vae, linear_gaussian, kind):
    from export.graphs.endpoints import endpoints

    prior = full_mixture(6) if kind == "mixture" else priors.TwoStage(linear_gaussian.vae())
    model = make_vae(latent_dim=6, posterior="delta", prior=None).with_prior(prior)
    generate = tf.function(
        endpoints(model, signatures=["generate"])["generate"].function, autograph=False
    )
    images = generate(tf.constant([3, 8], tf.int64), tf.ones(2))["image"]
    alone = np.concatenate([model.sample(1, seed=seed) for seed in (3, 8)])
    np.testing.assert_allclose(images, alone, rtol=1e-5, atol=1e-6)


def test_parts_that_know_their_model(make_vae, make_encoder, make_decoder, digits, eagerly):
    noise = make_vae(posterior="prior_noise")
    other = noise.with_prior(full_mixture())
    assert noise.posterior.draws_from(noise.prior)
    assert other.posterior.draws_from(other.prior) and not other.posterior.draws_from(noise.prior)
    # A vamp prior belongs to the encoder of one model.
    with pytest.raises(ValueError, match="belongs to another model"):
        make_vae().with_prior(make_vae(prior=priors.Vamp(4)).prior)
    discrete = {"posterior": kvae.posteriors.GumbelSoftmax(num_categories=2, temperature=0.5)}
    vae = make_vae(latent_dim=4, prior=kvae.priors.UniformCategorical(2), **discrete)
    vae.with_prior(kvae.priors.UniformCategorical(2))
    assert vae.posterior._vae() is vae
    for model, prior in ((vae, "standard_normal"), (make_vae(), "uniform_sphere")):
        with pytest.raises(ValueError, match="space"):
            model.with_prior(prior)
    with pytest.raises(ValueError, match="needs a prior"):
        make_vae().with_prior(None)
    lazy = make_vae(encoder=make_encoder(declared=False), decoder=make_decoder(declared=False))
    assert not lazy.with_prior("standard_normal").built
    lazy(digits)
    np.testing.assert_array_equal(lazy.with_prior("standard_normal")(digits), lazy(digits))


def test_the_objective_is_one_of_its_own(make_vae):
    vae = make_vae(objective=kvae.objectives.ELBO(beta=2.0, free_bits=0.1))
    assert float(vae.with_prior("standard_normal").objective.beta) == 2.0
    with pytest.raises(ValueError, match="free_bits_groups=1"):
        vae.with_prior(full_mixture())
    assert float(vae.with_prior(full_mixture(), objective="elbo").objective.beta) == 1.0
