"""A quick look at whether numbers are finite."""

import math

import numpy as np

__all__ = ["surely_finite"]


def surely_finite(values: np.ndarray) -> bool:
    """Returns True only if all values are finite; of large ones it may not find it.

    A sum of squares takes half the time of a minimum and a maximum.

    Args:
        values: float array.
    """
    if not values.flags.c_contiguous:
        return False
    flat = values.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(np.dot(flat, flat))
