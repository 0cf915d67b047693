"""One look for every figure, and the one way in which a figure reaches a file."""

from __future__ import annotations

import functools
import os
import pathlib
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvae.utils import io

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "PALETTE",
    "TRAIN",
    "VALIDATION",
    "add_title",
    "check_path",
    "new_figure",
    "number",
    "save",
    "styled",
]

DPI = 150

# Ten colours at least 20 CIELAB units apart for normal vision and for full protanopia,
# deuteranopia and tritanopia (as simulated by Machado et al., 2009).
PALETTE = (
    "#7992e7",
    "#e7860c",
    "#0c9255",
    "#db243d",
    "#793db6",
    "#6d3d0c",
    "#e786c2",
    "#61dbff",
    "#dbce61",
    "#182455",
)
INK = "#222222"
MUTED = "#6b6b6b"
FAINT = "#d9d9d9"
TRAIN = "#3f6fd1"
VALIDATION = PALETTE[1]

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # Names of classes and columns are no formulas.
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e9e9e9",
    "grid.linewidth": 0.7,
    "xtick.color": "#9a9a9a",
    "ytick.color": "#9a9a9a",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def styled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `function` under this package's style, whatever the user's matplotlibrc says."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        from matplotlib import style

        with style.context(["default", _STYLE]):
            return function(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Returns an empty figure of `width` by `height` inches that pyplot knows nothing of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = "constrained" if constrained else None
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    if constrained:
        figure.get_layout_engine().set(w_pad=0.13, h_pad=0.13)
    FigureCanvasAgg(figure)
    return figure


def number(value: float, digits: int = 4) -> str:
    """Returns `value` in at most `digits` significant digits, with a true minus sign."""
    return f"{float(value) + 0.0:.{digits}g}".replace("-", "−")


def add_title(ax: Axes, title: str, subtitle: str = "", width: float = 900.0) -> None:
    """Puts a bold title and a grey subtitle, wrapped to `width` pixels, above `ax`."""
    # An average letter of the 8.5-point subtitle is about 9 pixels wide at 150 dots per inch.
    lines = textwrap.wrap(subtitle, max(34, int(width / 9)))
    ax.set_title(title, loc="left", pad=7 + 12 * len(lines))
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=8.5,
            color=MUTED,
            linespacing=1.25,
            annotation_clip=False,
        )


def save(figure: Figure, path: str | os.PathLike | None) -> Figure:
    """Writes `figure` to `path` (unless it is None) atomically, and returns `figure`.

    Raises:
        ValueError: if the suffix is not .png, .pdf or .svg.
        OSError: if the file cannot be written; an older file stays as it was.
    """
    if path is None:
        return figure
    suffix = check_path(path)
    # Without the library's version and the time, the same picture is the same bytes.
    metadata: dict[str, Any] = {
        ".png": {"Software": None},
        ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
        ".svg": {"Creator": None, "Date": None},
    }[suffix]
    with io.atomic_write(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=metadata)
    return figure


def check_path(path: str | os.PathLike | None) -> str | None:
    """Returns the suffix of `path`, or raises: called before any slow work is done."""
    if path is None:
        return None
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"A picture is saved as .png, .pdf or .svg, not {str(path)!r}.")
    return suffix
