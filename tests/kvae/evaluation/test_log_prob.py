"""The error, the bias and the tail of estimates of log p(x)."""

import math
import warnings

import numpy as np
import pytest
import scipy.special
import scipy.stats

import kvae
from kvae.evaluation.marginal_likelihood.log_prob import LogProb, log_mean, num_kept, pareto_k


def estimate(log_weights):
    """Returns the result of `log_mean` for weights `[K, n]` that are accumulated in parts."""
    largest = log_weights.max(axis=0)
    weights = np.exp(log_weights - largest)
    kept = np.full((log_weights.shape[1], num_kept(len(log_weights))), -np.inf)
    descending = -np.sort(-log_weights.T, axis=1)[:, : kept.shape[1]]
    kept[:, : descending.shape[1]] = descending
    sums = weights.sum(axis=0), (weights**2).sum(axis=0)
    return log_mean(largest, *sums, kept, len(log_weights))


def jackknife(log_weights):
    """The textbook's: leave out one sample after another."""
    k = len(log_weights)
    left_out = np.stack(
        [
            scipy.special.logsumexp(np.delete(log_weights, i, axis=0), axis=0) - math.log(k - 1)
            for i in range(k)
        ]
    )
    whole = scipy.special.logsumexp(log_weights, axis=0) - math.log(k)
    error = np.sqrt((k - 1) * np.var(left_out, axis=0))
    return error, (k - 1) * (left_out.mean(axis=0) - whole)


@pytest.mark.parametrize("k, tolerance", [(2, 1e-7), (7, 1e-7), (60, 1e-7), (400, 0.02)])
@pytest.mark.parametrize("width", [0.1, 1.0, 4.0])
def test_is_the_jackknife(k, tolerance, width):
    log_weights = width * np.random.default_rng(k).normal(size=(k, 9)) - 50.0
    found = estimate(log_weights)
    error, bias = jackknife(log_weights)
    np.testing.assert_allclose(found["monte_carlo_error"], error, rtol=tolerance)
    np.testing.assert_allclose(found["bias"], bias, rtol=tolerance)
    value = scipy.special.logsumexp(log_weights, axis=0) - math.log(k)
    np.testing.assert_allclose(found["value"], value, rtol=1e-12)


def test_equal_weights_have_no_error_and_one_that_decides_a_large_one():
    found = estimate(np.full((30, 2), -3.0))
    for name in ("monte_carlo_error", "bias", "pareto_k"):
        np.testing.assert_allclose(found[name], 0.0, atol=1e-12)
    decided = np.zeros((30, 1))
    decided[4] = 60.0
    # Without it the logarithm is 60 nats lower; the delta method says 1.
    np.testing.assert_allclose(estimate(decided)["monte_carlo_error"], 60.0, rtol=0.1)
    assert np.isnan(estimate(np.zeros((1, 3)))["monte_carlo_error"]).all()


def lognormal(width):
    return lambda rng, shape: width * rng.normal(size=shape)


def pareto(k):
    return lambda rng, shape: -k * np.log(rng.random(shape))


@pytest.mark.parametrize(
    "draw, k",
    [
        (lognormal(0.5), 100),
        (lognormal(2.0), 100),
        (lognormal(3.0), 500),
        (pareto(0.5), 100),
        (pareto(0.7), 500),
        (pareto(1.0), 500),
    ],
    ids=["light", "wide", "wider", "pareto 0.5", "pareto 0.7", "pareto 1"],
)
def test_the_error_covers_the_spread_over_seeds(draw, k):
    n = 2000  # Rows of one distribution: their spread is that over seeds.
    found = estimate(draw(np.random.default_rng(1), (k, n)))
    spread = found["value"].std(ddof=1)
    assert 0.9 < spread / np.sqrt(np.mean(found["monte_carlo_error"] ** 2)) < 1.1


def test_the_bias_is_that_of_the_logarithm_of_a_mean():
    log_weights = np.random.default_rng(2).normal(size=(100, 4000))
    found = estimate(log_weights)
    bias = found["value"].mean() - 0.5  # log E[w] of a log-normal one.
    error = found["value"].std() / math.sqrt(4000)
    assert bias < -3 * error and abs(found["bias"].mean() - bias) < 4 * error


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_the_tail_of_pareto_weights(k):
    log_weights = pareto(k)(np.random.default_rng(3), (4000, 50))
    found = pareto_k(-np.sort(-log_weights.T, axis=1), 4000)
    assert abs(found.mean() - k) < 0.08


def test_the_tail_is_that_of_a_fit_by_maximum_likelihood():
    rng = np.random.default_rng(4)
    log_weights = 1.5 * rng.normal(size=(2000, 4))
    found = pareto_k(-np.sort(-log_weights.T, axis=1), 2000)
    tail = math.ceil(min(2000 / 5, 3 * math.sqrt(2000)))
    for column, k in zip(log_weights.T, found, strict=True):
        ordered = np.sort(np.exp(column - column.max()))
        fitted, _, _ = scipy.stats.genpareto.fit(ordered[-tail:] - ordered[-tail - 1], floc=0.0)
        assert abs((tail * fitted + 5.0) / (tail + 10.0) - k) < 0.06
    assert np.isnan(pareto_k(np.zeros((2, 24)), 24)).all()


def test_summary():
    value, error = np.array([-3.0, -5.0, -4.0]), np.array([0.3, 0.4, 0.0])
    ess, bias, k = np.array([2.0, 9.0, 7.0]), np.array([-0.3, 0.0, 0.0]), np.array([0.8, 0.1, 0.7])
    summary = LogProb(value, error, ess, 10, bias, k).summary()
    assert summary == {
        "nll": 4.0,
        "standard_error": pytest.approx(1 / math.sqrt(3)),
        "monte_carlo_error": pytest.approx(0.5 / 3),
        "monte_carlo_bias": pytest.approx(0.1),
        "num_samples": 10,
        "num_examples": 3,
        "median_effective_sample_size": 7.0,
        "heavy_tailed": pytest.approx(1 / 3),
    }


# The error of a set's mean, over seeds, of models.


def spread_and_error(vae, x, num_samples, seeds=80):
    """The spread of the set's mean over independent estimates, and the error that they state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of few effective samples.
        found = vae.log_prob(
            np.tile(x, (seeds, *[1] * (x.ndim - 1))),
            num_samples=num_samples,
            batch_size=1000,
            max_rows=50_000,
        )
    means = found.value.reshape(seeds, len(x)).mean(axis=1)
    error = np.sqrt(np.mean(found.monte_carlo_error**2) / len(x))
    return means.std(ddof=1), error, means.mean()


@pytest.mark.default("heavy")
@pytest.mark.parametrize(
    "shift, widen", [(0.2, 0.5), (0.3, -0.6), (0.6, -1.0)], ids=["light", "heavy", "heavier"]
)
def test_a_mismatched_posterior_of_a_linear_gaussian_model(linear_gaussian, shift, widen):
    """The weights of a posterior that is too narrow have infinite variance."""
    x = linear_gaussian.draw(50, seed=2)
    vae = linear_gaussian.vae(shift, widen)
    spread, error, mean = spread_and_error(vae, x, 100)
    assert 0.75 < spread / error < 1.25
    bias = mean - linear_gaussian.log_prob(x).mean()  # Too low for want of samples.
    assert bias < 4 * error / np.sqrt(80)
    if widen > 0:
        assert bias > -4 * error / np.sqrt(80) - 0.02


@pytest.mark.slow  # tests/zoo has the figures of the cards.
def test_the_dense_vae_of_digits():
    import zoo

    vae, x = zoo.load("dense_vae.digits"), kvae.datasets.load("digits", "test").examples[:60] > 0.5
    spread, error, _ = spread_and_error(vae, x.astype("float32"), 100)
    assert 0.75 < spread / error < 1.25


def test_heavy_tails_warn(linear_gaussian):
    x = linear_gaussian.draw(50, seed=2)
    narrow = linear_gaussian.vae(0.0, -1.6)
    with pytest.warns(UserWarning, match=r"heavy tail \(pareto_k over 0.7\)"):
        found = narrow.log_prob(x, num_samples=1000)
    assert found.summary()["heavy_tailed"] > 0.1
    assert (found.effective_sample_size > 5).mean() > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_gaussian.vae(0.1, 0.2).log_prob(x, num_samples=1000)
