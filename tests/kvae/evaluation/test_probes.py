"""Fréchet distances and probes: closed forms and data whose answer is known."""

import numpy as np
import pytest
import scipy.linalg

from kvae.evaluation import frechet_distance, knn_probe, linear_probe


def exact_moments(n, mean, covariance, seed=0):
    """Points whose sample mean and covariance are exactly these."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x = np.linalg.solve(np.linalg.cholesky(np.cov(x, rowvar=False)), (x - x.mean(axis=0)).T).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_is_its_formula():
    rng = np.random.default_rng(1)
    means = rng.normal(size=(2, 4))
    factors = rng.normal(size=(2, 4, 4))
    covariances = factors @ factors.transpose(0, 2, 1)
    first, second = (
        exact_moments(50, mean, covariance, seed)
        for seed, (mean, covariance) in enumerate(zip(means, covariances, strict=True))
    )
    cross = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    exact = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances.sum(axis=0) - 2 * cross.real)
    assert frechet_distance(first, second) == pytest.approx(exact, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(exact, rel=1e-8)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-6)


def test_frechet_distance_of_degenerate_features():
    """Features that are constant, as a dead unit's, give a number."""
    x = np.random.default_rng(0).normal(size=(30, 3))
    x[:, 2] = 0.0
    assert frechet_distance(x, x + [0.0, 3.0, 4.0]) == pytest.approx(25.0, rel=1e-6)
    assert frechet_distance(x[:, :1], 2.0 * x[:, :1]) > 0


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.full((4, 3), np.nan)])
def test_frechet_distance_refuses(bad):
    with pytest.raises(ValueError, match="finite numbers"):
        frechet_distance(bad, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="2 and 3 features: give equal numbers"):
        frechet_distance(np.zeros((4, 2)), np.zeros((4, 3)))


@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_probes(probe):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    centres = 10.0 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    codes = centres[labels] + rng.normal(size=(400, 2))
    train, test = slice(0, 200), slice(200, 400)
    arguments = codes[train], labels[train], codes[test], labels[test]
    assert probe(*arguments) == 1.0
    assert probe(*arguments, per_class=5) == 1.0
    noise = rng.normal(size=(400, 2))
    guess = probe(noise[train], labels[train], noise[test], labels[test])
    assert abs(guess - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 200)
    few = [probe(noise[train], labels[train], noise[test], labels[test], 5, seed=s) for s in (1, 1)]
    assert few[0] == few[1]  # The same seed draws the same examples.
    with pytest.raises(ValueError, match="Class 0 has 50 examples"):
        probe(*arguments, per_class=51)
