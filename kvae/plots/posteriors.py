"""Every example's posterior, drawn to scale beside what the plane decodes to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.plots import checked, style
from kvae.plots.grid import as_images, tile, value_bounds
from kvae.plots.latent import checked_labels, draw_prior_contours
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["add_ellipses", "ellipses", "moments", "posterior_map"]

_DRAWS = 256


def moments(vae: Any, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means [n, D] and covariances [n, D, D] of the posteriors with these parameters.

    In closed form where it is known; for other posteriors those of 256 draws.
    """
    if vae.posterior.covariance is not None:
        means = np.asarray(vae.posterior.mean(params), np.float64)
        return means, np.asarray(vae.posterior.covariance(params), np.float64)
    z = np.asarray(vae.posterior.sample(params, _DRAWS, seed=0), np.float64)
    means = z.mean(axis=0)
    centred = z - means
    return means, np.einsum("sni,snj->nij", centred, centred) / (_DRAWS - 1)


def ellipses(covariances: np.ndarray, sigmas: float = 1.0) -> tuple[np.ndarray, ...]:
    """Returns full widths, full heights [n] and angles in degrees [n] of `sigmas`-σ ellipses.

    Args:
        covariances: array [n, 2, 2].
        sigmas: float. Semi-axes in standard deviations. Defaults to 1.
    """
    values, vectors = np.linalg.eigh(covariances)
    axes = 2.0 * sigmas * np.sqrt(np.maximum(values, 0.0))
    angles = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    return axes[:, 1], axes[:, 0], angles


def add_ellipses(
    ax: Axes, means: ArrayLike, covariances: ArrayLike, sigmas: float = 1.0, **look: Any
) -> None:
    """Draws Gaussians in the plane as ellipses, all of them as one collection, in data units.

    Args:
        ax: matplotlib axes.
        means: array [n, 2].
        covariances: array [n, 2, 2].
        sigmas: float. Semi-axes in standard deviations. Defaults to 1.
        **look: arguments of `matplotlib.collections.EllipseCollection`, such as `facecolors`,
            `edgecolors` and `linewidths`.
    """
    from matplotlib.collections import EllipseCollection

    offsets = {"offsets": means, "offset_transform": ax.transData}
    ax.add_collection(
        EllipseCollection(*ellipses(covariances, sigmas), units="xy", **offsets, **look)
    )


@style.styled
def posterior_map(
    vae: Any,
    x: Any,
    labels: Any = None,
    path: str | os.PathLike | None = None,
    *,
    label: int | None = None,
    n: int | None = None,
    sigmas: float = 1.0,
    title: str = "Posteriors",
) -> Figure:
    """Draws each example's posterior as an ellipse, and beside it the decoded plane.

    Both panels show the same part of a plane of two latents. An ellipse's semi-axes are the
    standard deviations of q(z|x), in the units of the axes; for posteriors that are not Gaussian,
    those of their draws.

    Args:
        vae: kvae.VAE. The model, with two latent dimensions and a posterior that has a density.
        x: array [m, *event] or `kvae.datasets.Dataset`. The examples.
        labels: array [m]. A class for each example, at most ten. Defaults to the Dataset's labels.
            A conditional model also encodes each example with its class.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        label: int. The class that the plane is decoded as, for a conditional model alone.
        n: int. Decoded images along each side. Defaults to `None`: 24, and 16 for images of fewer
            than 16 pixels, which are hard to tell apart when they are small.
        sigmas: float. Semi-axes in standard deviations. Defaults to 1.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the model has another number of latents or a point posterior, its events are
            no images, x has a wrong shape, or a conditional model gets no labels or no label.

    Example:

    ```python
    kvae.plots.posterior_map(vae, kvae.datasets.load("digits", "test"), path="posteriors.png")
    ```
    """
    style.check_path(path)
    n = None if n is None else arguments.whole("n", n, 2)
    if vae.latent_dim != 2:
        raise ValueError(
            f"A map of posteriors takes two latent dimensions, and {vae.name} has "
            f"{vae.latent_dim}. Draw `latent_scatter`, which projects on a plane (kvae plot "
            "MODEL latent)."
        )
    if not vae.posterior.has_density:
        raise ValueError(
            f"The codes of {vae.name} are points without a spread: draw `latent_scatter`."
        )
    if checked.event_kind(tuple(vae.event_shape)) != "image":
        raise ValueError("The decoded plane shows images, and the events of this model are none.")
    events = checked.as_events(vae, x)
    labels = checked_labels(labels, x, len(events))
    if vae.conditional and label is None:
        raise ValueError(
            f"{vae.name} is conditional, and its plane shows one class: say which by `label`."
        )
    own = (labels,) if vae.conditional else ()
    if vae.conditions is not None:
        own = checked.given(vae, x)
    means, covariances = moments(vae, checked.encode(vae, events, *own))
    classes, names = np.zeros(len(means), int), [""]
    if labels is not None:
        values, classes = np.unique(labels, return_inverse=True)
        names = [checked.class_name(vae, value, x) for value in values]
        if len(names) > len(style.PALETTE):
            raise ValueError(f"{len(names)} classes are more than the ten colours: merge some.")
    figure = style.new_figure(12.4, 6.2)
    left, right = figure.subplots(1, 2)
    _draw_ellipses(left, means, covariances, sigmas, classes)
    limits = _limits(means, covariances)
    shown = f"{len(means)} posteriors, ellipses of {sigmas:g} σ"
    if type(vae.prior).__name__ == "StandardNormal":
        draw_prior_contours(left)
        shown += "; dashed: 50 and 95 % of the prior"
    n = _draw_plane(right, vae, limits, n, label)
    for ax in (left, right):
        ax.set(xlim=limits[0], ylim=limits[1], xlabel="z[0]", ylabel="z[1]")
        ax.set_aspect("equal")
    if len(names) > 1:
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], linestyle="", marker="o", color=style.PALETTE[k], label=name)
            for k, name in enumerate(names)
        ]
        figure.legend(handles=handles, title="class", loc="outside right upper", frameon=False)
    style.add_title(left, title, shown, 900)
    given = "" if label is None else f" as {checked.class_name(vae, label, x)}"
    style.add_title(right, f"The same plane, decoded{given}", f"E[x|z] at {n} × {n} codes", 900)
    return style.save(figure, path)


def _draw_ellipses(ax: Axes, means, covariances, sigmas, classes) -> None:
    from matplotlib.colors import to_rgba_array

    # In a random order: else the last class hides the rest.
    order = np.random.default_rng(0).permutation(len(means))
    means, covariances = means[order], covariances[order]
    colours = to_rgba_array(np.array(style.PALETTE)[classes[order]])[:, :3]

    def faint(alpha):
        return np.column_stack([colours, np.full(len(colours), alpha)])

    # Few ellipses are outlines, many are a mist; the means on top, so that narrow ones are seen.
    many = float(np.clip(np.log10(len(means) / 100) / 2, 0, 1))
    add_ellipses(
        ax,
        means,
        covariances,
        sigmas,
        facecolors=faint(0.11 - 0.04 * many),
        edgecolors=faint(0.75 - 0.6 * many),
        linewidths=0.9 - 0.6 * many,
    )
    ax.scatter(*means.T, s=12 - 10 * many, c=colours, linewidths=0, alpha=0.9 - 0.4 * many)
    ax.grid(True, linewidth=0.4)


def _limits(means, covariances) -> list[tuple[float, float]]:
    """Returns the limits of a square that holds nearly all of the posteriors."""
    spread = np.sqrt(np.einsum("nii->ni", covariances))
    low = np.quantile(means - spread, 0.003, axis=0)
    high = np.quantile(means + spread, 0.997, axis=0)
    centre, half = (low + high) / 2, 0.53 * max(high - low)
    return [(c - half, c + half) for c in centre]


def _draw_plane(ax: Axes, vae, limits, n: int | None, label: int | None) -> int:
    """Draws the decoded plane; returns the number of images along a side."""
    height, width = as_images(np.zeros((1, *vae.event_shape), "float32")).shape[1:3]
    small = min(height, width) < 16
    n = n or (16 if small else 24)
    (left, right), (bottom, top) = limits
    # At the middle of each cell, so that image and axes agree.
    across = left + (np.arange(n) + 0.5) * (right - left) / n
    up = top - (np.arange(n) + 0.5) * (top - bottom) / n
    z = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    images = as_images(
        checked.decode(vae, z.astype("float32"), *checked.given(vae, z, label, len(z)))
    )
    low, high = value_bounds(images, decoded=True)
    unit = np.clip((images - low) / max(high - low, 1e-12), 0, 1)
    whole = tile(unit, n, n, gap=0)
    whole = whole[..., 0] if whole.shape[2:] == (1,) else whole
    ax.imshow(
        whole,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(left, right, bottom, top),
        interpolation="nearest",
    )
    if small:  # Their strokes reach the border: a line between them.
        for edge in np.linspace(left, right, n + 1)[1:-1]:
            ax.axvline(edge, color=style.MUTED, linewidth=0.7)
        for edge in np.linspace(bottom, top, n + 1)[1:-1]:
            ax.axhline(edge, color=style.MUTED, linewidth=0.7)
    return n
