"""Weights of examples: one for each, finite, and not negative."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets import kinds

__all__ = ["check_shape", "checked"]


def check_shape(shape: Sequence[int | None], name: str = "sample_weight") -> None:
    """Raises `ValueError` unless a shape is `[n]` or `[n, 1]`; unknown sizes are `None`."""
    if len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, None)):
        return
    raise ValueError(
        f"`{name}` has shape {tuple(shape)}; it holds one weight for each example, [n]. Values "
        "within an example are weighted by a likelihood of your own, in `element_log_prob`."
    )


def checked(
    weights: ArrayLike, n: int, name: str = "sample_weight", batch: bool = False
) -> np.ndarray:
    """Returns the weights of `n` examples as float32 `[n]`.

    Args:
        weights: array or list `[n]` or `[n, 1]` of numbers.
        n: int. The number of examples.
        name: str. The name of the weights in errors. Defaults to `"sample_weight"`.
        batch: bool. Whether the weights are those of a single batch, in which all may be zero.
            Defaults to `False`.

    Raises:
        ValueError: for another shape or number of weights, for values that are not numbers, for
            weights that are NaN, infinite or negative, and for weights that are all zero.
    """
    weights = kinds.as_array(weights, name)
    check_shape(weights.shape, name)
    if len(weights) != n:
        raise ValueError(f"`{name}` has {len(weights)} rows for {n} examples.")
    with np.errstate(over="ignore"):
        weights = weights.astype(np.float32).reshape(-1)
    fits = np.isfinite(weights) & (weights >= 0)
    if not fits.all():
        first = int(np.argmin(fits))
        raise ValueError(
            f"`{name}` has the value {weights[first]:g} in example {first}; weights are finite and "
            "not negative."
        )
    if not batch and not weights.any():
        raise ValueError(f"`{name}` is zero for every example: nothing is left to learn from.")
    return weights
