"""Signals as lines and rows of a table as bars, each in a frame of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kvae.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_BARS", "draw_bars", "draw_lines", "height_of_bars", "name_columns"]

# Tables of more columns are drawn as lines: the names of so many would fill a screen.
MOST_BARS = 40
# The pixels that a bar takes with its name beside it, and without.
_NAMED, _BARE = 15, 4
# The pixels of a picture up to which bars have their names.
_TALLEST = 2600
_LONGEST = 30  # Letters of a name.
_INSET = 5.0


def height_of_bars(columns: int, rows: int) -> int:
    """Returns the pixels that a panel is high: enough for names, where the picture has room."""
    return round(columns * (_NAMED if rows * columns * _NAMED <= _TALLEST else _BARE) + 2 * _INSET)


def draw_lines(
    ax: Axes,
    events: np.ndarray,
    lefts: np.ndarray,
    tops: np.ndarray,
    cell: tuple[int, int],
    limits: tuple[float, float],
) -> None:
    """Draws events [n, t] or [n, t, c] as lines in frames [n] that share one y axis.

    Args:
        ax: whose data units are pixels, y pointing down.
        events: array.
        lefts, tops: arrays [n]. The corners of the frames.
        cell: (height, width) of the frames.
        limits: (low, high) of the values.
    """
    from matplotlib.collections import LineCollection

    (height, width), (low, high) = cell, limits
    values = events[..., None] if events.ndim == 2 else events
    steps, channels = values.shape[1:]

    def y_of(values):
        share = (high - np.clip(values, low, high)) / max(high - low, 1e-12)
        return _INSET + (height - 2 * _INSET) * share

    _draw_frames(ax, lefts, tops, cell)
    if low < 0 < high:
        zero = tops + y_of(0.0)
        across = [[(a, b), (a + width, b)] for a, b in zip(lefts, zero, strict=True)]
        ax.add_collection(LineCollection(across, colors=style.FAINT, linewidths=0.8))
    x = lefts[:, None] + _INSET + (width - 2 * _INSET) * np.linspace(0, 1, steps)
    y = tops[:, None, None] + y_of(values)
    for channel in range(channels):
        colour = style.TRAIN if channels == 1 else style.PALETTE[channel % len(style.PALETTE)]
        lines = np.stack([x, y[..., channel]], axis=-1)
        marker = {"capstyle": "round"} if steps > 1 else {}
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=1.0, **marker))


def draw_bars(
    ax: Axes,
    events: np.ndarray,
    lefts: np.ndarray,
    tops: np.ndarray,
    cell: tuple[int, int],
    limits: tuple[float, float],
) -> None:
    """Draws events [n, d] as d horizontal bars, the first at the top; as `draw_lines` otherwise."""
    from matplotlib.collections import LineCollection, PolyCollection

    (height, width), (low, high) = cell, limits

    def x_of(values):
        share = (np.clip(values, low, high) - low) / max(high - low, 1e-12)
        return _INSET + (width - 2 * _INSET) * share

    _draw_frames(ax, lefts, tops, cell)
    zero = lefts + x_of(0.0)
    down = [[(a, b), (a, b + height)] for a, b in zip(zero, tops, strict=True)]
    ax.add_collection(LineCollection(down, colors=style.FAINT, linewidths=0.8))
    ends = lefts[:, None] + x_of(events)
    thick = 0.38 * (height - 2 * _INSET) / events.shape[1]
    middles = tops[:, None] + _middles(events.shape[1], height)
    corners = [
        [(base, y - thick), (end, y - thick), (end, y + thick), (base, y + thick)]
        for base, row, ys in zip(zero, ends, middles, strict=True)
        for end, y in zip(row, ys, strict=True)
    ]
    ax.add_collection(PolyCollection(corners, facecolors=style.TRAIN, linewidths=0))


def name_columns(
    ax: Axes, names: Sequence[str], columns: int, tops: np.ndarray, cell: tuple[int, int]
) -> float:
    """Writes the names beside the bars of each row of panels, where they have room.

    Args:
        ax: as `draw_bars` has drawn it.
        names: sequence of str, or empty for the numbers of the columns.
        columns: int. How many bars a panel has.
        tops: array [rows]. The upper ends of the panels.
        cell: (height, width) of a panel.

    Returns:
        The pixels that the names take.
    """
    if (cell[0] - 2 * _INSET) / columns < _NAMED - 1:
        return 0.0
    names = [str(name) for name in names] or [f"x[{i}]" for i in range(columns)]
    shown = [n if len(n) <= _LONGEST else f"{n[: _LONGEST - 1]}…" for n in names]
    for top in tops:
        for name, y in zip(shown, top + _middles(columns, cell[0]), strict=True):
            ax.text(-6, y, name, ha="right", va="center", fontsize=6.5)
    renderer = ax.figure.canvas.get_renderer()
    return 6 + max(text.get_window_extent(renderer).width for text in ax.texts)


def _middles(columns: int, height: int) -> np.ndarray:
    return _INSET + (height - 2 * _INSET) * (np.arange(columns) + 0.5) / columns


def _draw_frames(ax: Axes, lefts: np.ndarray, tops: np.ndarray, cell: tuple[int, int]) -> None:
    from matplotlib.collections import PolyCollection

    height, width = cell
    frames = [
        [(a, b), (a + width, b), (a + width, b + height), (a, b + height)]
        for a, b in zip(lefts, tops, strict=True)
    ]
    ax.add_collection(
        PolyCollection(frames, facecolors="white", edgecolors=style.FAINT, linewidths=0.8)
    )
