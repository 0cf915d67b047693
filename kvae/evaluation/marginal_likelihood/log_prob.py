"""The logarithm of a mean of weights, with its error, its bias and its diagnostics."""

import dataclasses
import math
from typing import Any

import numpy as np

from kvae.utils import callers

__all__ = ["LogProb", "log_mean", "num_kept", "pareto_k", "warn_of_few"]

# A few samples decide the value of an example whose effective sample size is below this ...
_FEW = 5.0
# ... or whose weights have a tail as heavy as this (Vehtari et al.) ...
_HEAVY = 0.7
# ... and the estimate of the set cannot be trusted where that is so of more than this share.
_SHARE = 0.1
# So many of the largest weights of an example are kept: all of them where they are few.
_LEAST_KEPT, _MOST_KEPT = 64, 1024
# A generalized Pareto distribution is fitted to the tail of so many weights at least.
_LEAST_FOR_TAIL = 25


@dataclasses.dataclass(frozen=True)
class LogProb:
    """Estimates of log p(x) for `n` examples, in nats.

    Attributes:
        value: array `[n]`. log p(x) itself, and not minus it; `nll` is the name of that.
        monte_carlo_error: array `[n]`. The error of each value, by the jackknife over its
            samples: in expectation not below the spread over seeds, however heavy the tail of the
            weights is. That of a single example is itself noisy where the tail is heavy. NaN for a
            single sample.
        effective_sample_size: array `[n]`, from 1 to `num_samples`; near 1, a single sample
            dominates, and neither the value nor its error can be trusted.
        num_samples: int.
        bias: array `[n]`. The jackknife's estimate of the bias of `value`, which is negative: the
            logarithm of a mean is too low in expectation. For heavy tails the bias is larger than
            its estimate.
        pareto_k: array `[n]`. The shape k̂ of the tail of the weights (PSIS): below 0.5 their
            variance is finite, above 0.7 estimates converge so slowly that more samples hardly
            help. NaN below 25 samples.
    """

    value: np.ndarray
    monte_carlo_error: np.ndarray
    effective_sample_size: np.ndarray
    num_samples: int
    bias: np.ndarray
    pareto_k: np.ndarray

    def summary(self) -> dict:
        """Returns the negative log-likelihood of the set, as a dict of numbers, in nats.

        `nll` is the mean of −log p(x), `standard_error` that of the mean over the examples (what
        another test set of this size would change), `monte_carlo_error` the part that comes from
        the importance samples (what another seed would change). `monte_carlo_bias` is what is
        found of the part by which `nll` is too high for want of samples, `heavy_tailed` the share
        of the examples whose `pareto_k` is over 0.7 (`None` below 25 samples).
        """
        n = len(self.value)
        spread = float(np.std(self.value, ddof=1)) if n > 1 else math.nan
        known = not np.isnan(self.pareto_k).any()
        return {
            "nll": float(-np.mean(self.value)),
            "standard_error": spread / math.sqrt(n),
            "monte_carlo_error": float(np.sqrt(np.sum(self.monte_carlo_error**2)) / n),
            "monte_carlo_bias": float(-np.mean(self.bias)),
            "num_samples": self.num_samples,
            "num_examples": n,
            "median_effective_sample_size": float(np.median(self.effective_sample_size)),
            "heavy_tailed": float(np.mean(self.pareto_k > _HEAVY)) if known else None,
        }

    def __str__(self) -> str:
        found = self.summary()
        return (
            f"log p(x) of {len(self.value)} examples, on average {-found['nll']:.3f} nats "
            f"(± {found['standard_error']:.3f} by examples, ± {found['monte_carlo_error']:.3f} by "
            f"samples); {self.num_samples} samples, of which "
            f"{found['median_effective_sample_size']:.3g} count (median)"
        )

    __repr__ = __str__


def num_kept(num_samples: int) -> int:
    """Returns how many of the largest weights `log_mean` wants: few sizes, for few graphs."""
    wanted = max(_LEAST_KEPT, _tail(num_samples) + 1)
    return min(2 ** math.ceil(math.log2(wanted)), _MOST_KEPT)


def log_mean(
    largest: Any, total: Any, squares: Any, kept: Any, num_samples: int
) -> dict[str, np.ndarray]:
    """Returns the logarithm of the mean of the weights of each example, and what is known of it.

    The error is that of the delete-one jackknife. Leaving out a sample that has the share p of the
    sum changes the logarithm by log(1 − p), up to a constant, which for small p is the −p of the
    delta method. That one takes a sum for its expectation, and finds too small an error where a
    few samples decide. The expectation of the jackknife's variance is never below the true one
    (Efron & Stein), whatever the distribution of the weights is.

    Args:
        largest: array `[n]`. The largest logarithm of a weight.
        total, squares: arrays `[n]`. The sums of the weights, and of their squares, as multiples of
            the largest one and its square.
        kept: array `[n, m]`. The largest logarithms of weights in descending order, `num_kept` of
            them; `-inf` fills the places of weights that are not there.
        num_samples: int.

    Returns:
        dict of float64 arrays `[n]`, the attributes of `LogProb`.

    References:
        - [Efron & Stein, The Jackknife Estimate of Variance](
          https://doi.org/10.1214/aos/1176345462)
    """
    largest, total, squares, kept = (
        np.asarray(values, np.float64) for values in (largest, total, squares, kept)
    )
    found = {
        "value": largest + np.log(total) - math.log(num_samples),
        "effective_sample_size": total**2 / squares,
        "pareto_k": pareto_k(kept, num_samples),
    }
    nan = np.full(len(largest), math.nan)
    if num_samples == 1:
        return {**found, "monte_carlo_error": nan, "bias": nan}
    mean = 1.0 / num_samples
    share = np.exp(kept - largest[:, None]) / total[:, None]
    there = np.isfinite(kept)
    others = num_samples - there.sum(axis=1)
    # Sums over the other shares, of p − 1/K and of its square.
    rest = np.where(others > 0, np.maximum(1.0 - share.sum(axis=1), 0.0), 0.0)
    rest_squares = np.maximum(squares / total**2 - (share**2).sum(axis=1), 0.0)
    first = rest - others * mean
    second = np.maximum(rest_squares - 2 * mean * rest + others * mean**2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # That of all without the largest one, which 1 − p would lose where p is almost 1.
        below = np.logaddexp.reduce(kept[:, 1:], axis=1) - largest - np.log(total)
        remaining = np.maximum(np.log1p(-share), np.logaddexp(below, np.log(rest))[:, None])
        change = (mean - 1.0) * (remaining - math.log(1.0 - mean))
    change = np.where(there, change, 0.0)
    sum_of_changes = change.sum(axis=1) + first + 0.5 * second / (1.0 - mean)
    variance = (change**2).sum(axis=1) + second - sum_of_changes**2 * mean
    return {
        **found,
        "monte_carlo_error": np.sqrt(np.maximum(variance, 0.0) / (1.0 - mean)),
        "bias": -np.maximum(sum_of_changes, 0.0),
    }


def pareto_k(kept: np.ndarray, num_samples: int) -> np.ndarray:
    """Returns the shape k̂ of a generalized Pareto distribution of the largest weights, `[n]`.

    Of the fifth of the samples, or of the 3√K, that have the largest weights. It is 0 where weights
    are equal but for rounding, and NaN for fewer than 25 samples.

    Args:
        kept: as for `log_mean`.
        num_samples: int.

    References:
        - [Vehtari et al., Pareto Smoothed Importance Sampling](https://arxiv.org/abs/1507.02646)
        - [Zhang & Stephens, A New and Efficient Estimation Method for the Generalized Pareto
          Distribution](https://doi.org/10.1198/tech.2009.08017)
    """
    kept = np.asarray(kept, np.float64)
    size = min(_tail(num_samples), kept.shape[1] - 1)
    if num_samples < _LEAST_FOR_TAIL:
        return np.full(len(kept), math.nan)
    weights = np.exp(kept[:, : size + 1] - kept[:, :1])
    x = (weights[:, :size] - weights[:, size:])[:, ::-1]  # The excesses over the tail's threshold.
    equal = x[:, -1] < 1e-5
    x = np.maximum(np.where(equal[:, None], np.arange(1, size + 1), x), 1e-30)
    grid = 30 + int(math.sqrt(size))
    quartile = x[:, int(size / 4 + 0.5) - 1]
    theta = (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile[:, None])
    theta = theta + 1.0 / x[:, -1:]
    shape = np.log1p(-theta[:, :, None] * x[:, None, :]).mean(axis=2)
    profile = size * (np.log(-theta / shape) - shape - 1.0)
    weight = np.exp(profile - profile.max(axis=1, keepdims=True))
    best = (theta * weight).sum(axis=1) / weight.sum(axis=1)
    k = np.log1p(-best[:, None] * x).mean(axis=1)
    # A prior of ten observations at one half, as the authors have it.
    return np.where(equal, 0.0, (size * k + 5.0) / (size + 10.0))


def warn_of_few(estimate: LogProb) -> None:
    """Warns when a few samples decide the log p(x) of more than a tenth of the examples.

    Of less than ten samples nobody expects log p(x).
    """
    n, num_samples = len(estimate.value), estimate.num_samples
    if num_samples < 2 * _FEW:
        return
    few = int(np.sum(estimate.effective_sample_size < _FEW))
    heavy = int(np.sum(estimate.pareto_k > _HEAVY))
    if max(few, heavy) <= _SHARE * n:
        return
    reasons = []
    if few > _SHARE * n:
        median = np.median(estimate.effective_sample_size)
        reasons.append(
            f"The effective sample size of {few} of {n} examples is below {_FEW:g}, of "
            f"{num_samples} samples (its median is {median:.3g})"
        )
    if heavy > _SHARE * n:
        reasons.append(
            f"{'the' if few > _SHARE * n else 'The'} weights of {heavy} of {n} examples have a "
            f"heavy tail (pareto_k over {_HEAVY:g})"
        )
    callers.warn(
        f"{' and '.join(reasons)}: a few samples decide their log p(x), which is then too low by "
        "more than `bias` says. Give more `num_samples`, and compare some examples with "
        "kvae.evaluation.annealed_log_prob.",
    )


def _tail(num_samples: int) -> int:
    return math.ceil(min(num_samples / 5, 3 * math.sqrt(num_samples)))
