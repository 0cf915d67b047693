"""Every draw of a prior is `transform` of its base noise, which any platform can draw."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae import priors, random
from kvae.distributions.base_noise import Noise, draw, middle

N, DIM = 500, 4
COMPONENT = {"component_uniform": Noise(1, "uniform")}


def mixture(**kwargs):
    prior = priors.GaussianMixture(3, latent_dim=DIM, **kwargs)
    prior.build()
    prior.logits.assign([0.0, 1.0, -1.0])
    prior.means.assign(3.0 * prior.means)
    return prior


def test_one_kind_of_noise_has_the_seed_and_several_have_seeds_of_their_own():
    one = draw({"noise": Noise(3)}, [2, 5], 7)
    np.testing.assert_array_equal(one["noise"], random.normal([2, 5, 3], 7))
    two = draw({"a_uniform": Noise(3, "uniform"), "b": Noise(2)}, [5], 7)
    first, second = random.split(7)
    np.testing.assert_array_equal(two["a_uniform"], random.uniform([5, 3], first))
    np.testing.assert_array_equal(two["b"], random.normal([5, 2], second))
    assert draw({}, [5], 7) == {}
    half = middle({"a_uniform": Noise(3, "uniform"), "b": Noise(2)}, [1])
    np.testing.assert_array_equal(half["a_uniform"], np.full((1, 3), 0.5))
    np.testing.assert_array_equal(half["b"], np.zeros((1, 2)))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_uniform_number_chooses_the_component_of_a_mixture(covariance):
    prior = mixture(covariance=covariance)
    assert prior.base_noise() == {"noise": Noise(DIM), **COMPONENT}
    noise = random.normal([3, DIM], 0)
    z = prior.transform({"noise": noise, "component_uniform": np.float32([[0.0], [0.5], [0.99]])})
    # The weights are 0.24, 0.67 and 0.09; all variances are 1.
    np.testing.assert_allclose(z, noise + prior.means, atol=1e-5)


def test_rescaled_moves_the_draws_of_its_base():
    prior = priors.Rescaled(mixture())
    codes = np.random.default_rng(0).normal(2.0, 3.0, size=(50, DIM))
    prior.standardize(codes)
    assert prior.base_noise() == prior.base.base_noise()
    expected = codes.mean(axis=0) + codes.std(axis=0) * prior.base.sample(N, 1)
    np.testing.assert_allclose(prior.sample(N, 1), expected, atol=1e-4)


@pytest.fixture(scope="module")
def layered(make_vae):
    """A hierarchy below a Vamp prior."""
    groups = (1, 3)
    return make_vae(
        latent_dim=DIM,
        posterior=kvae.posteriors.Hierarchical(groups=groups),
        prior=priors.Hierarchical(groups=groups, top=priors.Vamp(3)),
    )


def test_pseudo_inputs_and_stochastic_layers(layered):
    prior = layered.prior
    noise = draw(prior.base_noise(), [N], 1)
    z = prior.transform(noise)
    for known in (prior, prior.precomputed()):
        assert known.base_noise() == {"noise": Noise(1), **COMPONENT, "below": Noise(3)}
        np.testing.assert_array_equal(known.sample(N, 1), z)
    assert np.std(z, axis=0).min() > 0.1
    top = {name: noise[name] for name in ("noise", "component_uniform")}
    np.testing.assert_array_equal(z[:, :1], prior.top.transform(top))


def test_a_second_model_draws_from_its_own_prior_first(make_vae):
    inner = make_vae(event=(DIM,), latent_dim=2, likelihood=kvae.likelihoods.Gaussian("global"))
    prior = priors.TwoStage(inner)
    assert prior.base_noise() == {"inner_noise": Noise(2), "noise": Noise(DIM)}
    u, noise = random.normal([N, 2], 0), random.normal([N, DIM], 1)
    z = prior.transform({"inner_noise": u, "noise": noise})
    params = inner.decode_params(u)
    expected = params["mean"] + np.exp(0.5 * params["log_var"]) * noise
    np.testing.assert_allclose(z, expected, atol=1e-6)
    cold = prior.transform({"inner_noise": u, "noise": noise}, temperature=0.0)
    np.testing.assert_allclose(cold, inner.decode_params(tf.zeros((N, 2)))["mean"], atol=1e-6)


def test_categories_are_drawn_alike():
    prior = priors.UniformCategorical(4, latent_dim=8)
    prior.build()
    assert prior.base_noise() == {"uniform": Noise(8, "uniform")}
    z = np.asarray(prior.sample(N, 0)).reshape(-1, 4)
    assert set(z.ravel()) == {0.0, 1.0} and (z.sum(axis=1) == 1).all()
    assert scipy.stats.chisquare(z.sum(axis=0)).pvalue > 1e-3


def test_components_may_have_noise_that_is_not_gaussian(make_vae):
    vae = make_vae(posterior="student_t", prior=priors.Vamp(3))
    assert vae.prior.base_noise() == {"uniform": Noise(4, "uniform"), **COMPONENT}
    z = vae.sample(5, seed=0)
    assert np.isfinite(z).all()


@pytest.mark.parametrize("name", ["standard_normal", "flow"])
def test_the_temperature_multiplies_gaussian_noise(name):
    prior = priors.Flow(DIM, num_flows=2) if name == "flow" else priors.StandardNormal(DIM)
    prior.build()
    noise = {"noise": random.normal([7, DIM], 3)}
    cold = prior.transform(noise, temperature=0.5)
    np.testing.assert_array_equal(cold, prior.transform({"noise": 0.5 * noise["noise"]}))
    assert np.abs(cold - prior.transform(noise)).max() > 0.1
