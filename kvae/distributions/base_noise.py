"""Base noise: the random numbers that draws of z are made of."""

import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from kvae import random

__all__ = ["Noise", "draw", "middle", "shared"]

_DRAW = {"normal": random.normal, "uniform": random.uniform}
_MEDIAN = {"normal": 0.0, "uniform": 0.5}


class _Copies(threading.local):
    """In how many copies the rows of a batch are; each replica has a thread."""

    number = 1


_copies = _Copies()


class Noise(NamedTuple):
    """Independent numbers of one distribution, which every platform can draw.

    A posterior or a prior declares its base noise as a dict of these by name. Exported models take
    the noise under these names, so the name of uniform noise ends in `uniform`.

    Args:
        size: int. How many numbers one z takes.
        distribution: str. `"normal"` for N(0, 1), or `"uniform"` for the uniform distribution on
            [0, 1). Defaults to `"normal"`.
    """

    size: int
    distribution: str = "normal"


def draw(base_noise: dict[str, Noise], shape, seed) -> dict[str, tf.Tensor]:
    """Draws base noise, tensors `[*shape, size]` by name.

    Args:
        base_noise: dict of `Noise` by name.
        shape: sequence of int or scalar tensors. The leading axes.
        seed: int, `keras.random.SeedGenerator` or seed tensor; or the noise itself by name, where
            it has been drawn already, which is then returned as it is.
    """
    if not base_noise:
        return {}
    if isinstance(seed, dict):
        return seed
    seeds = [seed] if len(base_noise) == 1 else random.split(seed, len(base_noise))
    *lead, rows = shape
    copies = _copies.number
    own = rows if copies == 1 else rows // copies
    drawn = {
        name: _DRAW[noise.distribution]([*lead, own, noise.size], seed)
        for (name, noise), seed in zip(base_noise.items(), seeds, strict=True)
    }
    if copies == 1:
        return drawn
    return {name: tf.tile(value, [*[1] * len(lead), copies, 1]) for name, value in drawn.items()}


@contextlib.contextmanager
def shared(copies: int) -> Iterator[None]:
    """Within the block the copies of a row get the same noise.

    Args:
        copies: int. How many times the batch stands in the rows, one time after the other.
    """
    before, _copies.number = _copies.number, copies
    try:
        yield
    finally:
        _copies.number = before


def middle(base_noise: dict[str, Noise], shape) -> dict[str, tf.Tensor]:
    """Returns noise `[*shape, size]` of which each number is the median of its distribution."""
    return {
        name: tf.fill([*shape, noise.size], _MEDIAN[noise.distribution])
        for name, noise in base_noise.items()
    }
