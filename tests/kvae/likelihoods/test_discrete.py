"""Categorical, Poisson, discretised logistics, tables: masses against TFP and SciPy, draws."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import random
from kvae.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    MixedTabular,
    Poisson,
)

tfd = tfp.distributions
RNG = np.random.default_rng(0)
EVENT = (3, 4, 2)
N = 20_000
COLUMNS = [("poisson",), ("gaussian",), ("bernoulli",), ("categorical", 5), ("gaussian",)]


def outputs_of(likelihood, *lead, event=EVENT, scale=1.0):
    return (scale * RNG.normal(size=(*lead, *likelihood.output_shape(event)))).astype("float32")


def masses(likelihood, params, values):
    """p of each of `values` at every element, `[values, ...]`, in float64."""
    like = np.zeros_like(likelihood.mean(params))
    return np.stack(
        [
            np.exp(np.float64(likelihood.element_log_prob(params, like + np.float32(v))))
            for v in values
        ]
    )


def check_draws(likelihood, outputs, tolerance=0.0):
    """Draws repeat with the seed, and their mean is `mean`."""
    params = likelihood(np.repeat(outputs, N, axis=0))
    draws = likelihood.sample(params, 3).numpy()
    error = 5 * draws.std(axis=0) / np.sqrt(N) + tolerance
    assert (np.abs(draws.mean(axis=0) - np.asarray(likelihood.mean(params))[0]) <= error).all()
    np.testing.assert_array_equal(likelihood.sample(params, 3), draws)
    assert not np.array_equal(likelihood.sample(params, 4), draws)
    return draws


# Categorical.


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_categorical_log_prob_is_that_of_tfp(lead):
    likelihood = Categorical(4)
    outputs = outputs_of(likelihood, *lead, scale=2.0)
    assert outputs.shape == (*lead, 3, 4, 8)
    x = RNG.integers(4, size=(5, *EVENT))
    # The classes of a channel are beside one another.
    by_tfp = tfd.Categorical(logits=outputs.reshape(*lead, 3, 4, 2, 4)).log_prob(x)
    log_p = likelihood.log_prob(likelihood(outputs), x)
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-5)


def test_categorical_of_two_classes_is_the_bernoulli_of_the_difference():
    likelihood, x = Categorical(2), RNG.integers(2, size=(5, *EVENT))
    outputs = outputs_of(likelihood, 5)
    pairs = outputs.reshape(5, *EVENT, 2)
    np.testing.assert_allclose(
        likelihood.log_prob(likelihood(outputs), x),
        Bernoulli().log_prob({"logits": pairs[..., 1] - pairs[..., 0]}, x),
        rtol=1e-5,
    )


def test_categorical_masses_mean_mode_and_draws():
    likelihood = Categorical(5)
    outputs = outputs_of(likelihood, 1, scale=2.0)
    params = likelihood(outputs)
    p = masses(likelihood, params, range(5))
    np.testing.assert_allclose(p.sum(axis=0), np.ones((1, *EVENT)), rtol=1e-5)
    np.testing.assert_allclose(likelihood.mean(params), np.tensordot(range(5), p, 1), rtol=1e-5)
    np.testing.assert_array_equal(likelihood.mode(params), p.argmax(axis=0))
    draws = check_draws(likelihood, outputs)
    share = np.stack([(draws == k).mean(axis=0) for k in range(5)])
    assert (np.abs(share - p[:, 0]) < 5 * np.sqrt(p[:, 0] / N) + 1e-9).all()


# Poisson.


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_poisson_log_prob_is_that_of_scipy(lead):
    likelihood = Poisson()
    outputs = outputs_of(likelihood, *lead, scale=2.0)
    x = RNG.poisson(3.0, size=(5, *EVENT))
    by_scipy = scipy.stats.poisson.logpmf(x, np.exp(outputs.astype(np.float64)))
    log_p = likelihood.log_prob(likelihood(outputs), x)
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, by_scipy.sum(axis=(-3, -2, -1)), rtol=1e-5)


def test_poisson_mean_mode_and_sum():
    likelihood = Poisson()
    params = likelihood(np.log(np.array([[0.2, 0.999, 2.5, 7.9]], "float32")))
    p = masses(likelihood, params, range(60))
    np.testing.assert_allclose(p.sum(axis=0), np.ones((1, 4)), rtol=1e-5)
    np.testing.assert_allclose(likelihood.mean(params), np.tensordot(range(60), p, 1), rtol=1e-5)
    np.testing.assert_array_equal(likelihood.mode(params), p.argmax(axis=0))


def test_poisson_draws_are_the_inverse_of_the_distribution_function():
    rates = np.exp(np.float32([-10.0, -1.0, 0.0, 2.0, 5.0, 9.0, 10.0]))
    likelihood = Poisson()
    params = likelihood(np.log(np.tile(rates, (2000, 1))).astype("float32"))
    rate = np.float64(likelihood.mean(params))
    noise = np.float64(random.open_uniform(rate.shape, random.as_seed(3)))
    draws = likelihood.sample(params, 3)
    np.testing.assert_array_equal(draws, scipy.stats.poisson.ppf(noise, rate))
    assert not np.array_equal(likelihood.sample(params, 4), draws)


def test_poisson_bounds_its_rates():
    likelihood = Poisson(log_rate_bound=3.0)
    params = likelihood(np.array([[-1e3, 1e3]], "float32"))
    np.testing.assert_allclose(params["log_rate"], [[-3.0, 3.0]])
    for bad in (0.0, -1.0, 17.0, float("nan")):
        with pytest.raises(ValueError, match="`log_rate_bound` is in"):
            Poisson(log_rate_bound=bad)


# Discretised logistics.


def quantized(mean, log_scale, levels):
    """TFP's, over the whole numbers 0 … levels - 1, in float64."""
    mean, log_scale = np.float64(mean), np.float64(log_scale)
    # QuantizedDistribution rounds up, so that a shift by 1/2 rounds to the nearest.
    logistic = tfd.Logistic(mean * (levels - 1) - 0.5, np.exp(log_scale) * (levels - 1))
    return tfd.QuantizedDistribution(logistic, low=np.float64(0), high=np.float64(levels - 1))


def exact_masses(mean, log_scale, levels):
    """By differences of the distribution function, from both sides against cancellation."""
    mean, s = np.float64(mean), np.exp(np.float64(log_scale))
    edges = (np.arange(1, levels) - 0.5) / (levels - 1)
    edges = edges.reshape(-1, *[1] * mean.ndim)
    cdf = scipy.stats.logistic.cdf((edges - mean) / s)
    sf = scipy.stats.logistic.sf((edges - mean) / s)
    inner = np.where(cdf[1:] < 0.5, cdf[1:] - cdf[:-1], sf[:-1] - sf[1:])
    return np.concatenate([cdf[:1], inner, sf[-1:]])


MEANS = np.float32([[-0.4, 0.0, 0.25, 0.5, 0.503, 1.0, 1.7, 0.3]])
LOG_SCALES = np.float32([[-2.0, -7.0, -5.0, 1.0, -6.0, -3.0, -1.0, -0.5]])


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_discretized_logistic_masses_mean_and_mode(levels):
    likelihood = DiscretizedLogistic(levels)
    params = likelihood(np.concatenate([MEANS, LOG_SCALES], axis=-1))
    p = masses(likelihood, params, np.arange(levels) / (levels - 1))
    exact = exact_masses(MEANS, LOG_SCALES, levels)
    np.testing.assert_allclose(p.sum(axis=0), np.ones(MEANS.shape), rtol=2e-5)
    np.testing.assert_allclose(p, exact, rtol=2e-4, atol=1e-7)
    expected = np.tensordot(np.arange(levels) / (levels - 1), exact, 1)
    np.testing.assert_allclose(likelihood.mean(params), expected, rtol=1e-5, atol=1e-6)
    mode = np.round(likelihood.mode(params).numpy() * (levels - 1)).astype(int)
    best = np.take_along_axis(exact, mode[None], 0)[0]
    np.testing.assert_allclose(best, exact.max(axis=0), rtol=1e-5)


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_discretized_logistic_log_prob_is_that_of_tfp(lead):
    likelihood = DiscretizedLogistic()
    outputs = outputs_of(likelihood, *lead) - np.float32([-0.5, -0.5, 2.0, 2.0])
    x = RNG.integers(256, size=(5, *EVENT))
    by_tfp = quantized(outputs[..., :2], outputs[..., 2:], 256).log_prob(np.float64(x))
    log_p = likelihood.log_prob(likelihood(outputs), np.float32(x / 255))
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-4)


def test_discretized_logistic_draws():
    likelihood = DiscretizedLogistic(17)
    draws = check_draws(likelihood, np.concatenate([MEANS, LOG_SCALES], axis=-1), 1e-6)
    p = exact_masses(MEANS[0], LOG_SCALES[0], 17)
    share = np.stack([np.isclose(draws, k / 16).mean(axis=0) for k in range(17)])
    np.testing.assert_allclose(share.sum(axis=0), np.ones(8))  # Levels, and nothing else.
    assert (np.abs(share - p) < 5 * np.sqrt(p / N) + 2e-4).all()
    likelihood.check(draws)


def test_a_mixture_of_one_is_the_discretized_logistic():
    one, mixture = DiscretizedLogistic(17), DiscretizedLogisticMixture(1, levels=17)
    params = one(np.concatenate([MEANS, LOG_SCALES], axis=-1))
    inside = {
        "logits": np.full((1, 8, 1), 3.0, "float32"),
        **{name: value[..., None] for name, value in params.items()},
    }
    for k in range(17):
        x = np.full((1, 8), k / 16, "float32")
        np.testing.assert_allclose(mixture.log_prob(inside, x), one.log_prob(params, x), rtol=1e-6)
    np.testing.assert_allclose(mixture.mean(inside), one.mean(params), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("lead", [(5,), (3, 5)])
def test_mixture_log_prob_is_that_of_tfp(lead):
    likelihood = DiscretizedLogisticMixture(3)
    outputs = outputs_of(likelihood, *lead)
    x = RNG.integers(256, size=(5, *EVENT))
    # Logits, means, log-scales of each value; means count from 1/6, 1/2, 5/6.
    logits, means, log_scales = np.split(outputs.reshape(*lead, *EVENT, 9), 3, axis=-1)
    means = means + np.array([1 / 6, 1 / 2, 5 / 6])
    by_tfp = tfd.MixtureSameFamily(
        tfd.Categorical(logits=np.float64(logits)), quantized(means, log_scales, 256)
    ).log_prob(np.float64(x))
    log_p = likelihood.log_prob(likelihood(outputs), np.float32(x / 255))
    assert log_p.shape == lead
    np.testing.assert_allclose(log_p, np.sum(by_tfp, axis=(-3, -2, -1)), rtol=1e-4)


def test_mixture_masses_mean_mode_and_draws():
    likelihood, event = DiscretizedLogisticMixture(3, levels=17), (4,)
    outputs = outputs_of(likelihood, 1, event=event)
    outputs.reshape(1, 4, 9)[..., 6:] -= 2.5  # A view: narrow components, several modes.
    params = likelihood(outputs)
    levels = np.arange(17) / 16
    p = masses(likelihood, params, levels)
    np.testing.assert_allclose(p.sum(axis=0), np.ones((1, 4)), rtol=1e-5)
    np.testing.assert_allclose(likelihood.mean(params), np.tensordot(levels, p, 1), rtol=1e-5)
    np.testing.assert_allclose(likelihood.mode(params), levels[p.argmax(axis=0)], rtol=1e-6)
    draws = check_draws(likelihood, outputs)
    share = np.stack([np.isclose(draws, level).mean(axis=0) for level in levels])
    assert (np.abs(share - p[:, 0]) < 5 * np.sqrt(p[:, 0] / N) + 2e-4).all()


def test_discretized_log_probabilities_of_extremes_are_linear_in_the_distance():
    # Far out the mass is that of the tail, exp(-distance / s), where a difference of two sigmoids
    # is 0 in float32.
    likelihood = DiscretizedLogistic()
    params = likelihood(np.array([[1e3, -1e3, -7.0, -7.0]], "float32"))
    log_p = likelihood.element_log_prob(params, np.float32([[0.0, 1.0]]))
    np.testing.assert_allclose(log_p, [[-1e3 * np.exp(7)] * 2], rtol=1e-3)


# Tables.


def test_tables_are_the_sum_of_their_columns():
    likelihood = MixedTabular(COLUMNS)
    assert likelihood.output_shape((5,)) == (11,)
    x = np.float32([[3, 0.5, 1, 4, -1.0], [0, 2.0, 0, 0, 0.3]])
    outputs = outputs_of(likelihood, 3, 2, event=(5,))
    params = likelihood(outputs)
    assert set(params) == {
        "poisson_log_rate",
        "gaussian_mean",
        "gaussian_log_var",
        "bernoulli_logits",
        "categorical_5_logits",
    }
    # Kind by kind: 1 log-rate, 2 means and 2 log-variances, 1 logit, 5 logits.
    o = np.float64(outputs)
    scale = np.exp(o[..., 3:5] / 2)
    exact = np.stack(
        [
            scipy.stats.poisson.logpmf(x[:, 0], np.exp(o[..., 0])),
            scipy.stats.norm.logpdf(x[:, 1], o[..., 1], scale[..., 0]),
            scipy.stats.bernoulli.logpmf(x[:, 2], 1 / (1 + np.exp(-o[..., 5]))),
            tfd.Categorical(logits=o[..., 6:]).log_prob(np.int32(x[:, 3])).numpy(),
            scipy.stats.norm.logpdf(x[:, 4], o[..., 2], scale[..., 1]),
        ],
        axis=-1,
    )
    np.testing.assert_allclose(likelihood.element_log_prob(params, x), exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(likelihood.log_prob(params, x), exact.sum(-1), rtol=1e-4)


def test_table_mean_mode_and_draws():
    likelihood = MixedTabular(COLUMNS)
    outputs = outputs_of(likelihood, 1, event=(5,))
    draws = check_draws(likelihood, outputs)
    likelihood.check(draws)
    mode = likelihood.mode(likelihood(outputs)).numpy()[0]
    assert mode[0] == np.floor(np.exp(outputs[0, 0]))
    np.testing.assert_allclose(mode[[1, 4]], outputs[0, 1:3])
    assert mode[2] == (outputs[0, 5] > 0) and mode[3] == outputs[0, 6:].argmax()


def test_table_errors():
    for columns in (None, []):
        with pytest.raises(
            ValueError, match="`columns` is a list with a description of each column"
        ):
            MixedTabular(columns)
    with pytest.raises(ValueError, match="Unknown kind of column 'gausian'.*'gaussian'"):
        MixedTabular([("gausian",)])
    with pytest.raises(ValueError, match="described as .'categorical', number of classes"):
        MixedTabular([("categorical",)])
    with pytest.raises(ValueError, match="described as .'poisson',"):
        MixedTabular([("poisson", 3)])
    with pytest.raises(ValueError, match=r"2 columns, so events have the shape \(2,\), not \(3,\)"):
        MixedTabular(["gaussian", "poisson"]).output_shape((3,))
    good = np.float32([[3, -0.5, 1, 4, -1.0]])
    MixedTabular(COLUMNS).check(good)
    for column, bad, message in [
        (0, -1, r"`x\[:, 0\]` has values from -1 to -1, .*Poisson"),
        (0, 0.5, r"`x\[:, 0\]` has the value 0.5; Poisson takes whole numbers"),
        (2, 2, r"`x\[:, 2\]` .*Bernoulli"),
        (3, 5, r"`x\[:, 3\]` .*\[0, 4\] of Categorical"),
    ]:
        x = good.copy()
        x[0, column] = bad
        with pytest.raises(ValueError, match=message):
            MixedTabular(COLUMNS).check(x)
        MixedTabular(COLUMNS).check(x, support=False)
    with pytest.raises(ValueError, match=r"shape \(1, 4\); MixedTabular takes \(n, 5\)"):
        MixedTabular(COLUMNS).check(good[:, :4])


# Support.


@pytest.mark.parametrize(
    "likelihood, good, bad, message",
    [
        (Categorical(4), [0, 3], [0, 4], r"from 0 to 4, .*\[0, 3\] of Cat.*0, 1, …, 3"),
        (Categorical(4), [0, 3], [-1, 3], r"from -1 to 3"),
        (Categorical(4), [0, 3], [0, 1.5], "value 1.5; Categorical.* whole numbers"),
        (Poisson(), [0, 300], [-2, 3], r"from -2 to 3, .*\[0, inf\] of Poisson"),
        (Poisson(), [0, 300], [0.25, 3], "value 0.25; Poisson.* whole numbers"),
        (DiscretizedLogistic(), [0, 77 / 255], [0, 2.0], r"from 0 to 2, .*\[0, 1\]"),
        (DiscretizedLogistic(), [0, 77 / 255], [0, 3 / 16], "value 0.1875; .*256 levels.*round"),
        (DiscretizedLogistic(17), [0, 3 / 16], [0, 0.3], "value 0.3; .*17 levels"),
        (DiscretizedLogisticMixture(), [0, 77 / 255], [0, 0.5], "value 0.5; .*256 levels"),
    ],
)
def test_support(likelihood, good, bad, message):
    for dtype in ("float64", "float32"):
        likelihood.check(np.array([good], dtype))
        with pytest.raises(ValueError, match=message):
            likelihood.check(np.array([bad], dtype))
        likelihood.check(np.array([bad], dtype), support=False)


def test_every_level_passes_the_check_in_every_precision():
    for levels in (17, 256, 1024):
        x = (np.arange(levels) / (levels - 1))[None]
        for dtype in ("float64", "float32"):
            DiscretizedLogistic(levels).check(x.astype(dtype))
    DiscretizedLogistic(256).check((np.arange(256) / 255)[None].astype("float16"))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Categorical(1), "`num_classes` is at least 2"),
        (lambda: DiscretizedLogistic(1), "`levels` is from 2"),
        (lambda: DiscretizedLogistic(log_scale_bound=11.0), "`log_scale_bound` is in"),
        (lambda: DiscretizedLogisticMixture(0), "`num_components` is at least 1"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_gaussian_columns_are_the_gaussian_likelihood():
    table, plain = MixedTabular(["gaussian"] * 3), Gaussian("per_pixel")
    outputs, x = outputs_of(table, 4, event=(3,)), RNG.normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(
        table.log_prob(table(outputs), x), plain.log_prob(plain(outputs), x), rtol=1e-6
    )
    assert tf.is_tensor(table.mode(table(outputs)))
