"""Precision, recall, density, coverage and training neighbours, against definitions and cases."""

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import cdist

from kvae.evaluation import precision_recall_density_coverage as prdc
from kvae.evaluation import training_neighbors
from kvae.evaluation.samples import neighbors as module


def by_definition(real, generated, k):
    """The four figures from whole matrices of distances, as the papers write them."""

    def radius(x):
        return np.sort(cdist(x, x), axis=1)[:, k]

    across = cdist(real, generated)
    in_real = across <= radius(real)[:, None]
    in_generated = across <= radius(generated)[None, :]
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": in_generated.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(generated)),
        "coverage": in_real.any(axis=1).mean(),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_is_its_definition(monkeypatch, k):
    monkeypatch.setattr(module, "_BLOCK", 200)  # Blocks that divide neither set.
    rng = np.random.default_rng(k)
    # Far from the origin, where squares of norms would swallow the distances.
    real, generated = rng.normal(size=(61, 3)) + 1e4, 0.7 * rng.normal(size=(37, 3)) + 1e4 + 0.5
    found = prdc(real, generated, k)
    assert found == pytest.approx(by_definition(real, generated, k), abs=1e-12)
    assert all(0.1 < value < 2.0 for value in found.values())


def test_of_points_on_a_line():
    real = np.array([[0.0], [1.0], [9.0]])
    generated = np.array([[0.5], [0.6], [30.0], [40.0]])
    # Radii: real 1, 1, 8; generated 0.1, 0.1, 10, 10.
    # In real balls: 0.5 in those of 0 and 1, 0.6 too; |9 - 0.5| = 8.5 and |9 - 0.6| = 8.4 are out.
    assert prdc(real, generated, 1) == {
        "precision": 0.5,
        "recall": 0.0,
        "density": 1.0,  # (2 + 2 + 0 + 0) / (1 · 4)
        "coverage": pytest.approx(2 / 3),
    }


def test_of_a_set_with_itself_all_ties_are_inside():
    x = np.random.default_rng(0).normal(size=(200, 40)) * 1e-3 + 7.0
    assert prdc(x, x, 4) == {"precision": 1, "recall": 1, "density": 5 / 4, "coverage": 1}


def test_of_equal_distributions_coverage_is_what_the_paper_derives():
    rng = np.random.default_rng(1)
    n, k = 1500, 5
    found = prdc(rng.normal(size=(n, 6)), rng.normal(size=(n, 6)), k)
    # Naeem et al., eq. 8: 1 − Π (N − i) / (2N − i) for i from 1 to k, near 1 − 2^-k.
    i = np.arange(1, k + 1)
    assert found["coverage"] == pytest.approx(1 - np.prod((n - i) / (2 * n - i)), abs=0.02)
    assert found["density"] == pytest.approx(1.0, abs=0.06)


def test_a_collapsed_generator_is_precise_and_covers_little():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(300, 2))
    collapsed = real[:1] + 1e-3 * rng.normal(size=(300, 2))
    found = prdc(real, collapsed)
    assert found["precision"] == 1.0 and found["coverage"] < 0.1 and found["recall"] < 0.1
    # One real outlier makes precision of everything; density is not fooled.
    spread = rng.uniform(5, 60, size=(300, 2))
    fooled = prdc(np.concatenate([real, [[1e3, 1e3]]]), spread)
    assert fooled["precision"] == 1.0 and fooled["density"] < 0.3


def test_refuses():
    x = np.zeros((5, 2))
    with pytest.raises(ValueError, match="`neighbors` is from 1"):
        prdc(x, x, 5)
    with pytest.raises(ValueError, match="give equal shapes"):
        prdc(x, np.zeros((5, 3)))
    with pytest.raises(ValueError, match="finite"):
        prdc(x, np.full((5, 2), np.nan))


def test_training_neighbors_are_the_nearest(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 100)
    rng = np.random.default_rng(3)
    train, held_out = rng.normal(size=(50, 4, 2)) + 1e3, rng.normal(size=(20, 4, 2)) + 1e3
    generated = np.concatenate([train[7:9], rng.normal(size=(9, 4, 2)) + 1e3])
    found = training_neighbors(generated, train, held_out)
    exact = cdist(generated.reshape(11, 8), train.reshape(50, 8))
    np.testing.assert_array_equal(found.index, exact.argmin(axis=1))
    np.testing.assert_allclose(found.generated, exact.min(axis=1), rtol=1e-9)
    exact = cdist(held_out.reshape(20, 8), train.reshape(50, 8))
    np.testing.assert_array_equal(found.held_out_index, exact.argmin(axis=1))
    assert list(found.generated[:2]) == [0.0, 0.0] and list(found.index[:2]) == [7, 8]


def test_copies_are_told_from_new_examples():
    rng = np.random.default_rng(4)
    train, held_out, new = rng.normal(size=(3, 400, 5))
    fresh = training_neighbors(new, train, held_out)
    assert abs(fresh.copying - 0.5) < 4 * fresh.copying_error
    copies = training_neighbors(train + 1e-3, train, held_out).summary()
    assert copies["copying"] == copies["near_copies"] == 1.0
    strange = training_neighbors(new + 50.0, train, held_out).summary()
    assert strange["copying"] == strange["near_copies"] == 0.0
    # The error is that of Mann and Whitney's statistic under equal distributions.
    exact = scipy.stats.mannwhitneyu(fresh.held_out, fresh.generated, method="asymptotic")
    z = abs(fresh.copying - 0.5) / fresh.copying_error
    assert 2 * scipy.stats.norm.sf(z) == pytest.approx(exact.pvalue, abs=0.005)
