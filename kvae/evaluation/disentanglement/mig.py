"""MIG: by how much the code that knows a factor best knows it better than the next."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.evaluation.disentanglement.representation import (
    BINS,
    Representation,
    checked,
    mutual_information,
    varying,
)

__all__ = ["mig", "mig_from_codes"]


def mig(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
) -> dict[str, float]:
    """Measures the mutual information gap.

    For every factor v, the two codes with the most mutual information about it are compared:
    (I(z₁; v) − I(z₂; v)) / H(v), averaged over the factors. A code that is spread over two
    dimensions, or that is there twice, has no gap.

    Args:
        representation: `kvae.VAE` (its posterior's mean), or a function from images `[n, *event]`
            to codes `[n, latent_dim]`.
        data: `kvae.datasets.Sprites`, or another object with `factor_sizes`, `images(factors)` and
            `sample_factors(n, seed, fixed=None)`, where a seed is an int or a tuple of ints.
        num_train: int. Images to learn from. Defaults to `10_000`.
        num_test: int. Images to test what was learned, in the scores that test. Defaults to
            `5_000`.
        seed: int. The same seed gives the same figures. Defaults to `0`.
        batch_size: int. Images at once. Defaults to `1000`.

    Returns:
        dict: `mig`, from 0 to 1.

    Raises:
        ValueError: for codes that are not a finite array `[n, latent_dim]`, or a conditional model.

    Example:

    ```python
    kvae.evaluation.mig(vae, kvae.datasets.Sprites(), seed=1)["mig"]
    ```

    Reference:
        - [Chen et al., Isolating Sources of Disentanglement, eq. 6](
          https://arxiv.org/abs/1802.04942). Like Locatello et al. (appendix C), the information is
          that of the posterior's mean in 20 bins, where the paper integrates over q(z|x).
    """
    representation = Representation.of(representation, batch_size)
    return mig_from_codes(*representation.sample(data, num_train, (seed, 0)))


def mig_from_codes(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> dict[str, float]:
    """Returns what `mig` does, for codes `[n, latent_dim]` of factors `[n, K]`."""
    codes, factors = checked(codes, factors)
    factors = factors[:, varying(factors)]
    information = np.sort(mutual_information(codes, factors, bins), axis=0)[::-1]
    second = information[1] if len(information) > 1 else 0.0
    counts = [np.bincount(v - v.min()) / len(v) for v in factors.T]
    entropy = np.array([-np.sum(p[p > 0] * np.log(p[p > 0])) for p in counts])
    return {"mig": float(np.mean((information[0] - second) / entropy))}
