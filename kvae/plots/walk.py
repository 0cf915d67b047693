"""The manifold: the decoded images of a regular grid of codes."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import checked
from kvae.plots.grid import draw_grid
from kvae.plots.style import check_path, styled
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["kl_per_dimension", "manifold"]

_SEAMLESS = 16  # Pixels a side, from which images stand beside each other without a gap.


def kl_per_dimension(vae: Any, params: dict[str, np.ndarray]) -> np.ndarray | None:
    """Returns the mean KL of each latent dimension [D] in nats; None for point codes."""
    if not vae.posterior.has_density:
        return None
    from kvae import divergences

    kl = divergences.marginal_kl_per_dimension(vae.posterior, vae.prior)
    return None if kl is None else np.mean(kl(params), axis=0, dtype="float64")


def _check_dims(dims: Sequence[int], latent_dim: int) -> tuple[int, ...]:
    wanted = min(2, latent_dim)
    chosen = tuple(int(d) for d in np.atleast_1d(dims))
    inside = all(-latent_dim <= d < latent_dim for d in chosen)
    chosen = tuple(d % latent_dim for d in chosen)
    if len(chosen) != wanted or len(set(chosen)) != wanted or not inside:
        raise ValueError(
            f"`dims` is {wanted} different dimension(s) of 0 to {latent_dim - 1}, not {dims!r}."
        )
    return chosen


def _hundredths(value: float) -> str:
    """Returns `value` to two decimals, without the sign of a zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def _spread(n: int, cell: int, room: int) -> list[int]:
    """Returns evenly spaced indices of n cells, each with `room` pixels for its label."""
    every = max(1, -(-room // cell))
    # With both ends where the spacing allows it, else symmetric about the middle.
    both = next((step for step in range(every, 2 * every + 1) if (n - 1) % step == 0), None)
    middle = (n - 1) // 2
    return [i for i in range(n) if (i % both if both else (i - middle) % every) == 0]


@styled
def manifold(
    vae: Any,
    n: int = 15,
    path: str | os.PathLike | None = None,
    *,
    x: Any = None,
    dims: Sequence[int] | None = None,
    label: int | None = None,
    quantiles: tuple[float, float] = (0.05, 0.95),
    gap: int | None = None,
    kind: str | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "Latent manifold",
) -> Figure:
    """Draws the decoder's means on an n x n grid of Gaussian quantiles.

    Both coordinates take the values `norm.ppf(linspace(0.05, 0.95, n))`, which hold equal prior
    mass between neighbours; x runs to the right, y upward. One latent dimension makes one row.

    Args:
        vae: kvae.VAE. The model.
        n: int. Codes along each coordinate. Defaults to 15, as in the blog post.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        x: array [m, *event] or Dataset. Examples by which `dims` are chosen (those with the most
            KL) and, for an autoencoder without a prior, by which the grid is scaled: from the
            codes' smallest value to their largest, the other dimensions at their mean.
        dims: two ints. The latent dimensions that vary; the others are 0. Defaults to `None`:
            (0, 1), or the two with the most KL when `x` is given.
        label: int. The class that is decoded, of a conditional model, which needs it.
        quantiles: two floats. First and last quantile. Defaults to (0.05, 0.95).
        gap: int. Pixels between images. Defaults to `None`: 0, which makes one seamless picture,
            but for images of less than 16 pixels a side, which could not be told apart.
        kind: str. "image", "volume" (its middle slice), "signal" or "table". Defaults to `None`: by
            the event's shape.
        value_range: (low, high). As in `reconstructions`.
        columns: names of a table's columns. As in `reconstructions`.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the model has no prior and `x` is not given, an argument is out of range,
            or the label is missing or superfluous.

    Example:

    ```python
    kvae.plots.manifold(vae, path="manifold.png")
    ```

    Reference: Chollet, "Building Autoencoders in Keras", 2016; Kingma and Welling, 2014, fig. 4.
    """
    check_path(path)
    n = arguments.whole("n", n, 2)
    low, high = map(float, quantiles)
    if not 0 < low < high < 1:
        raise ValueError(f"`quantiles` are two numbers, 0 < low < high < 1, not {quantiles!r}.")
    latent_dim = int(vae.latent_dim)
    deterministic = vae.prior is None
    if deterministic and x is None:
        raise ValueError(
            "This model has no prior whose quantiles could be decoded: give `x`, examples by "
            "which the grid is scaled to the range of their codes."
        )
    params = None
    if x is not None:
        events = checked.as_events(vae, x)
        params = checked.encode(vae, events, *checked.given(vae, x, label, len(events)))
    notes = []
    if dims is not None:
        dims = _check_dims(dims, latent_dim)
    else:
        dims = tuple(range(min(2, latent_dim)))
        if params is not None and latent_dim > 2:
            kl = kl_per_dimension(vae, params)
            # Point codes have no KL; how far they move is the next best measure of use.
            use = params["z_mean"].var(axis=0) if kl is None else kl
            dims = tuple(int(d) for d in np.argsort(-use, kind="stable")[:2])
            notes.append("the two dimensions with the most " + ("variance" if kl is None else "KL"))
    grid = np.array([statistics.NormalDist().inv_cdf(p) for p in np.linspace(low, high, n)])
    axes, rest = [grid] * len(dims), np.zeros(latent_dim)
    if deterministic:
        codes = params["z_mean"].astype("float64")
        position = (grid - grid[0]) / (grid[-1] - grid[0])
        axes = [codes[:, d].min() + position * np.ptp(codes[:, d]) for d in dims]
        rest = codes.mean(axis=0)
    rows = n if len(dims) == 2 else 1
    z = np.tile(rest, (rows, n, 1))
    z[:, :, dims[0]] = axes[0][None, :]
    if len(dims) == 2:
        z[:, :, dims[1]] = axes[1][::-1, None]
    codes = z.reshape(rows * n, latent_dim).astype("float32")
    decoded = checked.decode(vae, codes, *checked.given(vae, None, label, len(codes)))
    if gap is None and not (decoded.ndim == 4 and min(decoded.shape[1:3]) < _SEAMLESS):
        gap = 0
    picture = draw_grid(
        decoded,
        rows,
        n,
        kind=kind,
        gap=gap,
        value_range=value_range,
        columns=checked.column_names(vae, columns),
    )

    shown = _spread(n, picture.cell[1], 54)
    picture.label_cols([_hundredths(axes[0][i]) for i in shown], shown)
    picture.ax.set_xlabel(f"z[{dims[0]}]")
    if len(dims) == 2:
        shown = _spread(n, picture.cell[0], 26)
        picture.label_rows([_hundredths(axes[1][i]) for i in shown], [n - 1 - i for i in shown])
        picture.ax.set_ylabel(f"z[{dims[1]}]")
    picture.ax.tick_params(length=2.5, pad=3, labelsize=7)
    if deterministic:
        notes.insert(0, "decoded codes over the range of the examples' codes")
    else:
        notes.insert(0, f"decoded Gaussian quantiles, {100 * low:g} % to {100 * high:g} %")
    if latent_dim > len(dims):
        notes.append("the other dimensions at " + ("their mean" if deterministic else "0"))
    if label is not None:
        notes.append(f"class {checked.class_name(vae, label)}")
    return picture.finish(title, "; ".join(notes), path)
