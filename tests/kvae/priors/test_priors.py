"""kvae.priors: densities against TensorFlow Probability and SciPy, and draws."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import priors, random
from kvae.priors import StandardNormal


@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3), (3,)])
def test_log_prob_is_that_of_tfp_and_scipy(shape):
    z = np.random.default_rng(0).normal(size=shape).astype("float32") * 3
    prior = StandardNormal(3)
    by_tfp = tfp.distributions.MultivariateNormalDiag(tf.zeros(3), tf.ones(3)).log_prob(z)
    by_scipy = scipy.stats.multivariate_normal(np.zeros(3)).logpdf(z)
    assert prior.log_prob(z).shape == shape[:-1]
    np.testing.assert_allclose(prior.log_prob(z), by_tfp, rtol=1e-5)
    np.testing.assert_allclose(prior.log_prob(z), by_scipy, rtol=1e-5)
    np.testing.assert_allclose(prior(z), by_scipy, rtol=1e-5)


def test_draws_are_the_noise_of_the_seed_times_the_temperature():
    prior = StandardNormal(3)
    noise = random.normal((7, 3), 5)
    np.testing.assert_array_equal(prior.sample(7, 5), noise)
    np.testing.assert_array_equal(prior.sample(7, 5, temperature=0.5), 0.5 * noise)
    np.testing.assert_array_equal(prior.sample(7, 5, temperature=0.0), np.zeros((7, 3)))
    np.testing.assert_array_equal(prior.transform({"noise": noise}), noise)


def test_draws_follow_the_prior():
    z = StandardNormal(3).sample(20_000, 1).numpy()
    for column in z.T:
        assert scipy.stats.kstest(column, "norm").pvalue > 1e-3
    correlations = np.corrcoef(z.T)[np.triu_indices(3, 1)]
    assert (np.abs(correlations) < 5 / np.sqrt(20_000)).all()


def test_get_and_config_round_trip():
    assert priors.get(None) is None
    assert isinstance(priors.get("standard_normal"), StandardNormal)
    copy = priors.get(keras.saving.serialize_keras_object(StandardNormal(4)))
    assert isinstance(copy, StandardNormal) and copy.latent_dim == 4
    with pytest.raises(ValueError, match="Unknown prior 'standard_norml'.*'standard_normal'"):
        priors.get("standard_norml")
    with pytest.raises(TypeError, match="`prior` is a Prior"):
        priors.get(3)
