"""Unusual examples, and where they are so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.plots import checked
from kvae.plots.grid import as_images, draw_grid, value_bounds
from kvae.plots.style import check_path, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["anomalies"]


@styled
def anomalies(
    vae: Any,
    x: Any,
    where: ArrayLike,
    path: str | os.PathLike | None = None,
    *,
    labels: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    title: str = "Anomalies",
) -> Figure:
    """Draws examples above the maps that say where each of them is unusual.

    Of a table it draws the maps alone, a bar for each column, in nats.

    Args:
        vae: kvae.VAE. The model.
        x: array [n, *event]. The examples, NaN where nothing was observed.
        where: array [n, *event]. The nats of each value, as of `kvae.detection.Detector.map`.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        labels: sequence of str. What stands below each example. Defaults to `()`: nothing.
        columns: names of a table's columns. Defaults to `None`: those of the data that the model
            was trained on, where it knows them, else their numbers.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if x has another shape than the model's events or the maps, or no rows.

    Example:

    ```python
    vae = zoo.load("dense_vae.digits")
    x = kvae.datasets.load("digits", "test", binarize="static").examples
    detector = kvae.detection.Detector(vae).fit(x[:100])
    unusual = x[100:][detector.detect(x[100:]).order[:8]]
    kvae.plots.anomalies(vae, unusual, detector.map(unusual), "anomalies.png")
    ```
    """
    check_path(path)
    x = checked.as_events(vae, np.nan_to_num(np.asarray(x)))
    where = checked.finite(where, "`where`")
    if where.shape != x.shape:
        raise ValueError(f"`where` has the shape {where.shape}, and x {x.shape}.")
    kind = checked.event_kind(x.shape[1:])
    names = checked.column_names(vae, columns)
    if kind == "table":
        grid = draw_grid(where, 1, len(x), columns=names)
        grid.label_rows(["nats"])
    else:
        rows = (
            (_coloured(as_images(x)), _heat(as_images(where)))
            if kind in ("image", "volume")
            else (_unit(x, x.min(), x.max()), _unit(where, min(0.0, where.min()), where.max()))
        )
        shown = "image" if kind == "volume" else kind
        grid = draw_grid(np.concatenate(rows), 2, len(x), kind=shown, value_range=(0.0, 1.0))
        if kind == "signal":
            grid.note = "each panel on a scale of its row"
        grid.label_rows(["example", "nats"])
    if labels:
        grid.label_cols(list(labels))
    largest = f"at most {where.max():.3g} nats a value"
    return grid.finish(title, f"what each value costs under the model; {largest}", path)


def _unit(values, low, high) -> np.ndarray:
    return (values - low) / max(high - low, 1e-12)


def _coloured(images) -> np.ndarray:
    """Returns images as [n, h, w, 3] in [0, 1]."""
    unit = np.clip(_unit(images, *value_bounds(images, decoded=False)), 0.0, 1.0)
    unit = unit[..., None] if unit.ndim == 3 else unit
    return np.repeat(unit, 3, axis=-1) if unit.shape[-1] == 1 else unit[..., :3]


def _heat(maps) -> np.ndarray:
    """Returns maps as [n, h, w, 3], from black at 0 nats to light yellow at the most."""
    from matplotlib import colormaps

    sums = maps if maps.ndim == 3 else maps.sum(axis=-1)
    return colormaps["inferno"](np.clip(_unit(sums, 0.0, sums.max()), 0.0, 1.0))[..., :3]
