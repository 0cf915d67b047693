"""Priors made of plain noise, as exported models do it: the draws of `transform`."""

import keras
import numpy as np
import pytest
import scipy.stats

import kvae
from kvae import priors
from kvae.distributions.gaussian import pick_component

N, DIM = 500, 4


def normal(seed, size=DIM):
    return np.random.default_rng(seed).normal(size=(N, size)).astype("float32")


def uniform_of(noise):
    return scipy.stats.norm.cdf(noise).astype("float32")


def mixture(**kwargs):
    prior = priors.GaussianMixture(3, latent_dim=DIM, **kwargs)
    prior.build()
    prior.logits.assign([0.0, 1.0, -1.0])
    prior.means.assign(3.0 * prior.means)
    return prior


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_uniform_number_names_the_component(covariance):
    prior, noise = mixture(covariance=covariance), normal(0)
    fresh = pick_component(np.asarray(prior.logits), noise)[1]
    z = prior.place({"noise": fresh, "uniform": uniform_of(noise[:, :1])})
    np.testing.assert_allclose(z, prior.transform(noise), atol=1e-5)
    assert prior.plain_noise() == {"noise": DIM, "uniform": 1}


def test_moved_and_scaled():
    prior = priors.Rescaled(mixture())
    codes = np.random.default_rng(0).normal(2.0, 3.0, size=(50, DIM))
    prior.standardize(codes)
    plain = {"noise": normal(0), "uniform": uniform_of(normal(1, 1))}
    base = prior.base.place(plain)
    expected = codes.mean(axis=0) + codes.std(axis=0) * base
    np.testing.assert_allclose(prior.place(plain), expected, atol=1e-4)


def test_pseudo_inputs_and_stochastic_layers(make_vae):
    groups = (1, 3)
    prior = priors.Hierarchical(groups=groups, top=priors.Vamp(3))
    vae = make_vae(
        latent_dim=DIM, posterior=kvae.posteriors.Hierarchical(groups=groups), prior=prior
    )
    choice, top, below = normal(0, 1), normal(1, 1), normal(2, 3)
    plain = {"noise": top, "uniform": uniform_of(choice), "below": below}
    z = prior.transform(((choice, top), below))
    for known in (prior, prior.precomputed()):
        np.testing.assert_allclose(known.place(plain), z, atol=1e-5)
        assert known.plain_noise() == {"noise": 1, "uniform": 1, "below": 3}
    assert np.std(z, axis=0).min() > 0.1
    assert vae.prior is prior


def test_a_second_model(make_vae):
    inner = make_vae(event=(DIM,), latent_dim=2, likelihood=kvae.likelihoods.Gaussian("global"))
    prior = priors.TwoStage(inner)
    u, noise = normal(0, 2), normal(1)
    plain = {"inner_noise": u, "noise": noise}
    assert prior.plain_noise() == {"inner_noise": 2, "noise": DIM}
    expected = prior.transform(keras.ops.concatenate([u, noise], axis=-1))
    np.testing.assert_allclose(prior.place(plain), expected, atol=1e-6)


def test_categories_are_drawn_alike():
    prior = priors.UniformCategorical(4, latent_dim=8)
    prior.build()
    uniform = np.random.default_rng(0).random((N, 8)).astype("float32")
    z = np.asarray(prior.place({"uniform": uniform})).reshape(-1, 4)
    assert set(z.ravel()) == {0.0, 1.0} and (z.sum(axis=1) == 1).all()
    counts = z.sum(axis=0)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_components_with_other_noise_are_refused(make_vae):
    vae = make_vae(posterior="student_t", prior=priors.Vamp(3))
    with pytest.raises(ValueError, match="StudentT posterior.* not plain Gaussian"):
        vae.prior.plain_noise()
