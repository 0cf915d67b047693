"""The sliced Wasserstein distance between two samples."""

import tensorflow as tf

from kvae import random

__all__ = ["sliced_wasserstein"]


def sliced_wasserstein(x, y, num_projections: int = 50, *, seed):
    """Estimates the squared sliced Wasserstein-2 distance between the distributions of `x` and `y`.

    On a line the optimal transport of one sample to another takes the smallest value to the
    smallest and so on, so that

        SW² = E_θ W₂²(θ·x, θ·y) ≈ 1/(L n) Σ_l Σ_i (sort(θ_l·x)_i − sort(θ_l·y)_i)²

    for directions θ_l that are drawn uniformly from the unit sphere. It is 0 for equal
    distributions, and of N(m, s² I) and N(0, I) in d dimensions it is `|m|² / d + (1 − s)²`. Two
    finite samples of one distribution are apart by more than 0.

    Args:
        x: tensor `[..., n, latent_dim]`. Draws from the one distribution.
        y: tensor of the same shape. Draws from the other.
        num_projections: int. L. Defaults to `50`.
        seed: int, generator or tensor. Of the directions.

    Returns:
        Tensor `[...]`, in units of x squared.

    Example:

    ```python
    z = kvae.random.normal([500, 2], seed=0)
    kvae.divergences.sliced_wasserstein(z + 1.0, z, seed=1)     # about 2 / 2
    ```

    Reference:
        - [Kolouri et al., Sliced-Wasserstein Auto-Encoders, algorithm 1](
          https://arxiv.org/abs/1804.01947)
    """
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    directions = random.normal([x.shape[-1], num_projections], seed)
    directions = directions / tf.norm(directions, axis=0)

    def sorted_shadows(values):
        shadows = tf.einsum("...nd,dl->...ln", values, directions)
        return tf.sort(shadows, axis=-1)

    return tf.reduce_mean(tf.square(sorted_shadows(x) - sorted_shadows(y)), axis=(-2, -1))
