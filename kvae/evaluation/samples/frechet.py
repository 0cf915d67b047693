"""The Fréchet distance between two sets of features."""

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from kvae.datasets import kinds

__all__ = ["frechet_distance"]


def frechet_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Returns the squared Fréchet distance between Gaussians fitted to two sets of features.

    `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`, the squared 2-Wasserstein distance of the two
    Gaussians. It is called FID when the features are those of one particular Inception network,
    and only then. Few examples make it larger: compare sets of equal sizes.

    Args:
        first: array `[n, d]`.
        second: array `[m, d]`.

    Returns:
        float, at least 0.

    Raises:
        ValueError: for features of unequal width, fewer than two rows, or NaN.

    Example:

    ```python
    features = np.random.default_rng(0).normal(size=(1000, 8))
    kvae.evaluation.frechet_distance(features, features + 1.0)     # 8.0: the means' distance
    ```

    Reference:
        - [Dowson & Landau, The Fréchet distance between multivariate normal distributions (1982)](
          https://doi.org/10.1016/0047-259X(82)90077-X)
        - [Heusel et al., GANs Trained by a Two Time-Scale Update Rule](
          https://arxiv.org/abs/1706.08500)
    """
    first, second = (
        kinds.as_array(features, "features").astype(np.float64) for features in (first, second)
    )
    for features in (first, second):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise ValueError(
                "Features are finite numbers [n, d] of at least two examples, not of shape "
                f"{features.shape}."
            )
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"The sets have {first.shape[1]} and {second.shape[1]} features: give equal numbers."
        )
    covariances = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second)]
    # tr (Σ₁ Σ₂)^½ = tr (S Σ₂ S)^½ with S = Σ₁^½: symmetric, so real whatever the rounding.
    values, vectors = scipy.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    inner = scipy.linalg.eigvalsh(root @ covariances[1] @ root)
    cross = np.sqrt(np.maximum(inner, 0.0)).sum()
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return float(max(means + sum(np.trace(c) for c in covariances) - 2.0 * cross, 0.0))
