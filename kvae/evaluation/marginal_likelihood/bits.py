"""Bits per dimension, the unit in which densities of images are compared."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae import random
from kvae.datasets import kinds

__all__ = ["bits_per_dim", "dequantize"]


def bits_per_dim(nats: ArrayLike, event_shape: Sequence[int], bins: int | None = 256) -> Any:
    """Turns −log p(x) in nats into bits per dimension.

    A density of `x = (k + u) / bins`, with whole numbers k from 0 to `bins` − 1 and u from
    `[0, 1)`, is not yet comparable with a probability of k: a bin is `1 / bins` wide in each of the
    d dimensions, so that `−log₂ P(k) ≈ −log₂ p(x) + d log₂(bins)`. This *dequantisation correction*
    is added here, `log₂(256) = 8` bits by default. On average over u, the result is an upper bound
    of −log₂ P(k) / d for the discrete model `P(k) = ∫ p(x) du`, provided that x has been
    dequantised (`dequantize`). No such bound is known for densities of k / 255 itself: a model may
    put arbitrarily narrow peaks on the 256 levels.

    Args:
        nats: float or array. −log p(x) of whole examples in nats, e.g. `-vae.log_prob(x).value`, or
            the `nll` of a summary.
        event_shape: tuple of int. The shape of one example; every number of it is a dimension.
        bins: int or `None`. The number of levels, when p is a density over `[0, 1)`. `None` adds no
            correction, for likelihoods that are probabilities already (`Bernoulli`, `Categorical`,
            `DiscretizedLogistic`, `Poisson`). Defaults to `256`.

    Returns:
        float or array like `nats`.

    Raises:
        ValueError: for an empty event, or fewer than two bins.

    Example:

    ```python
    x = kvae.evaluation.dequantize(images, seed=0)                  # uint8 to [0, 1)
    nats = -vae.log_prob(x, num_samples=500).value
    kvae.evaluation.bits_per_dim(nats, (32, 32, 3)).mean()          # 8.0 for a uniform density
    ```

    Reference:
        - [Theis et al., A note on the evaluation of generative models, section 3.1](
          https://arxiv.org/abs/1511.01844)
    """
    dimensions = math.prod(event_shape)
    if dimensions < 1:
        raise ValueError(f"An event has at least one number, not the shape {tuple(event_shape)}.")
    if bins is not None and bins < 2:
        raise ValueError(f"`bins` is at least 2, or None for a probability, not {bins!r}.")
    bits = np.asarray(nats, np.float64) / (dimensions * math.log(2))
    bits = bits + (math.log2(bins) if bins is not None else 0.0)
    return float(bits) if bits.ndim == 0 else bits


def dequantize(x: ArrayLike, seed: int, bins: int = 256) -> np.ndarray:
    """Turns whole numbers k into `(k + u) / bins` with uniform noise u, float32 in `[0, 1)`.

    Args:
        x: integer array `[n, *event]` of 0 to `bins` − 1, e.g. uint8 images.
        seed: int. The same seed gives the same noise.
        bins: int. Defaults to `256`.

    Raises:
        ValueError: for numbers that are not whole or out of range.
    """
    x = kinds.as_array(x)
    if not np.issubdtype(x.dtype, np.integer) or x.size == 0 or x.min() < 0 or x.max() >= bins:
        raise ValueError(
            f"Whole numbers from 0 to {bins - 1} are dequantised, e.g. uint8 images, not "
            f"{x.dtype} of the shape {x.shape}. Images in [0, 1] are np.round(255 * x) of these."
        )
    noise = random.uniform(x.shape, random.as_seed(seed)).numpy()
    # The sum of the largest k and the largest noise could be rounded up to `bins`.
    values = (x.astype(np.float32) + noise) / np.float32(bins)
    return np.minimum(values, np.nextafter(np.float32(1), np.float32(0)))
