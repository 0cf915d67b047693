"""Small pictures without words, for pages and model cards: samples and reconstructions."""

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kvae.models import VAE
from kvae.plots import checked, grid, style
from kvae.utils import io

__all__ = ["reconstructions", "samples", "save"]


def samples(vae: VAE, data=None) -> Image.Image:
    """Draws two rows of samples from the prior, for a conditional model a column for each class.

    Of a model with conditions a column has those of one of the first examples of `data`; without
    data nothing is known.
    """
    cols = _columns(vae)
    label = None
    if vae.conditions is not None:
        known = {} if data is None else data[:cols].labels
        label = np.tile(vae.conditions.record(known, cols), (2, 1))
    elif vae.conditional:
        label = np.tile(np.arange(cols) % vae.num_classes, 2)
    return _draw(vae, np.asarray(vae.sample(2 * cols, seed=0, label=label)), cols)


def reconstructions(vae: VAE, data) -> Image.Image:
    """Draws the first examples of `data` as the model is given them, above its reconstructions."""
    cols = _columns(vae)
    batch = next(iter(data.batches(cols)))
    x = np.asarray(batch[0] if isinstance(batch, tuple) else batch)  # Noisy, if so trained.
    known = data[:cols].labels if vae.conditional else None
    return _draw(vae, np.concatenate([x, vae.reconstruct(x, known)]), cols)


def save(picture: Image.Image, path, **facts: str) -> None:
    """Writes a PNG file, atomically, with `facts` as its text."""
    info = PngInfo()
    for name, value in facts.items():
        info.add_text(name, value)
    with io.atomic_write(path) as temporary:
        picture.save(temporary, pnginfo=info, optimize=True)


def _columns(vae) -> int:
    return 12 if checked.event_kind(vae.event_shape) in ("image", "volume") else 4


def _ends(vae) -> np.ndarray | None:
    """Returns the ends `[2, columns]` of a table's columns; `None` where some are not known."""
    found = [
        (0, len(column.categories) - 1) if column.categories else (column.low, column.high)
        for column in (vae.schema.columns if vae.schema is not None else ())
    ]
    known = bool(found) and all(None not in pair for pair in found)
    return np.float32(found).T if known else None


def _draw(vae: VAE, events: np.ndarray, cols: int) -> Image.Image:
    kind = checked.event_kind(events.shape[1:])
    if kind == "volume":
        kind, events = "image", grid.middle(events)
    if kind == "image":
        return Image.fromarray(grid.thumbnail(events, cols))
    columns, ends = checked.column_names(vae, None), _ends(vae)
    if ends is not None:
        events = (events - ends[0]) / (ends[1] - ends[0])
    drawn = style.styled(grid.draw_grid)(events, len(events) // cols, cols, columns=columns)
    figure = drawn.finish("", "", None)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    picture.thumbnail((grid.THUMBNAIL, grid.THUMBNAIL))
    return picture.quantize(64)  # A third of the size: lines and words have few colours.
