"""The support of likelihoods: one definition for arrays, graphs and compiled steps."""

import numpy as np
import pytest
import tensorflow as tf

from kvae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Laplace,
    MixedTabular,
    Poisson,
)

HUGE = float(np.finfo(np.float32).max)
NEVER = [np.nan, np.inf, -np.inf]
# A likelihood, values that it takes, and values that it does not.
CASES = [
    (Bernoulli(), [0, 0.25, 1, 1e-30], [-1e-6, 1.0001, 255, 1e30]),
    (ContinuousBernoulli(), [0, 0.25, 1], [-1e-6, 1.0001]),
    (Gaussian(), [0, -HUGE, HUGE, 1e-38], []),
    (Laplace(), [0, -HUGE, HUGE], []),
    (Poisson(), [0, 1, 3e7], [-1, 0.5, 1.0001]),
    (Categorical(4), [0, 1, 3], [-1, 0.5, 4, 2.0001]),
    (DiscretizedLogistic(), [0, 77 / 255, 1], [-1 / 255, 0.5, 256 / 255]),
    (DiscretizedLogisticMixture(levels=17), [0, 3 / 16, 1], [1 / 255, -1 / 16, 17 / 16]),
]


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize(
    "likelihood, taken, refused", CASES, ids=[type(case[0]).__name__ for case in CASES]
)
def test_arrays_and_graphs_agree_on_what_is_taken(likelihood, taken, refused, jit):
    refused = [*refused, *NEVER]
    # Examples [n, 2, 3] of good values, each with one value in its middle.
    values = np.array([*taken, *refused], np.float32)
    x = np.full((len(values), 2, 3), taken[-1], np.float32)
    x[:, 1, 0] = values
    fits = tf.function(likelihood.in_support, jit_compile=jit)(tf.constant(x)).numpy()
    assert fits.tolist() == [True] * len(taken) + [False] * len(refused)
    for row, fit in zip(x, fits, strict=True):
        if fit:
            np.testing.assert_array_equal(likelihood.check(row[None]), row[None])
        else:
            with pytest.raises(ValueError, match="NaN|outside the support|has the value"):
                likelihood.check(row[None])


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
def test_each_column_of_a_table_is_judged_by_its_own_likelihood(jit):
    table = MixedTabular(["poisson", "gaussian", ("categorical", 3), "poisson", "bernoulli"])
    good = np.float32([3, -0.5, 2, 4, 1])
    bad = [(0, -1), (0, 0.5), (1, np.nan), (2, 3), (3, 0.25), (4, 2), (4, np.inf)]
    x = np.stack([good] * (len(bad) + 1))
    for row, (column, value) in enumerate(bad, 1):
        x[row, column] = value
    fits = tf.function(table.in_support, jit_compile=jit)(tf.constant(x)).numpy()
    assert fits.tolist() == [True] + [False] * len(bad)


def test_what_float32_cannot_hold_is_refused_in_every_form():
    x = np.random.default_rng(0).normal(size=(5, 5))
    x[3, 2] = 1e39
    likelihood = Gaussian()
    with pytest.raises(ValueError, match="`x` holds numbers too large for float32.* 1 of 5.* 3.*R"):
        likelihood.check(x)
    assert likelihood.in_support(tf.constant(x)).numpy().tolist() == [True] * 3 + [False, True]
    x[3, 2] = np.inf
    with pytest.raises(ValueError, match="`x` holds NaN or infinite"):
        likelihood.check(x)


def test_what_counts_is_the_value_after_rounding_to_float32():
    x = np.array([[1 + 1e-9, 0.5]])  # Above 1 in float64, 1 in float32.
    assert Bernoulli().check(x).dtype == np.float32
    assert Bernoulli().in_support(tf.constant(x)).numpy().all()
    levels = (np.arange(256) / 255)[None].astype("float16")
    assert DiscretizedLogistic().in_support(tf.constant(levels)).numpy().all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_numbers_of_any_type(dtype):
    x = np.ones((2, 3), dtype)
    for likelihood in (Bernoulli(), Poisson(), DiscretizedLogistic()):
        assert likelihood.in_support(tf.constant(x)).numpy().all()
        np.testing.assert_array_equal(likelihood.check(x), 1)
    assert not Bernoulli().in_support(tf.constant([[200]], tf.uint8)).numpy().any()
