"""IRS: the robustness of each code against changes of the factors it does not stand for."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.evaluation.disentanglement.representation import Representation, checked, varying

__all__ = ["irs", "irs_from_codes"]


def irs(
    representation: Any,
    data: Any,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
    batch_size: int = 1000,
) -> dict[str, float]:
    """Measures the interventional robustness score; arguments as `mig`'s.

    Among the images with one value of a factor, a code that stands for this factor keeps its value,
    whatever happens to the other factors. The 0.99-quantile of its distance from its mean among
    them, averaged over the values, in units of the largest distance from its overall mean, is how
    far it strays. 1 minus that, for the factor that suits a code best, is averaged over the codes
    with the largest distances as weights.

    Returns:
        dict: `irs`, from 0 to 1. Codes without information do not come near 0: of 10,000 draws of
        Gaussian noise the largest distance is half as much again as the quantile, so that it has
        more than a third. Codes that mix two factors alike have about a half.

    Example:

    ```python
    kvae.evaluation.irs(vae, kvae.datasets.Sprites())["irs"]
    ```

    Reference:
        - [Suter et al., Robustly Disentangled Causal Mechanisms, algorithm 1](
          https://arxiv.org/abs/1811.00007), with the quantile 0.99 as in Locatello et al.
          (appendix C) in place of the maximum.
    """
    representation = Representation.of(representation, batch_size)
    return irs_from_codes(*representation.sample(data, num_train, (seed, 0)))


def irs_from_codes(
    codes: ArrayLike, factors: ArrayLike, quantile: float = 0.99
) -> dict[str, float]:
    """Returns what `irs` does, for codes `[n, latent_dim]` of factors `[n, K]`."""
    codes, factors = checked(codes, factors)
    codes = codes[:, np.ptp(codes, axis=0) > 0]  # A code that never moves stands for nothing.
    if not codes.shape[1]:
        return {"irs": 0.0}
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    robust = []
    for factor in factors[:, varying(factors)].T:
        strayed = []
        for value in np.unique(factor):
            alike = codes[factor == value]
            distance = np.abs(alike - alike.mean(axis=0))
            strayed.append(np.quantile(distance, quantile, axis=0))
        robust.append(1.0 - np.mean(strayed, axis=0) / largest)
    return {"irs": float(np.average(np.max(robust, axis=0), weights=largest))}
