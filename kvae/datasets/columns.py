"""Chooses the likelihood that suits a column of numbers, by looking at its values."""

import math

import numpy as np

__all__ = ["COMPONENTS", "atoms_of", "kind_of_numbers"]

COMPONENTS = 5  # Those of a mixture for a column of several modes.
_BETTER = 0.03  # Nats for each row by which a mixture has to beat a Gaussian.
_LOOKED_AT = 500
# Counts: one value this often, half of the values this small, and the largest one.
_OFTEN, _SMALL, _MOST = 0.05, 10, 1000


def kind_of_numbers(values: np.ndarray, whole: bool) -> str:
    """Returns the likelihood that suits a column of numbers best.

    | kind | where |
    |---|---|
    | `negative_binomial` | whole numbers from 0 to 1,000, most of them small |
    | `log_normal` | positive numbers with a long tail, whose logarithms have none |
    | `rounded_mixture`, `gaussian_mixture` | three Gaussians describe them (whole, real) better |
    | `gaussian` | all others |

    Args:
        values: float64 array `[n]`, finite, with at least two different values.
        whole: bool. Whether all of them are whole.
    """
    if whole and values.min() == 0:
        _, counts = np.unique(values, return_counts=True)
        often = counts.max() >= _OFTEN * len(values)
        if often and np.median(values) <= _SMALL and values.max() <= _MOST:
            return "negative_binomial"
    # Values at equal steps of the order, the same whatever the order of the rows.
    ordered = np.sort(values)
    ordered = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), _LOOKED_AT)).astype(int)]
    if ordered[0] > 0:
        logs = np.log(ordered)
        tail = _skewness(ordered)
        if tail > 1 and abs(_skewness(logs)) < tail / 2 and not _several_modes(logs):
            return "log_normal"
    if not _several_modes(ordered) and not (whole and atoms_of(values)):
        return "gaussian"
    return "rounded_mixture" if whole else "gaussian_mixture"


def atoms_of(values: np.ndarray) -> tuple[float, ...]:
    """Returns the values that are far more frequent than the others, at most five, in order.

    They are in at least 5 % of the rows, and four times as often as the median of all values.
    """
    distinct, counts = np.unique(values, return_counts=True)
    often = (counts >= _OFTEN * len(values)) & (counts >= 4 * np.median(counts))
    best = np.argsort(-counts[often], kind="stable")[:5]
    return tuple(sorted(distinct[often][best].tolist()))


def _standardized(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(values.std(), 1e-300)


def _skewness(values: np.ndarray) -> float:
    return float(np.mean(_standardized(values) ** 3))


def _several_modes(values: np.ndarray) -> bool:
    """Checks whether a mixture of three Gaussians beats one, by Schwarz's criterion and a margin.

    It is fitted by expectation maximization from thirds of the sorted values.
    """
    x = _standardized(values)[:, None]
    n = len(x)
    thirds = np.array_split(x[:, 0], 3)
    mean = np.array([third.mean() for third in thirds])
    variance = np.array([max(third.var(), 1e-3) for third in thirds])
    weight = np.full(3, 1 / 3)
    log_prob = 0.0
    for _ in range(60):
        joint = np.log(weight) - 0.5 * (np.log(2 * math.pi * variance) + (x - mean) ** 2 / variance)
        top = joint.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
        log_prob = float(total.mean())
        share = np.exp(joint - total)
        size = share.sum(axis=0) + 1e-9
        mean = (share * x).sum(axis=0) / size
        variance = np.maximum((share * (x - mean) ** 2).sum(axis=0) / size, 1e-3)
        weight = size / size.sum()
    one = -0.5 * math.log(2 * math.pi * math.e)
    return log_prob - one - 6 * math.log(n) / (2 * n) > _BETTER
