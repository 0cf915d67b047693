"""Large arrays in overlapping tiles of one size, put together again without seams."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["blended", "starts", "weights"]


def starts(size: int, tile: int, overlap: int) -> list[int]:
    """Returns where the tiles of an axis begin; the last one ends where the axis does.

    Args:
        size, tile, overlap: int. Sizes of the axis and of a tile, and of what neighbours share.

    Raises:
        ValueError: for an axis that is smaller than a tile, and an overlap of no less than one.
    """
    if size < tile:
        raise ValueError(f"An axis of {size} is smaller than a tile of {tile}.")
    if size == tile:
        return [0]
    if not 0 <= overlap < tile:
        raise ValueError(f"Tiles of {tile} overlap by 0 to {tile - 1}, not by {overlap}.")
    return [*range(0, size - tile, tile - overlap), size - tile]


def weights(tile: int, overlap: int, margin: int, first: bool, last: bool) -> np.ndarray:
    """Returns how much each place of a tile counts along an axis, float32 `[tile]`.

    At an edge to a neighbour the outermost `margin` places count nothing, and the rest of the
    overlap rises in even steps to 1.

    Args:
        tile, overlap, margin: int. In places.
        first, last: bool. Whether the axis begins, or ends, with this tile.
    """
    # In whole numbers, so that both sides of a seam of two tiles add up to the same.
    rise = overlap - 2 * margin
    inside = np.arange(tile) - margin
    up = np.where(inside < 0, 0.0, 1.0 if rise == 0 else np.clip((inside + 0.5) / rise, 0.0, 1.0))
    one = np.ones(tile)
    return ((one if first else up) * (one if last else up[::-1])).astype(np.float32)


def blended(
    compute: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    tile: Sequence[int],
    overlap: int,
    margin: int,
    factor: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Applies a function to overlapping tiles of arrays, and blends what it returns.

    Args:
        compute: function from arrays `[n, *tile sizes, …]` to arrays `[n, *their sizes, …]`.
        values: array `[n, *sizes, …]`.
        tile: sequence of int. The sizes of a tile, in cells.
        overlap, margin: int. What neighbouring tiles share, and how much of it at their edges
            counts nothing, in cells.
        factor: pairs of int, for each axis. How many places of `values`, and of the results, a cell
            has.

    Returns:
        float32 array `[n, *sizes of the results, …]`.

    Raises:
        ValueError: for sizes that are no whole number of cells, or smaller than a tile, and for an
            overlap or a margin that leaves no place for a tile.
    """
    if not 0 <= 2 * margin <= overlap:
        raise ValueError(
            f"`margin` is from 0 to half the overlap of {overlap}, not {margin}: what both tiles "
            "leave out would be nowhere."
        )
    sizes = values.shape[1 : 1 + len(tile)]
    for size, (inner, _) in zip(sizes, factor, strict=True):
        if size % inner:
            raise ValueError(
                f"An axis of {size} is no multiple of {inner}: pad or crop it to "
                f"{math.ceil(size / inner) * inner} or {size // inner * inner}."
            )
    cells = [size // inner for size, (inner, _) in zip(sizes, factor, strict=True)]
    places = [starts(*axis, overlap) for axis in zip(cells, tile, strict=True)]
    total = share = None
    for corner in itertools.product(*places):
        axes = list(zip(corner, cells, tile, factor, strict=True))
        given = tuple(slice(at * f[0], (at + t) * f[0]) for at, _, t, f in axes)
        found = np.asarray(compute(values[(slice(None), *given)]), np.float32)
        if total is None:
            whole = [size * f[1] for _, size, _, f in axes]
            rest = found.shape[1 + len(tile) :]
            total = np.zeros((len(values), *whole, *rest), np.float32)
            share = np.zeros((*whole, *[1] * len(rest)), np.float32)
        own = np.ones((), np.float32)
        for at, size, t, f in axes:
            edge = weights(t * f[1], overlap * f[1], margin * f[1], at == 0, at + t == size)
            own = own[..., None] * edge
        own = own.reshape(*own.shape, *[1] * (total.ndim - 1 - own.ndim))
        put = tuple(slice(at * f[1], (at + t) * f[1]) for at, _, t, f in axes)
        total[(slice(None), *put)] += own * found
        share[put] += own
    return total / share
