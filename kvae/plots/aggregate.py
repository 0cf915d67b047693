"""Pictures of all latents together: the KL of each dimension, and the aggregate posterior."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import checked, style
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["aggregate_posterior", "kl_per_dimension"]


@style.styled
def kl_per_dimension(
    summary: Any,
    path: str | os.PathLike | None = None,
    *,
    title: str = "KL of each latent dimension",
) -> Figure:
    """Draws how many nats each dimension carries, the largest first.

    Args:
        summary: `kvae.evaluation.LatentSummary`.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: for a summary without KLs of dimensions: that of an autoencoder, or where the KL
            is not a sum over dimensions.

    Example:

    ```python
    kvae.plots.kl_per_dimension(kvae.evaluation.latent_summary(vae, test), path="kl.png")
    ```
    """
    style.check_path(path)
    kl, what = summary.kl_per_dimension, "KL[q(z_i | x) ‖ p(z_i)]"
    if kl is None:
        kl = summary.marginal_kl_per_dimension
    if kl is None:
        raise ValueError("This summary has no KL of each dimension.")
    order = np.argsort(-kl, kind="stable")
    figure = style.new_figure(7.0, 3.2)
    ax = figure.subplots()
    places = np.arange(len(kl))
    ax.bar(places, kl[order], color=style.TRAIN, width=0.8)
    if len(kl) <= 60:
        ax.set_xticks(places, [str(i) for i in order], fontsize=8 if len(kl) <= 30 else 5.5)
    else:
        ax.set_xticks([])
    ax.set(xlabel="latent dimension, the largest first", ylabel="nats")
    ax.grid(True, axis="y")
    active = f"{summary.active_units} of {len(kl)} units are active"
    style.add_title(ax, title, f"mean {what}, {style.number(kl.sum())} in total; {active}", 950)
    return style.save(figure, path)


@style.styled
def aggregate_posterior(
    vae: Any,
    x: Any,
    path: str | os.PathLike | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
    title: str = "Aggregate posterior",
) -> Figure:
    """Draws codes z ~ q(z|x) of many examples over as many draws from the prior.

    Where the two clouds differ, samples from the prior are unlike anything that the decoder was
    trained on. Two latent dimensions are drawn as they are; more are projected on the first two
    principal components of the codes; one is drawn as histograms.

    Args:
        vae: kvae.VAE. The model. Of an autoencoder without a prior its codes alone are drawn.
        x: array [n, *event] or `kvae.datasets.Dataset` (with its labels for a conditional model).
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        n: int. Points of each kind, at most. Defaults to 2000.
        seed: int. Of the draws. Defaults to 0.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if x has a wrong shape.

    Example:

    ```python
    kvae.plots.aggregate_posterior(vae, test, path="aggregate_posterior.png")
    ```
    """
    from kvae import random

    style.check_path(path)
    n = arguments.whole("n", n)
    label = [None if values is None else values[:n] for values in checked.given(vae, x)]
    x = checked.as_events(vae, x)[:n]
    given = vae.conditioned_on(*label) if label else vae
    first, second = random.split(seed)
    params = checked.parameters(vae, x, *label)
    codes = checked.finite(given.posterior.sample(params, seed=first), "q(z|x)")
    clouds = [("codes, z ~ q(z)", codes, style.TRAIN)]
    if vae.prior is not None:
        drawn = checked.finite(given.prior.sample(len(codes), second), "the prior")
        clouds.insert(0, ("prior, z ~ p(z)", drawn, style.VALIDATION))
    figure = style.new_figure(6.6, 5.2)
    ax = figure.subplots()
    dims, subtitle = codes.shape[1], f"{len(codes)} draws of each"
    if dims == 1:
        values = np.concatenate([cloud for _, cloud, _ in clouds])
        edges = np.linspace(values.min(), values.max() + 1e-6, 51)
        for name, cloud, colour in clouds:
            ax.hist(cloud[:, 0], edges, density=True, alpha=0.55, color=colour, label=name)
        ax.set(xlabel="z[0]", ylabel="density")
    else:
        centre, axes, names = np.zeros(dims), np.eye(dims), ["z[0]", "z[1]"]
        if dims > 2:
            centre = codes.mean(axis=0)
            _, sizes, axes = np.linalg.svd(codes - centre, full_matrices=False)
            shares = sizes**2 / max(np.sum(sizes**2), 1e-30)
            names = [f"principal component {i + 1} ({s:.1%})" for i, s in enumerate(shares[:2])]
            subtitle += f", on the plane of the codes' largest variance of {dims} dimensions"
        for name, cloud, colour in clouds:
            points = (cloud - centre) @ axes[:2].T
            size = float(np.clip(10_000 / len(codes), 5, 24))
            ax.scatter(*points.T, s=size, alpha=0.4, color=colour, linewidths=0, label=name)
        ax.set(xlabel=names[0], ylabel=names[1])
        ax.set_aspect("equal", adjustable="datalim")
        ax.grid(True)
    legend = ax.legend(markerscale=1.5)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    style.add_title(ax, title, subtitle, 900)
    return style.save(figure, path)
