"""The autoregressive likelihood: all sequences are few enough to be counted."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.likelihoods import Autoregressive

K, STEPS = 3, 3
ALL = np.array(list(itertools.product(range(K), repeat=STEPS)), "float32")[..., None]
CONTEXT = np.random.default_rng(0).normal(size=(1, STEPS, 2)).astype("float32")


def make(**settings):
    keras.utils.set_random_seed(0)
    likelihood = Autoregressive(K, 4, embedding_dim=3, context_dim=2, **settings)
    likelihood(tf.constant(CONTEXT))
    generator = np.random.default_rng(1)  # Far from a uniform distribution.
    likelihood.set_weights([generator.normal(size=w.shape) for w in likelihood.get_weights()])
    return likelihood


@pytest.fixture(scope="module")
def likelihood():
    return make()


def params_of(likelihood, n):
    return likelihood(tf.constant(np.repeat(CONTEXT, n, axis=0)))


def log_p_of_all(likelihood):
    return np.asarray(likelihood.log_prob(params_of(likelihood, len(ALL)), ALL), np.float64)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_probabilities_of_all_sequences_sum_to_one(cell):
    log_p = log_p_of_all(make(cell=cell))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1.0, rtol=1e-5)
    assert log_p.std() > 0.1


def test_draws_have_these_probabilities(likelihood):
    n = 20_000
    draws = np.asarray(likelihood.sample(params_of(likelihood, n), 1))
    found = (draws == ALL[:, None]).all(axis=(2, 3)).mean(axis=1)
    wanted = np.exp(log_p_of_all(likelihood))
    assert (np.abs(found - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / n) + 1e-4).all()
    assert np.array_equal(likelihood.sample(params_of(likelihood, n), 1), draws)


def test_the_mode_is_the_greedy_sequence(likelihood):
    p = np.exp(log_p_of_all(likelihood)).reshape(K, K, K)
    first = p.sum(axis=(1, 2)).argmax()
    second = p[first].sum(axis=1).argmax()
    greedy = [first, second, p[first, second].argmax()]
    mode = likelihood.mode(params_of(likelihood, 1))
    np.testing.assert_array_equal(mode[0, :, 0], greedy)
    np.testing.assert_array_equal(likelihood.mean(params_of(likelihood, 1)), mode)


def test_what_comes_after_is_summed_over(likelihood):
    """A sequence that ends early has the probability of all that begin with it."""
    likelihood.take_missing()
    p = np.exp(log_p_of_all(likelihood)).reshape(K, K, K)
    x = np.full((K * K, STEPS, 1), np.nan, "float32")
    x[:, :2] = ALL[::K, :2]
    found = likelihood.log_prob(params_of(likelihood, K * K), x)
    np.testing.assert_allclose(np.exp(found), p.sum(axis=2).ravel(), rtol=1e-4)
    assert likelihood.log_prob(params_of(likelihood, 1), x[:1] * np.nan) == 0.0


def test_completions_estimate_the_probability_of_what_was_observed(likelihood):
    """The average weight of a gap is exact, and weighted draws are of p(x_mis|x_obs)."""
    likelihood.take_missing()
    p, n = np.exp(log_p_of_all(likelihood)).reshape(K, K, K), 20_000
    x = np.repeat(np.float32([[[1.0], [np.nan], [2.0]]]), n, axis=0)
    params, log_p = likelihood.completed(params_of(likelihood, n), x, seed=1)
    weight = np.exp(log_p)
    assert abs(weight.mean() - p[1, :, 2].sum()) < 5 * weight.std() / np.sqrt(n)
    draws = np.asarray(likelihood.sample(params, 0))
    np.testing.assert_array_equal(draws[:, [0, 2]], x[:, [0, 2]])
    found = np.bincount(draws[:, 1, 0].astype(int), weight, K) / weight.sum()
    wanted = p[1, :, 2] / p[1, :, 2].sum()
    np.testing.assert_allclose(found, wanted, atol=0.03)
    averages = {
        "probabilities": np.average(likelihood.averaged(params)["probabilities"], 0, weight)
    }
    assert likelihood.point(averages)[1, 0] == wanted.argmax()


def test_what_follows_the_end_counts_for_nothing():
    likelihood = make(end=0)
    p = np.exp(log_p_of_all(likelihood)).reshape(K, K, K)
    ended = np.array([p[0, 0, 0], *p[1:, 0, 0], *p[1:, 1:].ravel()])
    np.testing.assert_allclose(ended.sum(), 1.0, rtol=1e-5)
    assert np.ptp(p[0]) == 0 and np.ptp(p[1, 0]) == 0
    likelihood.take_missing()
    nan = np.float32([[[1.0], [0.0], [np.nan]]])
    np.testing.assert_allclose(
        likelihood.log_prob(params_of(likelihood, 1), nan), np.log(p[1, 0, 0]), rtol=1e-5
    )
    draws = np.asarray(likelihood.sample(params_of(likelihood, 200), 1))[..., 0]
    for row in draws:
        assert 0 not in row or (row[list(row).index(0) :] == 0).all()


def test_word_dropout_is_for_training_alone():
    likelihood = make(word_dropout=0.5)
    trained = likelihood(tf.constant(CONTEXT), training=True)
    assert set(trained) == {"context", "read"} and set(params_of(likelihood, 1)) == {"context"}
    hidden = {"context": tf.constant(CONTEXT), "read": tf.zeros((1, STEPS, 1), tf.bool)}
    many = {name: tf.repeat(value, len(ALL), axis=0) for name, value in hidden.items()}
    blind = np.asarray(likelihood.log_prob(many, ALL))
    # A network that reads nothing gives independent symbols.
    p = np.exp(blind).reshape(K, K, K)
    product = np.einsum("a,b,c", p.sum((1, 2)), p.sum((0, 2)), p.sum((0, 1)))
    np.testing.assert_allclose(p, product, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": "rnn"}, "cell"),
        ({"width": 0}, "`width` is at least 1"),
        ({"word_dropout": 1.0}, "below 1"),
        ({"end": 9}, "symbol from 0 to 4"),
    ],
)
def test_refusals(settings, words):
    with pytest.raises(ValueError, match=words):
        Autoregressive(5, **settings)
    with pytest.raises(ValueError, match=r"\(steps, 1\), not \(3,\)"):
        Autoregressive(5).output_shape((3,))
    with pytest.raises(ValueError, match="has the value 0.5"):
        Autoregressive(5).check(np.full((1, 2, 1), 0.5))
