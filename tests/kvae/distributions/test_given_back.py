"""The distributions of TensorFlow Probability that the built-in parts give back."""

import numpy as np
import pytest

from kvae import likelihoods, posteriors, priors

_PRIORS = {
    "standard_normal": {},
    "gaussian_mixture": {"num_components": 3},
    "spherical_mixture": {"num_components": 3},
    "uniform_sphere": {},
    "uniform_categorical": {"num_categories": 2},
}
_POSTERIORS = {
    "diagonal_gaussian": {},
    "full_covariance": {},
    "low_rank": {"rank": 2},
    "unit_variance": {},
    "gaussian_mixture": {},
    "gumbel_softmax": {"num_categories": 2},
    "laplace": {},
    "logistic": {},
    "student_t": {},
    "power_spherical": {},
    "von_mises_fisher": {},
}
_LIKELIHOODS = {
    "bernoulli": {},
    "categorical": {"num_classes": 3},
    "continuous_bernoulli": {},
    "gaussian": {"variance": "per_pixel"},
    "gaussian_mixture": {},
    "laplace": {"variance": "per_pixel"},
    "log_normal": {},
    "negative_binomial": {},
    "poisson": {},
    "student_t": {},
}


@pytest.mark.default("standard_normal", "gaussian_mixture", "uniform_categorical")
@pytest.mark.parametrize("name", _PRIORS)
def test_a_prior_is_the_distribution_that_it_gives_back(name):
    prior = priors.REGISTER[name](latent_dim=4, **_PRIORS[name])
    prior.build()
    z = prior.sample(6, seed=1)
    given = prior.distribution()
    np.testing.assert_allclose(given.log_prob(z), prior.log_prob(z), rtol=1e-4, atol=1e-4)
    assert given.event_shape == (4,) and given.batch_shape == ()


@pytest.mark.default("diagonal_gaussian", "full_covariance", "laplace", "gumbel_softmax")
@pytest.mark.parametrize("name", _POSTERIORS)
def test_a_posterior_is_the_distribution_that_it_gives_back(name):
    posterior = posteriors.REGISTER[name](latent_dim=4, **_POSTERIORS[name])
    params = posterior(np.random.default_rng(0).normal(size=(3, 5)).astype("float32"))
    z = posterior.sample(params, 2, seed=1)
    given = posterior.distribution(params)
    assert given.event_shape == (4,) and given.batch_shape == (3,)
    log_q = posterior.log_prob(params, z)
    np.testing.assert_allclose(given.log_prob(z), log_q, rtol=1e-3, atol=1e-3)


@pytest.mark.default("bernoulli", "categorical", "gaussian", "negative_binomial")
@pytest.mark.parametrize("name", _LIKELIHOODS)
def test_a_likelihood_is_the_distribution_that_it_gives_back(name):
    likelihood = likelihoods.REGISTER[name](**_LIKELIHOODS[name])
    shape = likelihood.output_shape((3, 2))
    outputs = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    params = likelihood(outputs)
    x = likelihood.sample(params, seed=1)
    given = likelihood.distribution(params)
    assert given.event_shape == (3, 2) and given.batch_shape == (4,)
    log_p = likelihood.log_prob(params, x)
    np.testing.assert_allclose(given.log_prob(x), log_p, rtol=1e-4, atol=1e-4)
