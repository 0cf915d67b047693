"""Converts between a server's answers and what the client returns, with the cells of tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = [
    "Detected",
    "Generated",
    "Imputed",
    "ImputedRows",
    "Interpolated",
    "Rows",
    "Score",
    "bytes_of",
    "texts_of",
]


class Generated(NamedTuple):
    """Draws from the prior: `image` `[batch, *event]` and `z` `[batch, latent_dim]`."""

    image: np.ndarray
    z: np.ndarray


class Interpolated(NamedTuple):
    """Ways: `image` `[batch, steps, *event]` and `z` `[batch, steps, latent_dim]`."""

    image: np.ndarray
    z: np.ndarray


class Score(NamedTuple):
    """Estimates of log p(x) in nats, `[batch]` each; see `export.saved_model`."""

    elbo: np.ndarray
    log_prob: np.ndarray
    effective_sample_size: np.ndarray


class Imputed(NamedTuple):
    """Images whose gaps are filled, `[batch, *event]`, and estimates of log p of what was observed.

    The estimates are in nats, with the effective sample size, `[batch]` each; see
    `export.saved_model`.
    """

    image: np.ndarray
    log_prob: np.ndarray
    effective_sample_size: np.ndarray


class Detected(NamedTuple):
    """The anomaly scores of images in nats, p-values and verdicts `[batch]`, and maps of nats.

    See `export.saved_model` and `kvae.detection.Detector`.
    """

    score: np.ndarray
    p_value: np.ndarray
    is_anomaly: np.ndarray
    map: np.ndarray


class Rows(NamedTuple):
    """Rows of a table, lists of texts in the order of its columns, and their latents."""

    cells: list[list[str]]
    z: np.ndarray


class ImputedRows(NamedTuple):
    """Rows of a table whose gaps are filled, lists of texts, and estimates as of `Imputed`."""

    cells: list[list[str]]
    log_prob: np.ndarray
    effective_sample_size: np.ndarray


def bytes_of(cells: Sequence[Sequence]) -> np.ndarray:
    """Returns the cells of rows as the server takes them; what is `None` is empty."""
    rows = [["" if cell is None else str(cell) for cell in row] for row in cells]
    return np.array([[cell.encode() for cell in row] for row in rows], object)


def texts_of(cells: np.ndarray) -> list[list[str]]:
    """Returns cells that the server has sent as texts."""
    return [
        [cell.decode() if isinstance(cell, bytes) else cell for cell in row]
        for row in cells.tolist()
    ]
