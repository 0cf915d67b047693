"""The prior of a metric's volume: its constant, its mean and its draws, against a grid."""

import numpy as np
import pytest

from kvae.priors import Manifold


@pytest.fixture(scope="module")
def prior():
    factors = np.array([[[1.5, 0.0], [1.0, 0.5]], [[0.7, 0.0], [-0.4, 1.2]], [[1.0, 0.0], [0, 1]]])
    prior = Manifold(3, 2, temperature=0.8, regularization=0.05, num_steps=10, num_leaps=4)
    prior.step_size = 0.25
    centroids = np.array([[0.0, 0.0], [0.8, 0.4], [-0.2, 0.9]])
    prior.error = prior.adapt(centroids, factors @ factors.mT, seed=0, num_samples=20_000)
    return prior


@pytest.fixture(scope="module")
def grid(prior):
    line = np.linspace(-5, 5, 201, dtype="float32")
    places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return places, np.exp(np.float64(prior.log_prob(places))) * 0.05**2


def test_it_integrates_to_one_and_its_mean_is_the_grids(prior, grid):
    places, mass = grid
    assert prior.error < 0.01
    assert mass.sum() == pytest.approx(1.0, abs=4 * prior.error)
    np.testing.assert_allclose(prior.mean(), mass @ places, atol=0.03)


def test_the_constant_is_the_same_with_less_memory(prior, monkeypatch):
    monkeypatch.setattr("kvae.priors.manifold._MOST", 3 * 100)  # Distances from three centroids.
    again = Manifold(3, 2, temperature=0.8, regularization=0.05)
    rows = []
    monkeypatch.setattr(
        again, "_log_mass", lambda z: rows.append(len(z)) or Manifold._log_mass(again, z)
    )
    again.adapt(prior.centroids, prior.matrices, seed=0, num_samples=3000)
    whole = Manifold(3, 2, temperature=0.8, regularization=0.05)
    monkeypatch.undo()
    whole.adapt(prior.centroids, prior.matrices, seed=0, num_samples=3000)
    assert sum(rows) == 3000 and max(rows) <= 100
    np.testing.assert_allclose(again.log_total, whole.log_total, rtol=1e-5)
    np.testing.assert_allclose(again.average, whole.average, rtol=1e-5, atol=1e-6)


def test_the_density_is_the_volume_less_what_is_left_far_away(prior):
    z = np.array([[0.3, -0.2], [2.0, 1.0]], np.float32)
    inverse = prior._metric().inverse(z).numpy()
    root = np.sqrt(np.linalg.det(inverse)) - 0.05
    difference = np.log(root[0] / root[1])
    found = prior.log_prob(z).numpy()
    np.testing.assert_allclose(found[0] - found[1], difference, rtol=1e-3)


def test_draws_follow_the_density(prior, grid):
    places, mass = grid
    z = prior.sample(1000, seed=3).numpy()
    mean = mass @ places / mass.sum()
    spread = np.sqrt(mass @ (places - mean) ** 2 / mass.sum())
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=5 * spread.max() / np.sqrt(1000))
    np.testing.assert_allclose(z.std(axis=0), spread, rtol=0.1)
    cooler = prior.sample(300, seed=3, temperature=0.2)
    assert np.mean(prior.log_prob(cooler)) > np.mean(prior.log_prob(z)) + 0.3


def test_wrong_numbers():
    with pytest.raises(ValueError, match="`step_size` is more than 0"):
        Manifold(3, step_size=0.0)
