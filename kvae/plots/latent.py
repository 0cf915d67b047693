"""Pictures of the examples' places in the latent space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import checked, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["checked_labels", "draw_prior_contours", "latent_scatter"]

# With ten colours, sixty classes that no two marks share.
_MARKERS = ("o", "^", "s", "D", "v", "P")
_MOST_CLASSES = 60


def checked_labels(labels: Any, x: Any, rows: int) -> np.ndarray | None:
    """Returns the class of each of `rows` examples, int `[rows]`, or `None` without classes.

    Args:
        labels: array `[rows]` or `[rows, 1]`, or `None` for those of `x`; of a dict of conditions
            the first.
        x: array or `kvae.datasets.Dataset`.
        rows: int. The number of examples.

    Raises:
        ValueError: for another shape.
    """
    labels = getattr(x, "labels", None) if labels is None else labels
    if isinstance(labels, Mapping):  # The first of several conditions.
        labels = next(iter(labels.values()))
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (rows,):
        raise ValueError(
            f"`labels` has the shape {labels.shape}; {rows} examples take ({rows},), a class each."
        )
    return labels


def _marks(
    ax: Axes, points: np.ndarray, classes: np.ndarray, names: list[str], size: float
) -> list[Any]:
    """Scatters points [n, 2] by class [n] and returns the legend's handles."""
    from matplotlib.lines import Line2D

    colours = np.array(style.PALETTE)
    handles = []
    # One collection for each marker, drawn in a random order: else the last class hides the rest.
    order = np.random.default_rng(0).permutation(len(points))
    for group in range(-(-len(names) // len(colours))):
        marker = _MARKERS[group % len(_MARKERS)]
        chosen = order[classes[order] // len(colours) == group]
        ax.scatter(
            *points[chosen].T,
            s=size,
            c=colours[classes[chosen] % len(colours)],
            marker=marker,
            alpha=0.8,
            linewidths=0,
        )
    for k, name in enumerate(names):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=_MARKERS[k // len(colours) % len(_MARKERS)],
                color=colours[k % len(colours)],
                markersize=6,
                markeredgewidth=0,
                label=name,
            )
        )
    return handles


def _apart(places: np.ndarray, room: float) -> np.ndarray:
    """Pushes places [k, 2] that are nearer than `room` away from each other."""
    places = places.astype("float64")
    for _ in range(100):
        between = places[:, None] - places[None]
        distance = np.linalg.norm(between, axis=-1)
        # Places that coincide part along an angle of their own.
        turn = np.arange(len(places))
        fallback = np.stack([np.cos(turn), np.sin(turn)], axis=-1)[:, None]
        unit = np.where(
            distance[..., None] > 0, between / np.maximum(distance, 1e-300)[..., None], fallback
        )
        push = np.maximum(0.0, room - distance) / 2
        np.fill_diagonal(push, 0.0)
        if not push.any():
            break
        places += (push[..., None] * unit).sum(axis=1)
    return places


def _name_clusters(ax: Axes, points: np.ndarray, classes: np.ndarray, names: list[str]) -> None:
    """Writes each class's name at its median: colours need not be told apart to read the map."""
    from matplotlib import patheffects

    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    centres = [np.median(points[classes == k], axis=0) for k in range(len(names))]
    room = 0.04 * float(np.ptp(points, axis=0).max())
    for name, centre in zip(names, _apart(np.array(centres), room), strict=True):
        text = ax.annotate(name, centre, ha="center", va="center", weight="bold", fontsize=10)
        text.set_path_effects(halo)


def draw_prior_contours(ax: Axes) -> None:
    """Draws the circles that hold half and 95 % of a standard normal's mass in the plane."""
    from matplotlib.patches import Circle

    for mass in (0.5, 0.95):
        circle = Circle(
            (0, 0),
            np.sqrt(-2 * np.log(1 - mass)),
            fill=False,
            edgecolor="#8a8a8a",
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            zorder=1.5,
        )
        ax.add_patch(circle)


@style.styled
def latent_scatter(
    vae: Any,
    x: Any,
    labels: Any = None,
    path: str | os.PathLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Latent space",
) -> Figure:
    """Draws the posterior means of examples, coloured by class.

    Two latent dimensions are drawn as they are, with the circles that hold half and 95 % of a
    standard normal prior; more are projected on their first two principal components, whose
    share of the variance the axis labels state; one is drawn as a histogram.

    Args:
        vae: kvae.VAE. The model.
        x: array [n, *event] or `kvae.datasets.Dataset` (with its labels for a conditional model).
            The examples.
        labels: array [n]. A class for each example (whole numbers, booleans or strings), or a
            real number, which is drawn with a colour bar. Defaults to the Dataset's labels.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        class_names: names for the legend, in the order of the sorted classes. Defaults to `None`:
            those that the data or the model have, else the classes themselves.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if x has a wrong shape, or the labels another length than x.

    Example:

    ```python
    kvae.plots.latent_scatter(vae, x_test, y_test, path="latent.png")
    ```
    """
    style.check_path(path)
    events = checked.as_events(vae, x)
    labels = checked_labels(labels, x, len(events))
    means = checked.encode(vae, events, *checked.given(vae, x))["z_mean"]
    classes, names = np.zeros(len(means), int), [""]
    continuous = False
    if labels is not None:
        values, classes = np.unique(labels, return_inverse=True)
        names = [checked.class_name(vae, value, x) for value in values]
        if labels.dtype.kind == "f":
            if not np.isfinite(labels).all():
                raise ValueError("`labels` holds NaN or infinite values.")
            continuous = len(values) > 20 or bool((values != np.round(values)).any())
            names = [f"{value:g}" for value in values]
        if class_names is not None:
            if len(class_names) != len(values):
                raise ValueError(
                    f"`class_names` has {len(class_names)} names for {len(values)} classes."
                )
            names, continuous = [str(name) for name in class_names], False
        if len(names) > _MOST_CLASSES and not continuous:
            if labels.dtype.kind not in "iuf":
                raise ValueError(
                    f"{len(names)} classes are more than the {_MOST_CLASSES} that can be told "
                    "apart: merge some, or leave `labels` out."
                )
            continuous = True
    subtitle = f"{len(means)} posterior means" + (
        " by class" if len(names) > 1 and not continuous else ""
    )
    if means.shape[1] == 1:
        return _histogram(means[:, 0], labels, classes, names, continuous, subtitle, title, path)

    figure = style.new_figure(6.6, 5.6)
    ax = figure.add_subplot()
    size = float(np.clip(24000 / len(means), 3, 24))
    if means.shape[1] == 2:
        points, axis_labels = means, ["z[0]", "z[1]"]
    else:
        points, shares = _plane(means)
        axis_labels = [
            f"principal component {i + 1} ({s:.1%} of variance)" for i, s in enumerate(shares)
        ]
        subtitle += f"; PCA plane of {means.shape[1]} dimensions, {sum(shares):.1%} of variance"
    handles: list[Any] = []
    if continuous:
        dots = ax.scatter(*points.T, s=size, c=labels, cmap="viridis", alpha=0.85, linewidths=0)
        figure.colorbar(dots, ax=ax, label="label", shrink=0.85)
    else:
        handles = _marks(ax, points, classes, names, size)
        if 1 < len(names) <= 20:
            _name_clusters(ax, points, classes, names)
    legend = len(names) > 1 and not continuous
    # The circles would mislead under another prior, or in a plane that is not centred on it.
    if means.shape[1] == 2 and type(vae.prior).__name__ == "StandardNormal":
        draw_prior_contours(ax)
        subtitle += "; dashed: 50 and 95 % of the prior"
    if legend:
        ax.legend(
            handles=handles,
            title="class",
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            ncols=-(-len(names) // 20),
            handletextpad=0.2,
        )
    ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(True)
    style.add_title(ax, title, subtitle)
    return style.save(figure, path)


def _plane(means: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Returns means [n, D] on their first two principal components, and the variance shares."""
    from sklearn.decomposition import PCA

    if len(means) < 3:
        raise ValueError(f"A PCA plane needs at least 3 examples, not {len(means)}.")
    centred = means.astype("float64") - means.mean(axis=0, dtype="float64")
    if not centred.any():
        # A collapsed posterior: PCA would divide by a variance of zero.
        return centred[:, :2], [0.0, 0.0]
    pca = PCA(2, svd_solver="full").fit(centred)
    return pca.transform(centred), [float(s) for s in pca.explained_variance_ratio_]


def _histogram(
    means: np.ndarray,
    labels: np.ndarray | None,
    classes: np.ndarray,
    names: list[str],
    continuous: bool,
    subtitle: str,
    title: str,
    path: str | os.PathLike | None,
) -> Figure:
    """Draws one latent dimension [n], the classes stacked."""
    figure = style.new_figure(6.6, 4.2)
    ax = figure.add_subplot()
    bins = int(np.clip(np.sqrt(len(means)) * 1.5, 10, 60))
    if labels is None or continuous or len(names) == 1:
        ax.hist(means, bins=bins, color=style.TRAIN, edgecolor="white", linewidth=0.4)
    else:
        colours = [style.PALETTE[k % len(style.PALETTE)] for k in range(len(names))]
        groups = [means[classes == k] for k in range(len(names))]
        ax.hist(groups, bins=bins, stacked=True, color=colours, label=names)
        ax.legend(
            title="class",
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            ncols=-(-len(names) // 14),
        )
    ax.set(xlabel="z[0]", ylabel="examples")
    ax.grid(True, axis="y")
    style.add_title(ax, title, subtitle)
    return style.save(figure, path)
