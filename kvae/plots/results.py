"""Evaluations as pictures: training neighbours, rate and distortion."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import checked, style
from kvae.plots.grid import as_images, tile, value_bounds
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["rate_distortion", "training_neighbors"]


@style.styled
def training_neighbors(
    generated: Any,
    train: Any,
    found: Any,
    path: str | os.PathLike | None = None,
    *,
    n: int = 12,
    title: str = "Nearest training examples",
) -> Figure:
    """Draws how far samples and held-out data are from the training set, and the nearest pairs.

    Args:
        generated: array [m, *event]. The samples.
        train: array [t, *event] or `kvae.datasets.Dataset`. The training set.
        found: `kvae.evaluation.TrainingNeighbors` of the two.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        n: int. Pairs that are drawn, the nearest ones, where events are images. Defaults to 12.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the numbers of examples are not those of `found`.

    Example:

    ```python
    quality = kvae.evaluation.sample_quality(vae, test, train=train)
    kvae.plots.training_neighbors(quality.generated, train, quality.neighbors, path="copies.png")
    ```
    """
    style.check_path(path)
    n = arguments.whole("n", n)
    generated = np.asarray(generated, np.float32)
    train = np.asarray(getattr(train, "examples", train), np.float32)
    if len(generated) != len(found.generated) or len(train) <= found.index.max():
        raise ValueError(
            f"`found` is of {len(found.generated)} samples and {found.index.max() + 1} or more "
            f"training examples, not of {len(generated)} and {len(train)}."
        )
    order = np.argsort(found.generated, kind="stable")[:n]
    event = generated.shape[1:]
    image = checked.event_kind(event) in ("image", "volume")
    figure = style.new_figure(7.0, 4.8 if image else 3.0)
    axes = figure.subplots(2 if image else 1, 1, height_ratios=[3, 2] if image else None)
    ax = axes[0] if image else axes
    both = np.concatenate([found.generated, found.held_out])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 41)
    for values, label, colour in (
        (found.held_out, "held-out examples", style.VALIDATION),
        (found.generated, "samples", style.TRAIN),
    ):
        shares = np.full(len(values), 1 / len(values))
        ax.hist(values, edges, weights=shares, alpha=0.55, color=colour, label=label)
    ax.set(xlabel="distance to the nearest training example", ylabel="share")
    ax.legend()
    subtitle = (
        f"a sample is nearer than a held-out example with probability {found.copying:.3f} "
        f"(0.5 when equal, ± {found.copying_error:.3f})"
    )
    style.add_title(ax, title, subtitle, 950)
    if image:
        pairs = np.concatenate([generated[order], train[found.index[order]]])
        low, high = value_bounds(pairs, decoded=False)
        picture = tile(np.clip((as_images(pairs) - low) / (high - low), 0, 1), 2, len(order))
        below = axes[1]
        below.imshow(np.squeeze(picture), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        height = picture.shape[0]
        below.set_yticks([height / 4, 3 * height / 4], ["sample", "training"])
        below.set_xticks([])
        below.tick_params(length=0)
        below.spines[:].set_visible(False)
        below.set_xlabel("the nearest pairs, from the left")
    return style.save(figure, path)


@style.styled
def rate_distortion(
    result: Any, path: str | os.PathLike | None = None, *, title: str = "Rate and distortion"
) -> Figure:
    """Draws models by rate and distortion, over lines of equal ELBO.

    Args:
        result: the `Result` of `kvae.evaluation.rate_distortion` or `rate_distortion_curve`, whose
            curve is drawn as a line.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Example:

    ```python
    kvae.plots.rate_distortion(kvae.evaluation.rate_distortion({"mine": vae}, test))
    ```
    """
    style.check_path(path)
    figure = style.new_figure(6.0, 4.6)
    ax = figure.subplots()
    rate, distortion = (
        np.array([point[key] for point in result.values()]) for key in ("rate", "distortion")
    )
    curve = getattr(result, "curve", None)
    if curve is not None:
        ax.plot(*_within(curve, rate, distortion), color=style.TRAIN, linewidth=1.4, zorder=2)
    own = np.zeros(len(rate), bool) if curve is None else ~np.isin(rate, curve["rate"])
    ax.scatter(rate[~own], distortion[~own], color=style.TRAIN, zorder=3)
    ax.scatter(rate[own], distortion[own], color=style.VALIDATION, zorder=4)
    for (name, point), beside in zip(result.items(), own, strict=True):
        # The model's own name stands below the curve, which passes near it.
        place = {"xytext": (-5, -5), "ha": "right", "va": "top"} if beside else {"xytext": (5, 5)}
        at = point["rate"], point["distortion"]
        ax.annotate(name, at, textcoords="offset points", **place)
    span = max(np.ptp(rate), np.ptp(distortion), 1e-3 * abs(distortion).max(), 1e-6)
    ax.set(
        xlim=(max(0.0, rate.min() - 0.15 * span), rate.max() + 0.3 * span),
        ylim=(distortion.min() - 0.15 * span, distortion.max() + 0.15 * span),
        xlabel="rate, KL[q(z | x) ‖ p(z)], nats",
        ylabel="distortion, −E[log p(x | z)], nats",
    )
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for total in np.linspace(left + bottom, right + top, 9)[1:-1]:
        ax.axline((0.0, total), slope=-1.0, color=style.FAINT, linewidth=0.9, zorder=1)
    style.add_title(ax, title, "grey lines have an equal ELBO; further down left is better", 800)
    return style.save(figure, path)


def _within(curve: dict, rate: np.ndarray, distortion: np.ndarray) -> tuple:
    """Returns the part of a curve that lies among the points."""
    inside = (curve["rate"] <= rate.max()) & (curve["distortion"] <= distortion.max())
    return curve["rate"][inside], curve["distortion"][inside]
