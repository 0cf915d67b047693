"""Bits per dimension: densities whose discrete counterpart is known."""

import math

import numpy as np
import pytest
import scipy.stats

from kvae.evaluation import bits_per_dim, dequantize


def test_uniform_densities_and_probabilities():
    assert bits_per_dim(0.0, (4, 4, 3)) == 8.0  # p = 1 on [0, 1): no information at all.
    assert bits_per_dim(48 * math.log(256), (4, 4, 3), bins=None) == pytest.approx(8.0)
    assert bits_per_dim(10 * math.log(2), (10,), bins=None) == pytest.approx(1.0)
    several = bits_per_dim(np.array([0.0, 2 * math.log(2)]), (2,), bins=4)
    np.testing.assert_allclose(several, [2.0, 3.0])


def test_bounds_the_discrete_probability_and_meets_it_for_flat_bins():
    """p is a density over [0, 1); P(k) its integral over the bin of k."""
    bins, d = 8, 20_000
    normal = scipy.stats.truncnorm(-2.0, 2.0, loc=0.5, scale=0.25)
    k = np.random.default_rng(0).integers(0, bins, size=(1, d))
    mass = np.log(normal.cdf((k + 1) / bins) - normal.cdf(k / bins))
    exact = bits_per_dim(-mass.sum(), (d,), bins=None)
    x = dequantize(k, seed=1, bins=bins).astype(np.float64)
    each = -normal.logpdf(x)[0]
    bound = bits_per_dim(each.sum(), (d,), bins=bins)
    error = each.std() / math.sqrt(d) / math.log(2)
    # Jensen's gap, by integration: mean over u of −log p minus −log of the mean of p.
    u = (np.arange(2000) + 0.5) / 2000
    levels = np.arange(bins)[:, None]
    gaps = -normal.logpdf((levels + u) / bins).mean(axis=1) + np.log(
        normal.pdf((levels + u) / bins).mean(axis=1)
    )
    gap = gaps[k[0]].mean() / math.log(2)
    assert gap > 0.01
    assert abs(bound - exact - gap) < 4 * error


def test_dequantize_fills_its_bin_and_stays_below_one():
    k = np.random.default_rng(0).integers(0, 256, size=(200, 8, 8, 1)).astype(np.uint8)
    x = dequantize(k, seed=3)
    assert x.dtype == np.float32 and x.max() < 1.0
    np.testing.assert_array_equal(np.floor(x * 256), k)
    assert scipy.stats.kstest((x * 256 - k).ravel(), "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(x, dequantize(k, seed=3))
    assert not np.array_equal(x, dequantize(k, seed=4))
    assert dequantize(np.full((1000, 1000), 255, np.uint8), seed=0).max() < 1.0


def test_refuses():
    with pytest.raises(ValueError, match="0 to 255"):
        dequantize(np.zeros((2, 2)), seed=0)
    with pytest.raises(ValueError, match="0 to 7"):
        dequantize(np.full((2, 2), 8), seed=0, bins=8)
    with pytest.raises(ValueError, match="bins"):
        bits_per_dim(1.0, (2,), bins=1)
    with pytest.raises(ValueError, match="at least one number"):
        bits_per_dim(1.0, (0,))


def test_masked_images_are_refused():
    x = np.ma.array(np.zeros((2, 3), np.uint8), mask=[[1, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="masked"):
        dequantize(x, seed=0)
