"""Codes from coarse to fine: their probabilities, draws, gradients and penalty, by hand."""

import itertools

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import kvae
from kvae.posteriors import HierarchicalResidual

K, D = 3, 2


@pytest.fixture(scope="module")
def posterior():
    """Two positions of two codes each, of random entries, and without dropout."""
    posterior = HierarchicalResidual(
        2 * 2 * D, num_embeddings=K, embedding_dim=D, num_levels=2, level_dropout=0.0
    )
    posterior.build({"z_e": (None, 2 * D)})
    posterior.embeddings.assign(np.random.default_rng(0).normal(size=(2, K, D)))
    return posterior


@pytest.fixture(scope="module")
def params(posterior):
    z_e = np.random.default_rng(1).normal(size=(1, 2 * D)).astype("float32")
    return posterior({"z_e": tf.constant(z_e)})


def by_hand(posterior, z_e):
    """The probability of each sequence of codes of one position, `[K, K]`."""
    first, second = posterior.embeddings.numpy()
    log_q = scipy.special.log_softmax(-np.sum((z_e - first) ** 2, axis=-1))[:, None]
    left = z_e - first[:, None] - second
    return np.exp(log_q + scipy.special.log_softmax(-np.sum(left**2, axis=-1), axis=-1))


def test_probabilities_are_those_of_the_paper_and_draws_follow_them(posterior, params):
    each = [by_hand(posterior, z_e) for z_e in params["z_e"].numpy().reshape(2, D)]
    codes = np.array(list(itertools.product(range(K), repeat=4)))
    expected = each[0][codes[:, 0], codes[:, 1]] * each[1][codes[:, 2], codes[:, 3]]
    found = posterior.log_prob(params, posterior.embed(codes)[:, None])[:, 0]
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4)
    assert np.exp(found).sum() == pytest.approx(1.0, rel=1e-5)
    z, log_q = posterior.sample_and_log_prob(params, 4000, seed=0)
    np.testing.assert_allclose(log_q, posterior.log_prob(params, z), rtol=1e-4, atol=1e-5)
    drawn = posterior.nearest(z[:, 0]).numpy()
    numbers = drawn @ [27, 9, 3, 1]
    counts = np.bincount(numbers, minlength=81)
    deviation = np.sqrt(4000 * expected * (1 - expected))
    assert (np.abs(counts - 4000 * expected) < 5 * deviation + 1).all()
    assert posterior.log_prob(params, z[:1] + 0.1)[0, 0] == -np.inf
    greedy = params["codes"].numpy()[0]
    assert [greedy[0], greedy[2]] == [np.argmax(q.sum(axis=1)) for q in each]


def test_training_has_exact_entries_the_mean_of_log_q_and_a_gradient(posterior, params):
    variable = posterior.embeddings.value
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(params["z_e"])
        z, log_q = posterior.sample_and_log_prob(params, 4000, seed=0, training=True)
        total = tf.reduce_sum(z[..., :D])
    np.testing.assert_array_equal(z, posterior.sample(params, 4000, seed=0))
    each = [by_hand(posterior, z_e) for z_e in params["z_e"].numpy().reshape(2, D)]
    exact = sum(np.sum(q * np.log(q)) for q in each)
    error = np.std(log_q) / np.sqrt(4000)
    assert error < 0.05 and abs(np.mean(log_q) - exact) < 5 * error
    # What the mean of the first entry is to `z_e`, in the limit of low temperatures.
    for source in (params["z_e"], variable):
        gradient = tape.gradient(total, source)
        assert np.isfinite(gradient).all() and np.any(gradient != 0)


def test_the_kl_is_estimated_and_levels_that_are_left_out_are_uniform(posterior, params):
    prior = kvae.priors.UniformCodes(8)
    assert kvae.divergences.closed_form_kl(posterior, prior) is None
    dropping = HierarchicalResidual(
        8, num_embeddings=K, embedding_dim=D, num_levels=2, level_dropout=1.0
    )
    dropping.build({"z_e": (None, 2 * D)})
    dropping.embeddings.assign(posterior.embeddings)
    z, log_q = dropping.sample_and_log_prob(params, 5, seed=0, training=True)
    vectors = z.numpy().reshape(5, 2, 2, D)
    assert np.all(vectors[:, :, 1] == 0) and np.all(np.any(vectors[:, :, 0] != 0, axis=-1))
    first = [by_hand(posterior, z_e).sum(axis=1) for z_e in params["z_e"].numpy().reshape(2, D)]
    expected = sum(np.sum(q * np.log(q)) for q in first) - 2 * np.log(K)
    np.testing.assert_allclose(log_q, np.full((5, 1), expected), rtol=1e-5)
    np.testing.assert_array_equal(
        dropping.sample(params, 5, seed=0), posterior.sample(params, 5, seed=0)
    )


def test_the_penalty_is_on_levels_that_are_not_shorter(posterior, params):
    lengths = np.linalg.norm(posterior.embeddings.numpy(), axis=-1).mean(axis=1)
    expected = 0.05 * (max(1.5 * lengths[1] / lengths[0], 1.0) - 1.0) ** 2
    np.testing.assert_allclose(posterior.penalty(params), [expected], rtol=1e-5)
    fresh = HierarchicalResidual(24, num_embeddings=K)
    fresh.build({"z_e": (None, 8)})
    own = np.linalg.norm(fresh.embeddings.numpy(), axis=-1)
    np.testing.assert_allclose(own, np.repeat([[1.0], [0.5], [0.25]], K, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(fresh.penalty({"z_e": tf.zeros((2, 8))}), [0.0, 0.0])


def test_wrong_numbers():
    with pytest.raises(ValueError, match="`temperature` is more than 0"):
        HierarchicalResidual(temperature=0.0)
    with pytest.raises(ValueError, match="level_dropout"):
        HierarchicalResidual(level_dropout=1.5)
