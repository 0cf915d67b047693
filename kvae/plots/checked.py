"""The inputs of the pictures, from a model and from data, as checked NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets import kinds

__all__ = [
    "as_events",
    "class_name",
    "column_names",
    "decode",
    "encode",
    "event_kind",
    "finite",
    "given",
    "parameters",
]

KINDS = ("image", "volume", "signal", "table")


def as_events(vae: Any, x: Any, name: str = "x") -> np.ndarray:
    """Returns `x` as float32 [n, *event_shape].

    Args:
        vae: the model; its `event_shape` is what `x` is compared with.
        x: array, tensor, frame, … or `kvae.datasets.Dataset`. uint8 values are divided by 255,
            unless the model's likelihood is one of whole numbers.
        name: str. How errors call the argument.

    Raises:
        ValueError: if the shape is wrong, there are no rows, or a value is not finite.
    """
    if getattr(vae, "modalities", ()):
        raise ValueError(
            f"A model of several modalities ({', '.join(vae.modalities)}) has no events of one "
            "kind to draw: draw what sample(n) and translate(…) return of a modality."
        )
    # A Dataset knows its own scale and its binarization.
    x = kinds.as_array(getattr(x, "examples", x), name, only_numbers=False)
    if not (np.issubdtype(x.dtype, np.number) or x.dtype == bool):
        raise ValueError(
            f"`{name}` is an array of numbers [n, *event] or a kvae Dataset, not of {x.dtype}."
        )
    if vae.event_shape is None:
        raise ValueError("The model does not know its input's shape yet: call it on a batch.")
    whole_numbers = getattr(getattr(vae, "likelihood", None), "whole_numbers", False)
    scale = 255.0 if x.dtype == np.uint8 and not whole_numbers else 1.0
    events = x.astype("float32") / np.float32(scale)
    expected = tuple(vae.event_shape)
    if events.ndim != len(expected) + 1 or events.shape[1:] != expected:
        wanted = ", ".join(["n", *map(str, expected)])
        raise ValueError(f"`{name}` has the shape {events.shape}; this model takes ({wanted}).")
    if not len(events):
        raise ValueError(f"`{name}` has no rows: give at least one example.")
    if not np.isfinite(events).all():
        raise ValueError(f"`{name}` holds NaN or infinite values: remove or fill them first.")
    return events


def class_name(vae: Any, label: Any, data: Any = None) -> str:
    """Returns what a class is called: by the data, else by the model, else by its number.

    Conditions are called by their names and values.
    """
    conditions = getattr(vae, "conditions", None)
    if isinstance(label, Mapping) and conditions is not None:
        shown = conditions.shown(conditions.record(label)[0])
        return shown or "with nothing known"
    for known in (data, vae):
        names = getattr(getattr(known, "schema", None), "class_names", ())
        if str(label).isdecimal() and int(label) < len(names):
            return names[int(label)]
    return str(label)


def finite(values: Any, source: str) -> np.ndarray:
    """Returns what a model computed as float32, or raises a ValueError that names `source`."""
    if isinstance(values, Mapping):
        raise ValueError(
            f"{source} gives several modalities ({', '.join(values)}), which are no events of one "
            "kind to draw: draw one of them."
        )
    values = np.asarray(values).astype("float32")
    if not np.isfinite(values).all():
        raise ValueError(f"{source} holds NaN or infinite values: the model has diverged.")
    return values


def given(vae: Any, x: Any, label: Any = None, rows: int = 0) -> tuple:
    """Returns the further inputs of a model beside `x` or z: a conditional one takes labels.

    Args:
        vae: the model; one that is not conditional refuses a `label` when it is called.
        x: array, `Dataset` or `None`.
        label: int, int array `[rows]` or dict of conditions, where `x` has no labels of its own.
        rows: int. For how many rows a single `label` stands.
    """
    conditions = getattr(vae, "conditions", None)
    if conditions is not None:
        own = getattr(x, "labels", None)
        label, rows = (label, rows) if own is None else (own, None)
        return () if label is None else (conditions.record(label, rows or None).numpy(),)
    if getattr(vae, "num_classes", None) is None and label is None:
        return ()
    own = getattr(x, "labels", None)
    if own is not None or label is None:
        return (own,)
    return (np.full(rows, label) if np.ndim(label) == 0 else np.asarray(label),)


def column_names(vae: Any, columns: Sequence[str] | None) -> list[str]:
    """Returns names for the columns of a table's model: those given, its data's, or none at all.

    Raises:
        ValueError: if there are more or fewer names than columns.
    """
    if columns is None:
        known = getattr(getattr(vae, "schema", None), "columns", ())
        return [column.name for column in known]
    if len(vae.event_shape) != 1 or len(columns) != vae.event_shape[0]:
        raise ValueError(
            f"`columns` has {len(columns)} names, and events have the shape {vae.event_shape}."
        )
    return [str(name) for name in columns]


def encode(vae: Any, x: np.ndarray, *label: Any) -> dict[str, np.ndarray]:
    """Returns the posterior's parameters for x [n, *event] and its mean as "z_mean" [n, D]."""
    params = parameters(vae, x, *label)
    # A posterior whose parameters are not named so (a mixture, say) knows its own mean.
    if "z_mean" not in params:
        params["z_mean"] = vae.posterior.mean(params)
    return {key: finite(value, f"encode(x)[{key!r}]") for key, value in params.items()}


def decode(vae: Any, z: np.ndarray, *label: Any) -> np.ndarray:
    """Returns the likelihood's means [n, *event] at the codes z [n, D]."""
    return finite(vae.decode(z, *label), "decode(z)")


def parameters(vae: Any, x: np.ndarray, *label: Any) -> dict[str, Any]:
    """Returns the posterior's parameters for x [n, *event], as vectors [n, D]."""
    return dict(getattr(vae, "as_vectors", dict)(vae.encode(x, *label)))


def event_kind(shape: tuple[int, ...], kind: str | None = None) -> str:
    """Returns how an event of `shape` is drawn: "image", "volume", "signal" or "table".

    [h, w, c] is an image, [d, h, w, c] a volume (or a film, whose first axis is time), of which
    slices are drawn, and [d] a table. [t, c] is a signal, unless it has eight channels or
    more and is not four times as long as wide, as an image that is read row by row has.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"`kind` is one of {', '.join(KINDS)} or None, not {kind!r}.")
    rank = len(shape)
    if rank == 2 and kind in (None, "image", "signal"):
        return kind or ("image" if shape[1] >= 8 and shape[0] <= 4 * shape[1] else "signal")
    drawn = {1: ("table", "signal", "image"), 3: ("image",), 4: ("volume",)}.get(rank, ())
    if rank == 1 and kind == "image" and round(shape[0] ** 0.5) ** 2 != shape[0]:
        raise ValueError(f"Events of {shape[0]} values are not square images: leave `kind` out.")
    if not drawn or kind not in (None, *drawn):
        raise ValueError(
            f"Events of the shape {tuple(shape)} cannot be drawn as {kind or 'a picture'}: use "
            "[h, w, c] or [h, w] for images, [d, h, w, c] for volumes, [t, c] for signals, [d] for "
            "tables."
        )
    return kind or drawn[0]
