"""Rows given the values of some columns, against the exact answer of a linear Gaussian model."""

import keras
import numpy as np
import pytest

import kvae
from kvae.datasets import Column, Schema
from kvae.tables import given

W = np.float32([[1.0, 0.5, -1.0], [0.0, 1.0, 0.5]])  # [latents, columns]
SIGMA = 0.5


def linear(missing=None):
    """p(x|z) = N(W'z, σ²): all conditionals are known."""
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    vae = kvae.VAE(
        encoder,
        decoder,
        latent_dim=2,
        likelihood=kvae.likelihoods.Gaussian(scale=SIGMA),
        missing=missing,
        seed=1,
    )
    vae.compile(run_eagerly=True)
    decoder.layers[0].kernel.assign(W)
    vae.schema = Schema(columns=tuple(Column(name, "gaussian") for name in "abc"))
    return vae


def conditional(shifts, **kinds):
    """The same, whose x are moved by a vector for each label."""
    z, label = keras.Input((2,)), keras.Input((len(shifts),))
    decode = keras.layers.Dense(3, use_bias=False)
    x = decode(keras.layers.Concatenate()([z, label]))
    vae = kvae.VAE(
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]),
        keras.Model([z, label], x),
        latent_dim=2,
        likelihood=kvae.likelihoods.Gaussian(scale=SIGMA),
        missing="zero",
        seed=1,
        **kinds,
    )
    vae.compile(run_eagerly=True)
    decode.kernel.assign(np.concatenate([W, shifts]))
    return vae


def exact(a):
    """Mean and covariance of b and c given a."""
    covariance = W.T @ W + SIGMA**2 * np.eye(3)
    gain = covariance[1:, 0] / covariance[0, 0]
    return gain * a, covariance[1:, 1:] - np.outer(gain, covariance[0, 1:])


@pytest.mark.parametrize("missing", [None, "zero"])
def test_the_conditional_distribution_is_the_exact_one(missing):
    n = 4000
    vae = linear(missing)
    found = given(vae, {"a": 1.5}, n, num_samples=20_000, seed=1)
    mean, covariance = exact(1.5)
    rows = found.value
    assert (rows[:, 0] == 1.5).all()
    # Draws come of fewer latents than rows where the weights differ.
    error = 5 * np.sqrt(np.diag(covariance) / min(n, found.effective_sample_size))
    assert (np.abs(rows[:, 1:].mean(axis=0) - mean) < error).all()
    np.testing.assert_allclose(np.cov(rows[:, 1:].T), covariance, atol=0.15)
    variance = float(W[:, 0] @ W[:, 0] + SIGMA**2)
    known = -0.5 * (1.5**2 / variance + np.log(2 * np.pi * variance))
    assert found.log_prob == pytest.approx(known, abs=0.05)
    again = given(vae, {"a": 1.5}, n, num_samples=20_000, seed=1)
    assert np.array_equal(again, rows)
    assert not np.array_equal(given(vae, {"a": 1.5}, n, num_samples=20_000, seed=2), rows)


def test_a_label_holds_for_all_rows_however_many(eagerly):
    shifts = np.float32([[0, 0, 0], [1.0, 6.0, -6.0]])
    with kvae.random.initial_weights(1):
        vae = conditional(shifts, num_classes=2)
    found = given(vae, {"0": 1.5}, 3000, num_samples=2000, seed=1, label=1)
    mean = shifts[1, 1:] + exact(0.5)[0]
    np.testing.assert_allclose(found.value[:, 1:].mean(axis=0), mean, atol=0.15)
    with kvae.random.initial_weights(1):
        told = conditional(shifts, conditions={"side": 2})
    assert np.array_equal(
        given(told, {"0": 1.5}, 50, num_samples=40, seed=1, label={"side": 1}).value,
        given(vae, {"0": 1.5}, 50, num_samples=40, seed=1, label=1).value,
    )
    with pytest.warns(UserWarning, match="1.0 of 1 latents"):
        assert len(given(vae, {"0": 1.0}, 10, num_samples=1, label=np.int64(0)).value) == 10
    for label, message in (
        (None, "is conditional: give the `label` of the rows"),
        (2, "`label` has values from 2 to 2; it is one class number from 0 to 1"),
        (-1, "`label` has values from -1"),
        ([0, 1], "`label` is one known class"),
    ):
        with pytest.raises(ValueError, match=message):
            given(vae, {"0": 1.0}, label=label)
    with pytest.raises(ValueError, match="is not conditional and takes no labels"):
        given(linear(), {"a": 1.0}, label=0)


def test_values_that_hardly_come_together_are_told():
    with pytest.warns(UserWarning, match="of 200 latents carry the weight, of which 5 rows"):
        given(linear(), {"a": 6.0, "b": -6.0, "c": 6.0}, 5, num_samples=200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Give a value of at least one column"),
        ({"d": 1}, "Unknown column 'd'"),
        ({"a": "tall"}, "Column 'a' takes a number, not 'tall'"),
        ({"a": float("inf")}, "NaN or infinite|too large"),
        ({"a": 1.0, "b": float("nan")}, "Column 'b' is given nan, which is no value"),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        given(linear(), values)
