"""Experts of single modalities that flows bend, and a joint Gaussian."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from kvae import posteriors, priors


@pytest.fixture(scope="module")
def bent():
    """Experts of three modalities and of all, and parameters; their flows are far from identity."""
    reads = [[0], [1], [2], [0, 1, 2]]
    posterior = posteriors.FlowExperts(2, num_experts=4, reads=reads, num_flows=2)
    posterior.build({"experts": [(None, 4)] * 4, "present": (None, 3)})
    rng = np.random.default_rng(4)
    posterior.set_weights([rng.normal(0, 0.5, w.shape) for w in posterior.get_weights()])
    means, log_vars = tf.constant(rng.normal(size=(2, 4, 4, 2)), tf.float32)
    return posterior, {"expert_means": means, "expert_log_vars": log_vars}


def test_the_posterior_of_one_modality_is_a_gaussian_bent_by_its_flow(bent):
    posterior, experts = bent
    for number in range(3):
        params = posterior.given(experts, np.tile(np.eye(3)[number], (4, 1)))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(params["expert_means"])
            z = posterior.transform(params, {"noise": tf.zeros((4, 2))})
            each = [z[:, 0], z[:, 1]]
        slopes = [tape.gradient(one, params["expert_means"])[:, number] for one in each]
        jacobian = np.stack(slopes, axis=1)
        at_mean = scipy.stats.norm.logpdf(0) - 0.5 * params["expert_log_vars"][:, number]
        truth = np.sum(at_mean, axis=-1) - np.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(posterior.log_prob(params, z), truth, rtol=1e-4, atol=1e-4)
        assert np.abs(z - params["expert_means"][:, number]).max() > 0.1


def test_flows_leave_the_joint_posterior_and_the_prior_alone(bent):
    posterior, experts = bent
    z = tf.random.stateless_normal((5, 4, 2), (0, 1))
    all_there = posterior.given(experts, np.ones((4, 3)))
    mean, log_var = posterior.expert(experts, 3).values()
    normal = scipy.stats.norm(mean, np.exp(0.5 * np.asarray(log_var)))
    truth = normal.logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(posterior.log_prob(all_there, z), truth, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(posterior.mean(all_there), mean, rtol=1e-5)
    two = posterior.given(experts, np.tile([1, 0, 1], (4, 1)))  # A mixture of the two.
    each = [posterior.expert_log_prob(two, number, z) for number in (0, 2)]
    truth = scipy.special.logsumexp(each, axis=0) - np.log(2)
    np.testing.assert_allclose(posterior.log_prob(two, z), truth, rtol=1e-4, atol=1e-4)
    nothing = {key: tf.zeros_like(value) for key, value in two.items()}
    assert set(posterior.params_of(priors.StandardNormal(2))) == set(nothing)
    truth = scipy.stats.norm.logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(posterior.log_prob(nothing, z), truth, rtol=1e-5)
    with pytest.raises(ValueError, match="The density of z is needed everywhere"):
        posteriors.FlowExperts(flows="planar")
