"""The course of a training."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import style
from kvae.plots.grid import rectangle
from kvae.utils import names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["loss_curves"]

# The library's own metrics, in the order in which they are read; all are in nats.
_TITLES = {
    "loss": "Loss (minimised)",
    "elbo": "ELBO (maximised)",
    "reconstruction": "Reconstruction, −E[log p(x | z)]",
    "kl": "KL[q(z | x) ‖ p(z)]",
}
# Multiples of these are easy to read off an axis.
_STEPS = (1, 2, 2.5, 5, 10)


def _read(history: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the epochs, counted from 1, and the series of each key."""
    epochs = None
    if isinstance(history, str | os.PathLike):
        table = _read_csv(pathlib.Path(history))
        epochs = table.pop("epoch", None)
    elif isinstance(history, Mapping):
        table = dict(history)
    elif isinstance(getattr(history, "history", None), Mapping):
        table, epochs = dict(history.history), getattr(history, "epoch", None)
    else:
        raise ValueError(
            "`history` is what `fit` returns, a mapping of names to values per epoch, or the "
            f"path of a CSVLogger file, not {type(history).__name__}."
        )
    series = {}
    for key, values in table.items():
        try:
            values = np.asarray(values, "float64")
        except (TypeError, ValueError):
            continue
        if values.ndim == 1:
            series[str(key)] = values
    longest = max((len(values) for values in series.values()), default=0)
    if not longest:
        raise ValueError("`history` has no epochs: train the model first.")
    if epochs is None or len(epochs) != longest:
        epochs = np.arange(longest)
    return np.asarray(epochs, "float64") + 1, series


def _read_csv(path: pathlib.Path) -> dict[str, list[float]]:
    """Returns the columns of a file as `keras.callbacks.CSVLogger` writes it."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no history file {path}.")
    with open(path, newline="", encoding="utf-8") as stream:
        head = stream.readline()
        stream.seek(0)
        rows = list(csv.DictReader(stream, delimiter=";" if ";" in head else ","))

    def number(text: str | None) -> float:
        try:
            return float(text or "nan")
        except ValueError:
            return float("nan")  # CSVLogger writes NA where an epoch was not validated

    return {key: [number(row[key]) for row in rows] for key in (rows[0] if rows else ()) if key}


def _place(values: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the epochs and values of a series, which may be of every k-th epoch only."""
    # `validation_freq=k` logs the epochs k, 2k, ... and no others.
    every = max(1, len(epochs) // max(1, len(values)))
    at = epochs[every - 1 :: every][: len(values)]
    values = values[: len(at)]
    keep = np.isfinite(values)
    return at[keep], values[keep]


def _limit(ax: Axes, drawn: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Cuts the first epochs off where they would flatten many others; returns a note of it."""
    epochs = np.concatenate([at for at, _ in drawn])
    values = np.concatenate([v for _, v in drawn])
    every = np.unique(epochs)
    if len(every) < 10:
        return ""
    tail = values[epochs > every[len(every) // 20]]
    low, high = tail.min(), tail.max()
    if np.ptp(values) <= 4 * (high - low) or high == low:
        return ""
    margin = 0.08 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    extreme = values[np.abs(values - np.median(tail)).argmax()]
    return f"first epochs off scale, from {style.number(extreme)}"


def _panel(ax: Axes, key: str, epochs: np.ndarray, series: dict[str, np.ndarray]) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn, last, notes = [], [], []
    lines = ((key, "train", style.TRAIN), (f"val_{key}", "validation", style.VALIDATION))
    for name, label, colour in lines:
        if name not in series:
            continue
        at, values = _place(series[name], epochs)
        if not len(values):
            notes.append(f"{label}: no finite value")
            continue
        marker = "o" if len(values) <= 12 else None
        ax.plot(at, values, color=colour, marker=marker, markersize=3.2, linewidth=1.6, label=label)
        drawn.append((at, values))
        last.append(f"{label} {style.number(values[-1])}")
        if len(values) < len(series[name]) and name == key:
            notes.append(f"{label}: {len(series[name]) - len(values)} epochs not finite")
    if drawn:
        notes.append(_limit(ax, drawn))
    subtitle = "; ".join(filter(None, ["last: " + " · ".join(last) if last else "", *notes]))
    style.add_title(ax, _TITLES.get(key, key), subtitle, 520)
    ax.set(xlabel="epoch", ylabel="nats per example" if key in _TITLES else key)
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=_STEPS, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    ax.grid(True)


@style.styled
def loss_curves(
    history: Any,
    path: str | os.PathLike | None = None,
    *,
    metrics: Sequence[str] | None = None,
    title: str = "Training",
) -> Figure:
    """Draws loss, ELBO, reconstruction and KL of training and validation, in nats per example.

    Args:
        history: the `History` that `fit` returns, its `history` mapping, or the path of a file
            that `keras.callbacks.CSVLogger` wrote.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        metrics: names to draw, a panel each. Defaults to `None`: those of loss, elbo,
            reconstruction and kl that the history has.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the history has no epochs or none of the metrics.
        FileNotFoundError: if the CSV file does not exist.

    Example:

    ```python
    history = vae.fit(x_train, validation_data=x_test, epochs=20)
    kvae.plots.loss_curves(history, path="loss.png")
    ```
    """
    style.check_path(path)
    epochs, series = _read(history)
    known = [key for key in series if not key.startswith("val_")]
    if metrics is None:
        metrics = [key for key in _TITLES if key in known]
        if not metrics:
            found = ", ".join(series)
            raise ValueError(f"`history` has none of {', '.join(_TITLES)}, only: {found}.")
    else:
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        for key in metrics:
            if key not in known:
                raise names.unknown_name("metric", key, known)
        if not metrics:
            raise ValueError("`metrics` is empty: name at least one.")
    rows, cols = rectangle(len(metrics))
    figure = style.new_figure(max(4.6, 4.1 * cols), 0.45 + 2.75 * rows)
    figure.get_layout_engine().set(w_pad=0.13, h_pad=0.1, wspace=0.02, hspace=0.03)
    grid = figure.subplots(rows, cols, squeeze=False).ravel()
    for ax, key in zip(grid, metrics, strict=False):
        _panel(ax, key, epochs, series)
    for ax in grid[len(metrics) :]:
        ax.remove()
    figure.suptitle(title, x=0.13 / figure.get_figwidth(), ha="left", weight="bold", fontsize=12)
    handles, labels = grid[0].get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return style.save(figure, path)
