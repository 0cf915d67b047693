"""Groups of images in which one factor is fixed."""

from typing import Any

import numpy as np

__all__ = ["choose_factors", "fixed_values"]


def choose_factors(data: Any, n: int, seed: Any) -> np.ndarray:
    """Draws which factor is fixed in each of `n` groups, among those with several values."""
    several = np.flatnonzero(np.array(data.factor_sizes) > 1)
    if not len(several):
        raise ValueError("No factor has several values: there is nothing to tell apart.")
    return np.random.default_rng(seed).choice(several, n)


def fixed_values(
    data: Any, chosen: np.ndarray, group_size: int, values: np.ndarray, seed: Any
) -> np.ndarray:
    """Draws factors for groups, with the chosen one of each group as in `values`.

    Args:
        data: see `mig`.
        chosen: int array `[groups]`. The factor that is fixed.
        group_size: int.
        values: int array `[groups, 1 or group_size, K]`. Factors to take the chosen one's value of.
        seed: int or tuple of ints.

    Returns:
        int array `[groups, group_size, K]`.
    """
    factors = data.sample_factors(len(chosen) * group_size, seed)
    factors = factors.reshape(len(chosen), group_size, -1)
    is_chosen = np.arange(factors.shape[-1]) == chosen[:, None, None]
    return np.where(is_chosen, values, factors)
