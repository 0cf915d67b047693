"""Grids of events: tiled images without seams, small line plots, small bar plots."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kvae.plots import panels, style
from kvae.plots.checked import event_kind
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Grid",
    "as_images",
    "draw_grid",
    "middle",
    "rectangle",
    "thumbnail",
    "tile",
    "value_bounds",
]

# The pixels of a picture up to which its images are enlarged.
_WIDTH, _HEIGHT, _CELL = 1200, 960, 160
# The width of a picture without words, in pixels.
THUMBNAIL = 720


def tile(
    images: np.ndarray,
    rows: int,
    cols: int,
    gap: int = 1,
    fill: float | None = None,
) -> np.ndarray:
    """Returns images laid out row by row in one array.

    Args:
        images: array [n, h, w] or [n, h, w, c], n at most rows * cols.
        rows: int. Number of rows.
        cols: int. Number of columns.
        gap: int. Pixels between neighbours; there are none around the outside. Defaults to 1.
        fill: float. Value of the gaps and of unused cells. Defaults to `None`, which is white: 1
            for floats, the largest value for integers.

    Returns:
        Array [rows * h + (rows - 1) * gap, cols * w + (cols - 1) * gap] or [..., c] of the
        images' type.

    Raises:
        ValueError: if the images do not fit or have another rank.

    Example:

    ```python
    picture = kvae.plots.tile(np.zeros((6, 28, 28)), rows=2, cols=3)  # (57, 86)
    ```
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise ValueError(f"`images` is [n, h, w] or [n, h, w, c], not {images.shape}.")
    rows, cols, gap = (
        arguments.whole("rows", rows),
        arguments.whole("cols", cols),
        arguments.whole("gap", gap, 0),
    )
    n, height, width = images.shape[:3]
    if n > rows * cols:
        raise ValueError(f"{n} images do not fit in {rows} x {cols} cells.")
    if fill is None:
        integers = np.issubdtype(images.dtype, np.integer)
        fill = np.iinfo(images.dtype).max if integers else 1
    cells = np.full((rows * cols, height + gap, width + gap, *images.shape[3:]), fill, images.dtype)
    cells[:n, :height, :width] = images
    cells = cells.reshape(rows, cols, *cells.shape[1:]).swapaxes(1, 2)
    whole = cells.reshape(rows * (height + gap), cols * (width + gap), *images.shape[3:])
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]


def rectangle(n: int, cols: int | None = None) -> tuple[int, int]:
    """Returns (rows, cols) that hold n cells: exact and nearly square where there is such a one."""
    if cols is not None:
        cols = min(arguments.whole("cols", cols), n)
        return -(-n // cols), cols
    side = math.isqrt(n)
    rows = next(r for r in range(side, 0, -1) if n % r == 0)
    if n <= 5 or n // rows <= 2.5 * rows:
        return rows, n // rows
    cols = math.ceil(math.sqrt(n))
    return -(-n // cols), cols


def value_bounds(values: np.ndarray, decoded: bool) -> tuple[float, float]:
    """Returns the (black, white) values of images: [0, 1] or [-1, 1] where they are meant so.

    A Gaussian's mean may leave its data's range here and there, which must not wash out the
    picture: of decoded values, the most extreme hundredth is left out.
    """
    low, high = np.quantile(values, (0.005, 0.995)) if decoded else (values.min(), values.max())
    low, high = float(low), float(high)
    if low >= -0.25 and high <= 1.25:
        return 0.0, 1.0
    if low >= -1.25 and high <= 1.25:
        return -1.0, 1.0
    return low, high


def gap_of(side: int) -> int:
    """Returns the pixels between images of which the longer side has `side` pixels."""
    return max(2, round(side / 14))


def middle(volumes: np.ndarray) -> np.ndarray:
    """Returns the middle slice of volumes [n, d, h, w, c], images [n, h, w, c]."""
    return volumes[:, volumes.shape[1] // 2]


def as_images(events: np.ndarray) -> np.ndarray:
    """Returns events [n, h, w, c], [n, h, w] or [n, side²] as [n, h, w] or [n, h, w, 3 or 4].

    Events [n, c, h, w], which models in the data format "channels_first" have, are turned round. Of
    volumes [n, d, h, w, c] these are the middle slices.
    """
    if events.ndim == 5:
        events = middle(events)
    if events.ndim == 2:
        side = math.isqrt(events.shape[1])
        return events.reshape(-1, side, side)
    channels = (1, 3, 4)
    if events.ndim == 4 and events.shape[1] in channels and events.shape[3] not in channels:
        events = np.moveaxis(events, 1, -1)
    if events.ndim == 4 and events.shape[-1] not in (3, 4):
        # Neither grey nor colour (flow fields, spectral bands): their mean is at least a picture.
        return events.mean(axis=-1)
    return events


def thumbnail(events: np.ndarray, cols: int, *, width: int = THUMBNAIL) -> np.ndarray:
    """Returns a bare picture of images, without axes and words, as 8-bit grey levels or colours.

    Args:
        events: array [n, *event] of images.
        cols: int. Images in a row.
        width: int. Pixels that the picture may be wide; images are enlarged by a whole number, and
            never made smaller. Defaults to 720.

    Returns:
        uint8 array [height, width] or [height, width, 3 or 4].

    Raises:
        ValueError: if the events are not images.
    """
    event_kind(events.shape[1:], "image")
    low, high = value_bounds(events, decoded=True)
    unit = np.clip((as_images(events) - low) / max(high - low, 1e-12), 0, 1)
    unit = unit[..., 0] if unit.shape[3:] == (1,) else unit
    sides = unit.shape[1:3]
    scale = max(1, width // (cols * sides[1]))
    while scale > 1 and scale * cols * sides[1] + (cols - 1) * gap_of(scale * max(sides)) > width:
        scale -= 1
    large = np.round(unit * 255).astype(np.uint8).repeat(scale, axis=1).repeat(scale, axis=2)
    return tile(large, -(-len(large) // cols), cols, gap_of(scale * max(sides)))


@dataclasses.dataclass
class Grid:
    """A drawn grid. One data unit of `ax` is one pixel of the file; y points down."""

    figure: Figure
    ax: Axes
    lefts: np.ndarray
    tops: np.ndarray
    cell: tuple[int, int]
    note: str = ""
    margin: float = 0.0  # The pixels at the left that the names of a table's columns take.

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.tops[-1]) + self.cell[0], int(self.lefts[-1]) + self.cell[1]

    def label_rows(self, labels: Sequence[str], at: Sequence[int] | None = None) -> None:
        """Writes labels beside the rows `at` (all rows by default)."""
        centres = self.tops + self.cell[0] / 2
        self.ax.set_yticks(centres if at is None else centres[list(at)], labels)
        self.ax.tick_params(axis="y", pad=5 + self.margin * 72 / self.figure.dpi)

    def label_cols(self, labels: Sequence[str], at: Sequence[int] | None = None) -> None:
        """Writes labels under the columns `at` (all columns by default)."""
        centres = self.lefts + self.cell[1] / 2
        self.ax.set_xticks(centres if at is None else centres[list(at)], labels)

    def finish(self, title: str, subtitle: str, path: str | os.PathLike | None) -> Figure:
        """Adds the title, fits the figure around the grid, saves it, and returns it."""
        height, width = self.size
        subtitle = "; ".join(filter(None, (subtitle, self.note)))
        style.add_title(self.ax, title, subtitle, max(width, 420))
        _fit(self.figure, self.ax, width, height)
        return style.save(self.figure, path)


def _fit(figure: Figure, ax: Axes, width: int, height: int, pad: int = 20) -> None:
    """Gives `ax` exactly width x height pixels, and the figure what the labels need beside it.

    Whole pixels keep the nearest-neighbour picture free of seams: none is drawn twice or lost.
    """
    dpi = figure.dpi
    figure.set_size_inches(width / dpi, height / dpi)
    ax.set_position((0, 0, 1, 1))
    outer = ax.get_tightbbox(figure.canvas.get_renderer())
    left, bottom = math.ceil(-outer.x0) + pad, math.ceil(-outer.y0) + pad
    right, top = math.ceil(outer.x1) - width + pad, math.ceil(outer.y1) - height + pad
    full_width, full_height = width + left + right, height + bottom + top
    figure.set_size_inches(full_width / dpi, full_height / dpi)
    ax.set_position(
        (left / full_width, bottom / full_height, width / full_width, height / full_height)
    )


def draw_grid(
    events: np.ndarray,
    rows: int,
    cols: int,
    *,
    kind: str | None = None,
    gap: int | None = None,
    value_range: tuple[float, float] | None = None,
    reference: np.ndarray | None = None,
    breaks: Sequence[int] = (),
    columns: Sequence[str] = (),
) -> Grid:
    """Draws events [n, *event] row by row.

    Args:
        events: array [n, *event], n at most rows * cols.
        rows: int. Number of rows.
        cols: int. Number of columns.
        kind: str. "image", "volume", "signal" or "table". Defaults to `None`: by the event's shape.
        gap: int. Pixels between images. Defaults to `None`: in proportion to the images.
        value_range: (low, high) drawn as black and white, or the ends of a signal's axis.
        reference: array of events. Sets the range (the originals, say); defaults to `events`.
        breaks: columns before which a wider gap is left.
        columns: names of a table's columns. Defaults to `()`: their numbers.
    """
    gap = None if gap is None else arguments.whole("gap", gap, 0)
    kind = event_kind(events.shape[1:], kind)
    if value_range is not None:
        low, high = map(float, value_range)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"`value_range` is (low, high) with low < high, not {value_range!r}.")
    pictures = kind in ("image", "volume")
    bars = kind == "table" and events.shape[1] <= panels.MOST_BARS
    if pictures:
        images = as_images(events)
        height, width = images.shape[1:3]
        scale = min(_CELL // max(height, width), _WIDTH // (cols * width))
        scale = max(1, min(scale, _HEIGHT // (rows * height)))
        cell = (height * scale, width * scale)
        gap = gap_of(max(cell)) if gap is None else gap
    else:
        cell_width = int(np.clip(_WIDTH // cols, 56, 200))
        tall = panels.height_of_bars(events.shape[1], rows) if bars else int(0.66 * cell_width)
        cell, gap = (max(40, tall), cell_width), max(gap or 0, 6)
    extra = np.array([sum(b <= col for b in breaks) for col in range(cols)]) * max(12, 3 * gap)
    lefts = np.arange(cols) * (cell[1] + gap) + extra
    tops = np.arange(rows) * (cell[0] + gap)
    figure = style.new_figure(4, 4, constrained=False)
    grid = Grid(figure, figure.add_axes((0, 0, 1, 1)), lefts, tops, cell)
    ax = grid.ax
    if kind == "volume":
        grid.note = (
            f"of each volume the middle slice, {events.shape[1] // 2 + 1} of {events.shape[1]}"
        )
    if pictures:
        shown = images if reference is None else as_images(reference)
        low, high = value_range or value_bounds(shown, decoded=reference is None)
        unit = np.clip((images - low) / max(high - low, 1e-12), 0, 1)
        unit = unit.repeat(scale, axis=1).repeat(scale, axis=2)
        _draw_images(grid, unit[..., 0] if unit.shape[3:] == (1,) else unit, rows, gap, breaks)
    else:
        shown = events if reference is None else np.concatenate([reference, events])
        low, high = value_range or (float(shown.min()), float(shown.max()))
        if bars and value_range is None:
            low, high = min(low, 0.0), max(high, 0.0)
        at = np.arange(len(events))
        corners = lefts[at % cols], tops[at // cols]
        draw = panels.draw_bars if bars else panels.draw_lines
        draw(ax, events, *corners, cell, (low, high))
        steps = "columns" if kind == "table" else "steps"
        channels = f" of {events.shape[2]} channels" if events.shape[2:] > (1,) else ""
        ends = f"{style.number(low, 3)} to {style.number(high, 3)}"
        grid.note = f"each panel: {events.shape[1]} {steps}{channels}, values {ends}"
    ax.set(xlim=(0, grid.size[1]), ylim=(grid.size[0], 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, pad=5)
    if bars:
        grid.margin = panels.name_columns(ax, columns, events.shape[1], tops, cell)
    return grid


def _draw_images(grid: Grid, unit: np.ndarray, rows: int, gap: int, breaks: Sequence[int]) -> None:
    """Draws one tiled image for each block of columns; without breaks, one in all."""
    cols = len(grid.lefts)
    padded = np.ones((rows * cols, *unit.shape[1:]), unit.dtype)
    padded[: len(unit)] = unit
    table = padded.reshape(rows, cols, *unit.shape[1:])
    edges = [0, *breaks, cols]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        block = table[:, first:last].reshape(-1, *unit.shape[1:])
        picture = tile(block, rows, last - first, gap)
        left = grid.lefts[first]
        grid.ax.imshow(
            picture,
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            aspect="auto",
            extent=(left, left + picture.shape[1], picture.shape[0], 0),
        )
