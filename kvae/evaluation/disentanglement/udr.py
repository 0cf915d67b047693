"""UDR: whether several trainings find the same codes. It knows no factors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae import divergences

__all__ = ["udr", "udr_from_codes"]


def udr(models: Sequence[Any], images: ArrayLike, *, least_kl: float = 0.01) -> dict[str, Any]:
    """Measures the unsupervised disentanglement ranking of trainings that differ in their seed.

    A code that stands for a factor is found again, whatever the seed; one that mixes factors is
    another mixture each time. So a training whose codes correlate one by one with those of the
    others of its method is likely to have disentangled, which shows without knowing a factor.

    For two models, `R` holds the absolute rank correlations (Spearman's) of the codes of the one
    with those of the other. A code scores `max(R)² / sum(R)` over the codes of the other model: 1
    if it correlates perfectly with one of them and with no other. The mean over the codes of both
    is the pair's score, and the median over its pairs is a model's.

    Args:
        models: at least two `kvae.VAE`s of one method. A code is the posterior's mean.
        images: array `[n, *event]`, of which some thousand suffice.
        least_kl: float. The mean KL in nats that a latent has at least if it is to count: below,
            it is nearly the prior, and holds nothing. Defaults to `0.01`, as in the paper.

    Returns:
        dict: `udr`, an array `[models]` from 0 to 1, and `pairs`, `[models, models]`, whose
        diagonal is NaN.

    Raises:
        ValueError: for fewer than two models, conditional ones, autoencoders and posteriors whose
            KL has no parts of single latents, and codes that are not finite.

    Example:

    ```python
    images = kvae.datasets.load("sprites", "test").examples[:2000]
    found = kvae.evaluation.udr([vae_of_seed_0, vae_of_seed_1, vae_of_seed_2], images)
    best = int(np.argmax(found["udr"]))
    ```

    Reference:
        - [Duan et al., Unsupervised Model Selection for Variational Disentangled Representation
          Learning, section 4](https://arxiv.org/abs/1905.12614), with rank correlations (UDR_S);
          like in their code, the latents that do not count are left out of the sums as well.
    """
    codes, counting = [], []
    for vae in models:
        if vae.conditional:
            raise ValueError(
                f"{vae.name} is conditional: its labels hold what its codes leave out. Give "
                "`udr_from_codes` the codes of images and labels."
            )
        parts = divergences.marginal_kl_per_dimension(vae.posterior, vae.prior)
        if parts is None or not vae.posterior.has_density:  # Of an autoencoder it is 0.
            raise ValueError(
                f"The KL of {vae.name} has no parts of single latents. Give `udr_from_codes` its "
                "codes, and which of them count."
            )
        params = vae.encode(images)
        codes.append(np.asarray(vae.posterior.mean(params)))
        counting.append(np.mean(parts(params), axis=0, dtype="float64") >= least_kl)
    return udr_from_codes(codes, counting)


def udr_from_codes(
    codes: Sequence[ArrayLike], counting: Sequence[ArrayLike] | None = None
) -> dict[str, Any]:
    """Returns what `udr` does, for codes `[n, latent_dim]` of the same images by each model.

    Args:
        codes: sequence of arrays, whose latent dimensions may differ.
        counting: optional sequence of bool arrays `[latent_dim]`: which codes count. Defaults to
            all. A model of which none counts scores 0.

    Raises:
        ValueError: for fewer than two models, codes of different numbers of images, codes that are
            not finite, and `counting` of other shapes.
    """
    ranks = [_ranks(each) for each in codes]
    if len(ranks) < 2 or len({len(each) for each in ranks}) > 1:
        shapes = ", ".join(str(np.shape(each)) for each in codes)
        raise ValueError(f"UDR compares the codes of the same images by two models, not: {shapes}")
    if counting is not None:
        masks = [np.asarray(each, bool) for each in counting]
        if [mask.shape for mask in masks] != [each.shape[1:] for each in ranks]:
            raise ValueError(
                "`counting` has one bool for each code of each model: "
                f"{', '.join(str(each.shape[1:]) for each in ranks)}, not "
                f"{', '.join(str(mask.shape) for mask in masks)}."
            )
        ranks = [each[:, mask] for each, mask in zip(ranks, masks, strict=True)]
    pairs = np.full((len(ranks), len(ranks)), np.nan)
    for i, first in enumerate(ranks):
        for j, second in enumerate(ranks[:i]):
            pairs[i, j] = pairs[j, i] = _alike(np.abs(first.T @ second))
    return {"udr": np.nanmedian(pairs, axis=1), "pairs": pairs}


def _ranks(codes: ArrayLike) -> np.ndarray:
    """Returns the ranks of codes, centred and of length 1, so that products are correlations."""
    from scipy.stats import rankdata

    codes = np.asarray(codes, np.float64)
    if codes.ndim != 2 or not codes.size or not np.isfinite(codes).all():
        raise ValueError(f"Codes are finite numbers [n, latent_dim], unlike these {codes.shape}.")
    ranks = rankdata(codes, axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.linalg.norm(ranks, axis=0)
    return ranks / np.where(length > 0, length, 1.0)  # A constant correlates with nothing.


def _alike(correlations: np.ndarray) -> float:
    """Returns the score of a pair, given `[codes of the one, codes of the other]`."""
    if not correlations.size:
        return 0.0
    total = 0.0
    for axis in (0, 1):
        sums = correlations.sum(axis=axis)
        best = correlations.max(axis=axis)
        total += float(np.sum(best**2 / np.where(sums > 0, sums, 1.0)))
    return total / sum(correlations.shape)
