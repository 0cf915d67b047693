"""Reconstructions, prior samples and interpolations, as grids."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.plots import checked
from kvae.plots.grid import draw_grid, rectangle
from kvae.plots.style import check_path, styled
from kvae.utils import arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The rows of a table that stand beside each other: all have the names of the columns at the left.
_PANELS = 20

__all__ = ["interpolation", "reconstructions", "samples", "slices"]


@styled
def reconstructions(
    vae: Any,
    x: Any,
    n: int = 10,
    path: str | os.PathLike | None = None,
    *,
    gap: int | None = None,
    kind: str | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "Reconstructions",
) -> Figure:
    """Draws the first `n` examples above their reconstructions through the posterior mean.

    Args:
        vae: kvae.VAE. The model.
        x: array [m, *event] or `kvae.datasets.Dataset` (with labels for a conditional model). The
            examples; uint8 means values / 255.
        n: int. How many are drawn, at most m. Defaults to 10.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        gap: int. Pixels between images. Defaults to `None`: a fourteenth of their size.
        kind: str. "image", "volume" (its middle slice), "signal" or "table". Defaults to `None`: by
            the event's shape.
        value_range: (low, high). Black and white, or the ends of a signal's axis. Defaults to
            `None`: [0, 1] or [-1, 1] where the values fit it, else their range.
        columns: names of a table's columns. Defaults to `None`: those of the data that the model
            was trained on, where it knows them, else their numbers.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if x has another shape than the model's events, no rows, or NaN.

    Example:

    ```python
    kvae.plots.reconstructions(vae, x_test, path="reconstructions.png")
    ```
    """
    check_path(path)
    n = arguments.whole("n", n)
    label = [None if values is None else values[:n] for values in checked.given(vae, x)]
    x = checked.as_events(vae, x)[:n]
    events = np.concatenate([x, checked.finite(vae.reconstruct(x, *label), "reconstruct(x)")])
    grid = draw_grid(
        events,
        2,
        len(x),
        kind=kind,
        gap=gap,
        value_range=value_range,
        reference=x,
        columns=checked.column_names(vae, columns),
    )
    grid.label_rows(["original", "reconstruction"])
    way = "their codes" if vae.prior is None else "the mean of q(z | x)"
    return grid.finish(title, f"decoded from {way}", path)


@styled
def slices(
    vae: Any,
    x: Any,
    n: int = 3,
    path: str | os.PathLike | None = None,
    *,
    cols: int = 12,
    gap: int | None = None,
    value_range: tuple[float, float] | None = None,
    title: str = "Slices",
) -> Figure:
    """Draws slices of the first `n` volumes above those of their reconstructions.

    Args:
        vae: kvae.VAE. A model of volumes, [d, h, w, c], or of films, whose first axis is time.
        x: array [m, d, h, w, c] or `kvae.datasets.Dataset` (with labels for a conditional model).
        n: int. How many volumes are drawn, at most m. Defaults to 3.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        cols: int. Slices of each, at most d, evenly spaced from the first to the last. Defaults to
            12.
        gap: int. Pixels between slices. Defaults to `None`: a fourteenth of their size.
        value_range: (low, high). As in `reconstructions`.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the model's events are not volumes, or x does not fit it.

    Example:

    ```python
    kvae.plots.slices(vae, volumes, path="slices.png")
    ```
    """
    check_path(path)
    if checked.event_kind(tuple(vae.event_shape or ())) != "volume":
        raise ValueError(f"Slices are of volumes [d, h, w, c], and events are {vae.event_shape}.")
    n, depth = arguments.whole("n", n), vae.event_shape[0]
    label = [None if values is None else values[:n] for values in checked.given(vae, x)]
    x = checked.as_events(vae, x)[:n]
    decoded = checked.finite(vae.reconstruct(x, *label), "reconstruct(x)")
    at = np.linspace(0, depth - 1, min(arguments.whole("cols", cols), depth)).round().astype(int)
    events = np.stack([x, decoded], axis=1)[:, :, at].reshape(-1, *vae.event_shape[1:])
    grid = draw_grid(
        events, 2 * len(x), len(at), kind="image", gap=gap, value_range=value_range, reference=x
    )
    grid.label_rows(["original", "reconstruction"] * len(x))
    grid.label_cols([str(index + 1) for index in at])
    subtitle = f"{len(x)} volumes; the numbers below are those of the slices, of {depth}"
    return grid.finish(title, subtitle, path)


@styled
def samples(
    vae: Any,
    n: int = 100,
    seed: int = 0,
    output: str = "mean",
    path: str | os.PathLike | None = None,
    *,
    temperature: float = 1.0,
    label: int | None = None,
    cols: int | None = None,
    gap: int | None = None,
    kind: str | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "Prior samples",
) -> Figure:
    """Draws `n` samples of the model: z from the prior, then the mean of (or a draw from) p(x | z).

    A model of classes gets a row for each; the images of a column share the prior's noise,
    so that what differs between them is due to the class.

    Args:
        vae: kvae.VAE. The model; it needs a prior.
        n: int. How many, in a grid of classes at most. Defaults to 100, ten rows of ten.
        seed: int. The same seed draws the same picture. Defaults to 0.
        output: str. "mean" or "mode" of p(x | z), or "sample" from it. Defaults to "mean".
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        temperature: float. Scales the prior's noise. Defaults to 1.
        label: int or dict. The one class to draw, of a conditional model, or the conditions, which
            hold for all or have `n` values. Defaults to `None`: each class, or nothing known.
        cols: int. Columns. Defaults to `None`: as square as `n` allows, or 20 rows of a table
            beside each other.
        gap: int. Pixels between images, 0 for none. Defaults to `None`: a fourteenth of their
            size.
        kind: str. "image", "volume" (its middle slice), "signal" or "table". Defaults to `None`: by
            the event's shape.
        value_range: (low, high). As in `reconstructions`.
        columns: names of a table's columns. Defaults to `None`: those of the data that the model
            was trained on, where it knows them, else their numbers.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the model has no prior (it is a deterministic autoencoder), or `output` is
            unknown.

    Example:

    ```python
    kvae.plots.samples(vae, n=64, seed=1, path="samples.png")
    ```
    """
    check_path(path)
    n = arguments.whole("n", n)
    # Only a temperature that does something is passed on: models without one can be drawn too.
    extra = {} if temperature == 1.0 else {"temperature": temperature}
    settings = {"seed": seed, "output": output, **extra}
    if label is None and getattr(vae, "conditions", None) is not None:
        label = {}
    classes = getattr(vae, "num_classes", None) if label is None else None
    if classes is None:
        table = checked.event_kind(vae.event_shape, kind) == "table"
        rows, cols = rectangle(n, min(n, _PANELS) if table and cols is None else cols)
        settings.update({} if label is None else {"label": label})
        events = vae.sample(n, **settings)
    else:
        rows = classes
        cols = max(1, n // classes) if cols is None else arguments.whole("cols", cols)
        n = rows * cols
        events = np.concatenate([vae.sample(cols, label=k, **settings) for k in range(classes)])
    events = checked.finite(events, "sample(n)")
    grid = draw_grid(
        events,
        rows,
        cols,
        kind=kind,
        gap=gap,
        value_range=value_range,
        columns=checked.column_names(vae, columns),
    )
    if classes is not None:
        grid.label_rows([checked.class_name(vae, k) for k in range(classes)])
    what = {"mean": "means of", "mode": "modes of"}.get(output, "draws from")
    subtitle = f"{n} {what} p(x | z), z from the prior, seed {seed}"
    if extra:
        subtitle += f", temperature {temperature:g}"
    if classes is not None:
        subtitle += "; a row for each class, the same noise in a column"
    elif label is not None:
        subtitle += f", {_given(vae, label)}"
    return grid.finish(title, subtitle, path)


@styled
def interpolation(
    vae: Any,
    x_start: Any,
    x_end: Any,
    steps: int = 10,
    path: str | os.PathLike | None = None,
    *,
    method: str = "linear",
    label: Any = None,
    gap: int | None = None,
    kind: str | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
    title: str = "Interpolation",
) -> Figure:
    """Draws the decoded way between pairs of examples, a row for each pair.

    The first and the last column, set apart, are the originals; between them are the decoded
    codes from one posterior mean (0) to the other (1), both included.

    Args:
        vae: kvae.VAE. The model.
        x_start: array [r, *event], one event, or Dataset. Where the rows start.
        x_end: array [r, *event], one event, or Dataset. Where they end.
        steps: int. Decoded codes in a row, at least 2. Defaults to 10.
        path: str or path. A .png (or .pdf, .svg) file to write. Defaults to `None`: no file.
        method: str. "linear", or "slerp" along great arcs, which keeps to the norms at which a
            Gaussian prior of many dimensions has its mass. Defaults to "linear".
        label: int, or ints [r]. The class in which each row of a conditional model is decoded.
            Defaults to `None`: that of the `Dataset` where it starts.
        gap: int. Pixels between images. Defaults to `None`: a fourteenth of their size.
        kind: str. "image", "volume" (its middle slice), "signal" or "table". Defaults to `None`: by
            the event's shape.
        value_range: (low, high). As in `reconstructions`.
        columns: names of a table's columns. Defaults to `None`: those of the data that the model
            was trained on, where it knows them, else their numbers.
        title: str. The figure's title.

    Returns:
        matplotlib.figure.Figure.

    Raises:
        ValueError: if the two have different numbers of rows, a wrong shape, `method` is
            unknown, or labels are missing or superfluous.

    Example:

    ```python
    kvae.plots.interpolation(vae, x[:5], x[5:10], method="slerp", path="interpolation.png")
    ```

    Reference: White, "Sampling Generative Networks", 2016 (slerp).
    """
    check_path(path)
    steps = arguments.whole("steps", steps, 2)
    if method not in ("linear", "slerp"):
        raise ValueError(f"`method` is 'linear' or 'slerp', not {method!r}.")
    if vae.event_shape is None:
        raise ValueError("The model does not know its input's shape yet: call it on a batch.")
    ends = []
    for name, x in (("x_start", x_start), ("x_end", x_end)):
        x = getattr(x, "examples", x)
        single = np.ndim(x) == len(vae.event_shape)
        ends.append(checked.as_events(vae, np.asarray(x)[None] if single else x, name))
    start, end = ends
    if len(start) != len(end):
        raise ValueError(f"`x_start` has {len(start)} rows and `x_end` {len(end)}: give pairs.")
    rows, codes = len(start), []
    for x, events in zip((x_start, x_end), ends, strict=True):
        params = checked.encode(vae, events, *checked.given(vae, x, label, rows))
        codes.append(params["z_mean"].astype("float64"))
    t = np.linspace(0.0, 1.0, steps)
    from kvae.utils import interpolation as ways

    z = np.asarray(getattr(ways, method)(*codes, t)).reshape(rows * steps, -1)
    decoded_as = checked.given(vae, x_start if label is None else None, label, rows)
    decoded_as = (None if y is None else np.repeat(y, steps) for y in decoded_as)
    between = checked.decode(vae, z.astype("float32"), *decoded_as)
    between = between.reshape(rows, steps, *between.shape[1:])
    events = np.concatenate([start[:, None], between, end[:, None]], axis=1)
    grid = draw_grid(
        events.reshape(rows * (steps + 2), *events.shape[2:]),
        rows,
        steps + 2,
        kind=kind,
        gap=gap,
        value_range=value_range,
        columns=checked.column_names(vae, columns),
        reference=np.concatenate([start, end]),
        breaks=(1, steps + 1),
    )
    # Every label must fit in its column: about 60 pixels.
    every = max(1, -(-60 // grid.cell[1]))
    shown = [i for i in range(steps) if i % every == 0]
    shown = shown if shown[-1] == steps - 1 or every > 1 else [*shown, steps - 1]
    labels = ["start", *[f"{t[i]:.2g}" for i in shown], "end"]
    grid.label_cols(labels, [0, *[i + 1 for i in shown], steps + 1])
    way = "linear" if method == "linear" else "spherical (slerp)"
    subtitle = f"originals at both ends; {way} between their posterior means"
    if getattr(vae, "conditional", False):
        subtitle += f", decoded as {_given(vae, label)}"
    return grid.finish(title, subtitle, path)


def _given(vae, label) -> str:
    """Returns of which class, or under which conditions, images are, for a subtitle."""
    classes = vae.num_classes is not None
    if label is None:
        return "the start's class" if classes else "the start's conditions"
    values = list(label.values()) if isinstance(label, Mapping) else [label]
    if any(np.ndim(value) > 0 for value in values):
        return "the classes given" if classes else "the conditions given"
    return ("class " if classes else "") + checked.class_name(vae, label)
