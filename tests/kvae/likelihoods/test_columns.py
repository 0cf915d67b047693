"""The likelihoods of a table's columns, against SciPy and TensorFlow Probability."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import kvae
from kvae.likelihoods import (
    GaussianMixture,
    LogNormal,
    MixedTabular,
    NegativeBinomial,
    Ordinal,
    Poisson,
    RoundedMixture,
)

tfd = tfp.distributions
RNG = np.random.default_rng(0)
N = 4000


def outputs_of(likelihood, *lead, columns=3):
    return RNG.normal(size=(*lead, *likelihood.output_shape((columns,)))).astype("float32")


def drawn(likelihood, outputs):
    """Draws of one row of outputs, which repeat with the seed and have the mean that is stated."""
    params = likelihood(np.repeat(outputs, N, axis=0))
    draws = np.asarray(likelihood.sample(params, 3))
    np.testing.assert_array_equal(likelihood.sample(params, 3), draws)
    assert not np.array_equal(likelihood.sample(params, 4), draws)
    mean = np.asarray(likelihood.mean(params))[0]
    assert (np.abs(draws.mean(axis=0) - mean) <= 5 * draws.std(axis=0) / np.sqrt(N)).all()
    likelihood.check(draws)
    return draws


def fits(draws, cdf):
    """Checks each column of draws against a distribution function, at one in a million."""
    for column in range(draws.shape[1]):
        found = scipy.stats.kstest(draws[:, column], lambda x, own=column: cdf(x, own))
        assert found.pvalue > 1e-6


@pytest.mark.parametrize("lead", [(5,), (2, 5)])
def test_log_normal_is_that_of_scipy(lead):
    likelihood = LogNormal()
    outputs = outputs_of(likelihood, *lead)
    x = np.exp(RNG.normal(size=(5, 3))).astype("float32")
    location, sigma = outputs[..., :3], np.exp(outputs[..., 3:] / 2)
    known = scipy.stats.lognorm(sigma, scale=np.exp(location))
    found = likelihood.log_prob(likelihood(outputs), x)
    np.testing.assert_allclose(found, known.logpdf(x).sum(axis=-1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(likelihood.mean(likelihood(outputs)), known.mean(), rtol=1e-4)
    mode = np.asarray(likelihood.mode(likelihood(outputs)))
    assert (known.pdf(mode) >= known.pdf(mode * 1.01) - 1e-7).all()
    assert (known.pdf(mode) >= known.pdf(mode * 0.99) - 1e-7).all()


def test_log_normal_draws_and_statistics():
    outputs = outputs_of(LogNormal(), 1) - np.float32([0, 0, 0, 2, 2, 2])
    draws = drawn(LogNormal(), outputs)
    scale = np.exp(outputs[0, 3:] / 2)
    fits(draws, lambda x, i: scipy.stats.lognorm(scale[i], scale=np.exp(outputs[0, i])).cdf(x))
    likelihood = LogNormal(standardize=True)
    likelihood.adapt(draws)
    np.testing.assert_allclose(likelihood.data_location, outputs[0, :3], atol=0.1)
    np.testing.assert_allclose(likelihood.data_scale, scale, rtol=0.2)
    seen = likelihood.encoder_input(draws)
    np.testing.assert_allclose(likelihood.from_encoder_input(seen), draws, rtol=1e-4)
    assert np.abs(np.mean(seen, axis=0)).max() < 0.5
    with pytest.raises(ValueError, match="Give positive numbers"):
        likelihood.check(np.float32([[1.0, 0.0, 2.0]]))


@pytest.mark.parametrize("standardize", [False, True])
def test_gaussian_mixture_is_that_of_tfp(standardize):
    likelihood = GaussianMixture(4, standardize=standardize)
    if standardize:
        likelihood.adapt(RNG.normal(5.0, 3.0, size=(50, 3)).astype("float32"))
    outputs = outputs_of(likelihood, 2, 5)
    params = {name: np.asarray(value) for name, value in likelihood(outputs).items()}
    known = tfd.MixtureSameFamily(
        tfd.Categorical(logits=params["logits"]),
        tfd.Normal(params["mean"], np.exp(params["log_var"] / 2)),
    )
    x = RNG.normal(size=(5, 3)).astype("float32")
    found = likelihood.log_prob(params, x)
    np.testing.assert_allclose(found, tf.reduce_sum(known.log_prob(x), -1), rtol=1e-4)
    np.testing.assert_allclose(likelihood.mean(params), known.mean(), rtol=1e-4, atol=1e-5)
    if standardize:  # Outputs are in standard deviations.
        plain = GaussianMixture(4)(outputs)["mean"]
        own = plain * likelihood.data_scale[:, None] + likelihood.data_location[:, None]
        np.testing.assert_allclose(params["mean"], own, rtol=1e-5)


def test_gaussian_mixture_has_several_modes():
    likelihood = GaussianMixture(2)
    # Two columns with modes near ±(0.75 + 4).
    outputs = np.tile(np.float32([[0.5, 0.0, -4.0, 4.0, -3.0, -3.0]]), (1, 2))
    draws = drawn(likelihood, outputs)
    share = (draws < 0).mean(axis=0)
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-0.5)), atol=5 * 0.5 / np.sqrt(N))
    assert (np.abs(np.abs(draws) - 4.75) < 5 * np.exp(-1.5)).all()
    np.testing.assert_allclose(likelihood.mode(likelihood(outputs)), [[-4.75, -4.75]], rtol=1e-4)


def test_ordinal_is_a_cumulative_logit():
    likelihood = Ordinal(4)
    outputs = outputs_of(likelihood, 2, 5)
    params = likelihood(outputs)
    likelihood.raw_thresholds.assign(RNG.normal(size=(3, 3)))
    edges = np.asarray(likelihood.thresholds(), np.float64)
    assert (np.diff(edges, axis=-1) > 0).all()
    apart = (edges - outputs[..., :3, None]) / np.exp(outputs[..., 3:, None])
    below = np.concatenate(
        [np.zeros((2, 5, 3, 1)), scipy.stats.logistic.cdf(apart), np.ones((2, 5, 3, 1))], axis=-1
    )
    p = np.diff(below, axis=-1)
    for k in range(4):
        found = likelihood.element_log_prob(params, np.full((5, 3), k, "float32"))
        np.testing.assert_allclose(np.exp(found), p[..., k], rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(likelihood.mean(params), p @ np.arange(4), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(likelihood.mode(params), p.argmax(axis=-1))
    median = (below[..., 1:] < 0.5).sum(axis=-1)
    np.testing.assert_array_equal(likelihood.point(likelihood.averaged(params)), median)


def test_ordinal_starts_with_equal_classes_and_draws_them():
    likelihood = Ordinal(5)
    outputs = np.zeros((1, 6), "float32")
    log_p = likelihood.element_log_prob(likelihood(outputs), np.float32([[0.0, 2.0, 4.0]]))
    np.testing.assert_allclose(log_p, np.log(np.full((1, 3), 0.2)), rtol=1e-3)
    draws = drawn(likelihood, outputs)
    shares = [(draws == k).mean(axis=0) for k in range(5)]
    np.testing.assert_allclose(shares, 0.2, atol=5 * 0.4 / np.sqrt(N))
    # Far in a tail nothing is lost to cancellation: log sigmoid(-40) - log sigmoid(-41).
    far = likelihood(np.float32([[60.0, 0.0]] * 1).repeat(3, axis=1).reshape(1, 6))
    assert np.isfinite(likelihood.element_log_prob(far, np.zeros((1, 3), "float32"))).all()


@pytest.mark.parametrize("lead", [(5,), (2, 5)])
def test_negative_binomial_is_that_of_scipy(lead):
    likelihood = NegativeBinomial()
    outputs = 2 * outputs_of(likelihood, *lead)
    rate = np.exp(np.float64(outputs[..., :3]))
    r = np.exp(np.clip(np.float64(outputs[..., 3:]), -5, 5))
    known = scipy.stats.nbinom(r, r / (r + rate))
    x = RNG.poisson(4.0, size=(5, 3)).astype("float32")
    found = likelihood.log_prob(likelihood(outputs), x)
    np.testing.assert_allclose(found, known.logpmf(x).sum(axis=-1), rtol=1e-4, atol=1e-3)
    mode = np.asarray(likelihood.mode(likelihood(outputs)))
    near = np.stack([known.pmf(mode + step) for step in (0, 1, -1)])
    assert (near[0] >= near[1:].max(axis=0) - 1e-6).all()


def test_negative_binomial_draws_are_the_inverse_of_the_distribution_function():
    likelihood = NegativeBinomial()
    outputs = np.float32([[0.0, 2.0, 5.0, -1.0, 0.0, 2.0]])
    draws = drawn(likelihood, outputs)
    noise = np.float64(kvae.random.open_uniform(draws.shape, kvae.random.as_seed(3)))
    rate, r = np.exp(np.float64(outputs[0, :3])), np.exp(np.float64(outputs[0, 3:]))
    known = scipy.stats.nbinom.ppf(noise, r, r / (r + rate))
    assert (draws == known).mean() > 0.999  # But for rounding of the noise's place at a step.
    poisson = Poisson()
    assert likelihood.encoder_input(draws).numpy().tobytes() == (
        poisson.encoder_input(draws).numpy().tobytes()
    )


@pytest.mark.parametrize("standardize", [False, True])
def test_rounded_mixture_is_a_difference_of_distribution_functions(standardize):
    likelihood = RoundedMixture(3, standardize=standardize)
    if standardize:
        likelihood.adapt(np.round(RNG.normal(5.0, 3.0, size=(50, 3))).astype("float32"))
    params = likelihood(outputs_of(likelihood, 5))
    weight, mean, scale = (
        np.exp(np.float64(params["log_weight"])),
        np.float64(params["mean"]),
        np.exp(np.float64(params["log_scale"])),
    )
    numbers = np.arange(-400, 401)
    lower, upper = (
        scipy.stats.logistic.cdf((numbers[:, None, None, None] + side - mean) / scale)
        for side in (-0.5, 0.5)
    )
    p = (weight * (upper - lower)).sum(axis=-1)
    for x in (-3, 0, 7):
        log_p = likelihood.element_log_prob(params, np.full((5, 3), x, "float32"))
        np.testing.assert_allclose(np.exp(log_p), p[numbers == x][0], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(likelihood.mean(params), np.tensordot(numbers, p, 1), atol=1e-3)
    best = np.take_along_axis(p, np.int64(likelihood.mode(params))[None] + 400, axis=0)[0]
    np.testing.assert_allclose(best, p.max(axis=0), rtol=1e-3)


def test_rounded_mixture_has_frequent_numbers_and_a_wide_rest():
    likelihood = RoundedMixture(1, atoms=(0, 40))
    # A third of the mass is a logistic of scale 10 about 20, and an eighth of the rest is on 0.
    logits = np.log([1 / 3, 2 / 3 / 8, 2 / 3 * 7 / 8])
    outputs = np.float32([[logits[0], 20.0, np.log(10.0), *logits[1:]]])
    draws = drawn(likelihood, outputs)
    params = likelihood(outputs)
    for atom, weight in ((0, 1 / 12), (40, 7 / 12)):
        cell = np.diff(scipy.stats.logistic.cdf([(atom - 20.5) / 10, (atom - 19.5) / 10]))[0]
        p = weight + cell / 3
        assert (draws == atom).mean() == pytest.approx(p, abs=5 * 0.5 / np.sqrt(N))
        log_p = likelihood.element_log_prob(params, np.float32([[atom]]))
        assert np.exp(log_p) == pytest.approx(p, rel=1e-4)
    rest = likelihood.element_log_prob(params, np.float32([[39.0]]))
    cell = np.diff(scipy.stats.logistic.cdf([(38.5 - 20) / 10, (39.5 - 20) / 10]))[0]
    assert np.exp(rest) == pytest.approx(cell / 3, rel=1e-4)
    assert np.asarray(likelihood.mean(params)) == pytest.approx(20 / 3 + 40 * 7 / 12, rel=1e-5)
    assert np.asarray(likelihood.mode(params)) == 40.0
    with pytest.raises(ValueError, match="takes whole numbers"):
        likelihood.check(np.float32([[0.5]]))
    with pytest.raises(ValueError, match="`atoms` are different whole numbers"):
        RoundedMixture(1, atoms=(0.5,))


TABLE = ["log_normal", ("ordinal", 4), "negative_binomial", ("gaussian_mixture", 3), "gaussian"]
MORE = [("rounded_mixture", 2), ("rounded_mixture", 2, 0.0)]  # The name of one begins the other's.


def test_a_table_sums_over_the_columns_of_all_kinds():
    likelihood = MixedTabular(TABLE)
    assert likelihood.output_shape((5,)) == (2 + 2 + 2 + 9 + 2,)
    outputs = outputs_of(likelihood, 2, 5, columns=5)
    x = np.float32([[1.5, 2, 3, -0.5, 0.1]] * 5)
    parts = [LogNormal(), Ordinal(4), NegativeBinomial(), GaussianMixture(3)]
    parts.append(kvae.likelihoods.Gaussian("per_pixel"))
    total, start = 0.0, 0
    for place, part in enumerate(parts):
        width = part.output_shape((1,))[0]
        own = part(outputs[..., start : start + width])
        total = total + part.log_prob(own, x[:, place : place + 1])
        start += width
    np.testing.assert_allclose(likelihood.log_prob(likelihood(outputs), x), total, rtol=1e-4)
    both = MixedTabular(MORE)
    twins = outputs_of(both, 5, columns=2)
    ones = RoundedMixture(2), RoundedMixture(2, (0.0,))
    apart = [one.log_prob(one(part), np.zeros((5, 1), "float32"))
             for one, part in zip(ones, np.split(twins, [6], axis=1), strict=True)]  # fmt: skip
    found = both.log_prob(both(twins), np.zeros((5, 2), "float32"))
    np.testing.assert_allclose(found, apart[0] + apart[1], rtol=1e-5)
    again = MixedTabular.from_config(likelihood.get_config())
    assert again.columns == likelihood.columns
    with pytest.raises(ValueError, match=r"ordinal column is described as \('ordinal', number of"):
        MixedTabular(["ordinal"])


def test_a_table_with_gaps_trains_and_imputes_values_of_its_columns(eagerly):
    rng = np.random.default_rng(1)
    x = np.stack(
        [
            np.exp(rng.normal(size=40)),
            rng.integers(0, 4, 40),
            rng.poisson(3, 40),
            rng.normal(size=40),
            rng.normal(size=40),
        ],
        axis=1,
    ).astype("float32")
    x[rng.random(x.shape) < 0.2] = np.nan
    likelihood = MixedTabular(TABLE, standardize=True)
    vae = kvae.VAE(
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "relu")]),
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(*likelihood.output_shape((5,)))]),
        latent_dim=2,
        likelihood=likelihood,
        missing="zero",
        seed=1,
    )
    vae.compile("adam", run_eagerly=True)
    before = np.array(likelihood._parts[1].raw_thresholds)
    history = vae.fit(x, epochs=1, batch_size=20, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert not np.array_equal(before, likelihood._parts[1].raw_thresholds)  # They are learned.
    filled = vae.impute(x, num_samples=8, seed=1).value
    likelihood.check(filled)
    there = ~np.isnan(x)
    assert filled[there].tobytes() == x[there].tobytes()


@pytest.mark.parametrize(
    ("make", "center", "spread", "power"),
    [
        (kvae.likelihoods.LogNormal, "location", "log_var", 2.0),
        (kvae.likelihoods.GaussianMixture, "mean", "log_var", 2.0),
        (kvae.likelihoods.RoundedMixture, "mean", "log_scale", 1.0),
    ],
)
def test_standardized_parameters_are_in_the_units_of_the_data(make, center, spread, power):
    plain, standardized = make(), make(standardize=True)
    outputs = np.random.default_rng(0).normal(size=(5, 2 * plain.num_parameters)).astype("float32")
    standardized.build(outputs.shape)
    standardized.set_statistics(np.float64([30.0, 5.0]), np.float64([7.0, 2.0]))
    location, scale = (
        np.asarray(one).reshape(2, *[1] * (np.ndim(plain(outputs)[center]) - 2))
        for one in (standardized.data_location, standardized.data_scale)
    )
    own, other = standardized(outputs), plain(outputs)
    np.testing.assert_allclose(own[center], other[center] * scale + location, rtol=1e-5)
    np.testing.assert_allclose(own[spread], other[spread] + power * np.log(scale), atol=1e-5)


def test_ordinal_draws_have_the_mean_of_their_distribution():
    likelihood = kvae.likelihoods.Ordinal(4)
    params = likelihood(np.tile(np.float32([[1.5, 0.0]]), (4000, 1)))
    drawn = np.asarray(likelihood.sample(params, kvae.random.as_seed(1)))
    assert drawn.mean() == pytest.approx(float(likelihood.mean(params)[0, 0]), abs=0.06)
    assert drawn.mean() > 2.0
