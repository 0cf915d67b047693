"""Codes of images with known factors, and their information about the factors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.utils import arguments

__all__ = ["Representation", "checked", "discretize", "mutual_information", "varying"]

BINS = 20


class Representation:
    """Codes of the images that a data object draws from factors.

    Args:
        representation: `kvae.VAE`, for which it is the posterior's mean, a function from images
            `[n, *event]` to codes `[n, latent_dim]`, or a `Representation`.
        batch_size: int. Images at once.
        progress: optional callable, called with the number of images encoded so far.

    Raises:
        TypeError: for anything else.
        ValueError: for a conditional model.
    """

    def __init__(
        self,
        representation: Any,
        batch_size: int = 1000,
        progress: Callable[[int], object] | None = None,
    ):
        batch_size = arguments.whole("batch_size", batch_size)
        self.encode = _function(representation)
        self.batch_size, self.progress, self.done = batch_size, progress, 0

    @classmethod
    def of(cls, representation: Any, batch_size: int) -> "Representation":
        given = isinstance(representation, cls)
        return representation if given else cls(representation, batch_size)

    def __call__(self, data: Any, factors: np.ndarray) -> np.ndarray:
        """Returns the codes of the images of `factors` `[n, K]`, float64 `[n, latent_dim]`."""
        parts = []
        for start in range(0, len(factors), self.batch_size):
            images = data.images(factors[start : start + self.batch_size])
            codes = np.asarray(self.encode(images), np.float64)
            if codes.ndim != 2 or len(codes) != len(images):
                raise ValueError(
                    f"A representation gives codes [n, latent_dim], not {codes.shape} for "
                    f"{len(images)} images."
                )
            parts.append(codes)
            self.done += len(images)
            if self.progress is not None:
                self.progress(self.done)
        return np.concatenate(parts)

    def sample(self, data: Any, n: int, seed: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns codes `[n, latent_dim]` and factors `[n, K]` of images drawn at random."""
        factors = data.sample_factors(n, seed)
        return self(data, factors), factors


def checked(codes: ArrayLike, factors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes as float64 `[n, latent_dim]` and factors as int64 `[n, K]`.

    Raises:
        ValueError: for other shapes, codes that are not finite, factors that are not whole numbers,
            or factors that are all constant.
    """
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not codes.size:
        raise ValueError(
            f"Codes are [n, latent_dim] and factors [n, K], not {codes.shape} and {factors.shape}."
        )
    if not np.isfinite(codes).all():
        raise ValueError("The codes hold NaN or infinities.")
    if factors.dtype.kind not in "iub":
        raise ValueError(f"Factors are numbers of classes, not {factors.dtype}.")
    if not varying(factors).any():
        raise ValueError("No factor varies: there is nothing to tell apart.")
    return codes, factors.astype(np.int64)


def varying(factors: np.ndarray) -> np.ndarray:
    """Returns which factors have more than one value, bool `[K]`: the scores are about those."""
    return np.ptp(factors, axis=0) > 0


def discretize(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Returns the bin of each code, int `[n, latent_dim]`: equal parts of its range."""
    edges = [np.histogram_bin_edges(column, bins)[1:-1] for column in codes.T]
    columns = [np.digitize(column, inner) for column, inner in zip(codes.T, edges, strict=True)]
    return np.stack(columns, axis=1)


def mutual_information(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> np.ndarray:
    """Returns I(z_j; v_k) of discretized codes in nats, `[latent_dim, K]`.

    It is the mutual information of the counts of these examples, which is too high by about
    (bins − 1)(values − 1) / 2n.

    Args:
        codes: array `[n, latent_dim]`.
        factors: int array `[n, K]`.
        bins: int. Equal parts of the range of each code. Defaults to `20`.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = checked(codes, factors)
    binned = discretize(codes, bins)
    information = [[mutual_info_score(v, z) for v in factors.T] for z in binned.T]
    return np.maximum(information, 0.0)  # Rounding can leave −1e-17.


def _function(representation):
    """Returns the function from images to codes that a representation stands for."""
    if isinstance(representation, Representation):
        return representation.encode
    if not hasattr(representation, "posterior"):
        if not callable(representation):
            raise TypeError(
                "A representation is a kvae.VAE or a function from images to codes, not "
                f"{representation!r}."
            )
        return representation
    vae = representation
    if vae.conditional:
        raise ValueError(
            f"{vae.name} is conditional: its labels hold what its codes leave out. Give a "
            "function, e.g. lambda x: vae.encode(x, labels_of(x))['z_mean']."
        )
    return lambda images: vae.posterior.mean(vae.encode_data(images)[0])
