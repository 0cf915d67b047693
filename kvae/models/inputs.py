"""Checks of what a model is given, which becomes tensors: events, latents, batches."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.datasets import kinds, weighting
from kvae.datasets.dataset import Dataset
from kvae.models.labels import checked_label, split_label
from kvae.utils import arguments, forks, keras_internals

__all__ = [
    "LEAST_ROWS",
    "NO_LABELS",
    "build_for",
    "check_values",
    "checked_events",
    "concatenated",
    "dataset_labels",
    "event_tensors",
    "in_batches",
    "is_concrete",
    "latent_tensors",
    "require_built",
    "rows_at_once",
    "with_labels",
]

LEAST_ROWS, _VALUES = 1024, 2**23
_MOST = 2**28  # The values of a layer's outputs, 1 GB, above which even fewer rows are taken.

NO_LABELS = (
    "Labels are not a target: leave them out, e.g. fit(x) or dataset.map(lambda x, label: x)."
)


def build_for(vae, shape) -> None:
    """Builds a model whose encoder has no `keras.Input`, for the first data that it sees."""
    if not vae.built and shape is not None:
        with vae.distribute_strategy.scope():
            vae.build(tuple(shape))


def require_built(vae) -> None:
    """Refuses a model without weights.

    Raises:
        ValueError: if it is not built yet.
    """
    forks.check()
    if not vae.built:
        raise ValueError(
            f"{vae.name} is not built yet: give the encoder a keras.Input whose sizes are all "
            "known, or call the model or `fit` once."
        )


def check_values(vae, x, y=None, label=None, weight=None, support: bool = True) -> None:
    """Checks the arrays of one batch.

    Args:
        vae: `kvae.VAE`, built.
        x, y, label, weight: arrays `[n, *event]` and `[n]`, or `None`.
        support: bool. Whether what is to be reconstructed has to lie in the likelihood's
            support. Defaults to `True`.

    Raises:
        ValueError: for a batch that does not fit the model, with what is wrong with it.
    """
    checked_events(vae, x, "x", support=support and y is None)
    if y is not None:
        checked_events(vae, y, "y", support=support)
    checked_label(vae, label, len(x))
    if weight is not None:
        weighting.checked(weight, len(x), batch=True)


def checked_events(vae, x, name: str, support: bool = True, values: bool = True) -> np.ndarray:
    """Returns events `[n, *event]` whose shape and values have been checked.

    Args:
        vae: `kvae.VAE`.
        x: array.
        name: str. The name of the argument, for the error.
        support: bool. Whether values have to lie in the likelihood's support. Defaults to `True`.
        values: bool. Whether values are checked at all. Defaults to `True`.

    Raises:
        ValueError: for another shape, NaN, and values outside the support.
    """
    if vae.event_shape is not None and x.shape[1:] != vae.event_shape:
        hint = _shape_hint(x.shape, vae.event_shape)
        if not hint and name == "y":
            hint = f" {NO_LABELS}"
        raise ValueError(
            f"`{name}` has shape {x.shape}, the model takes (n, "
            f"{', '.join(map(str, vae.event_shape))}).{hint}"
        )
    if not values:
        return x
    return vae.likelihood.check(x, name, support=support, missing=vae.missing is not None)


def event_tensors(vae, x, label=None, support: bool = False):
    """Returns the examples and, for a conditional model, their labels (else `None`) as tensors."""
    require_built(vae)
    x, own = split_label(vae, x)
    label = own if label is None else label
    if isinstance(x, Dataset):
        label = dataset_labels(vae, x) if label is None else label
        x = x.examples
    if kinds.gives_batches(x):
        raise ValueError(
            f"Arrays are needed here, and not the batches that a {type(x).__name__} gives."
        )
    if is_concrete(x):
        x = tf.constant(checked_events(vae, np.asarray(x), "x", support=support))
    else:
        x = tf.cast(x, tf.float32)
    return x, checked_label(vae, label, _rows(vae, x))


def latent_tensors(vae, z, label=None):
    """Returns latents as vectors and, of a conditional model, their labels (else `None`): tensors.

    z is given as it is shaped, or as the vectors of its numbers.
    """
    require_built(vae)
    z = kinds.recognize(z, "z")
    if kinds.gives_batches(z):
        raise ValueError(
            f"`z` is an array {_latents(vae)}, not the batches of a "
            f"{type(z).__name__}: decode them one after the other."
        )
    if not is_concrete(z):
        z = vae.as_vectors(tf.cast(z, tf.float32))
        return z, checked_label(vae, label, _rows(vae, z), unknown=False)
    z = np.asarray(z)
    if z.shape[1:] not in (vae.latent_shape, (vae.latent_dim,)):
        raise ValueError(f"`z` has shape {z.shape}, the model takes {_latents(vae)}.")
    z = z.reshape(len(z), vae.latent_dim)
    z = vae.likelihood.check(z, "z", support=False)
    return tf.constant(z), checked_label(vae, label, len(z), unknown=False)


def _latents(vae) -> str:
    return f"(n, {', '.join(map(str, vae.latent_shape))})"


def dataset_labels(vae, data: Dataset):
    """Returns the labels of a `Dataset` for a conditional model, and `None` for others."""
    if not vae.conditional:
        return None
    return checked_label(vae, data.labels, len(data), "Dataset.labels")


def with_labels(vae, data):
    """Returns data with labels as a model takes them; conditions are a record.

    For a model that guesses labels they are -1 where the data have none.

    Raises:
        ValueError: for conditions that do not fit the model.
    """
    if not isinstance(data, Dataset):
        return data
    if vae.takes_unknown_labels and not data.has_labels:
        data = data.labelled(np.full(len(data), -1))
    if vae.conditions is None:
        return data
    return data.labelled(dataset_labels(vae, data).numpy())


def _rows(vae, values):
    """Returns the number of rows; a tensor where one value of a condition may stand for all."""
    rows = values.shape[0]
    return tf.shape(values)[0] if rows is None and vae.conditions is not None else rows


def is_concrete(x) -> bool:
    """Checks whether `x` holds values already: an array, a list, or an eager tensor."""
    if isinstance(x, (list, np.ndarray)):
        return True
    return tf.is_tensor(x) and not tf.is_symbolic_tensor(x)


def _shape_hint(shape: tuple, event: tuple) -> str:
    """Returns how to make events of data that nearly are; empty where that is not known."""
    if (*shape[1:], 1) == event:
        return " Add the channel axis: x[..., None]."
    if shape == event:
        return " Add the batch axis: x[None]. A tf.data.Dataset of examples is dataset.batch(128)."
    if len(event) > 1 and (*shape[2:], *shape[1:2]) == event:
        return " Put the channels last: np.moveaxis(x, 1, -1)."
    if len(event) == 2 and len(shape) == 3 and shape[2] == event[1] and shape[1] < event[0]:
        steps = f"kvae.datasets.padded(x, steps={event[0]})"
        return f" A model with `missing` takes sequences that end early, as {steps}."
    if len(shape) == 2 and len(event) > 1 and shape[1] == math.prod(event):
        return f" Give the rows their shape: x.reshape((-1, {', '.join(map(str, event))}))."
    return ""


def rows_at_once(vae) -> int:
    """Returns how many rows the methods of a model compute with at once, by default.

    Calls and copies cost less with more rows. So many are taken that the largest output of a layer
    has 32 MB, and at least `LEAST_ROWS`, unless it then had more than 1 GB.
    """
    event = vae.event_shape
    shapes = [event]
    for network in (vae.encoder, vae.decoder):
        for layer in keras_internals.flat_layers(network, include_self=False):
            if isinstance(layer, keras.Model):
                continue  # Its layers follow.
            outputs = keras.tree.flatten(getattr(layer, "output", None))
            shapes += [(None,) if values is None else values.shape[1:] for values in outputs]
    # Networks for images of any size have outputs of at most the size of the image.
    shapes = [
        (*event[:-1], shape[-1]) if len(shape) == len(event) and None in shape[:-1] else shape
        for shape in shapes
    ]
    if any(None in shape for shape in shapes):  # Those of a model that is written as a class.
        return LEAST_ROWS
    largest = max(map(math.prod, shapes))
    return max(min(LEAST_ROWS, max(1, _MOST // largest)), _VALUES // largest)


def in_batches(function, tensors: tuple, batch_size: int):
    """Applies `function` to slices of `tensors` (or `None`s) and concatenates what it returns.

    Symbolic tensors are not cut.
    """
    batch_size = arguments.whole("batch_size", batch_size)
    first = tensors[0]
    if tf.is_symbolic_tensor(first) or len(first) <= batch_size:
        return function(*tensors)
    return concatenated(
        [
            function(*(None if t is None else t[start : start + batch_size] for t in tensors))
            for start in range(0, len(first), batch_size)
        ]
    )


def concatenated(results: list):
    """Concatenates structures of tensors `[n, ...]`, such as dicts of them, along their rows."""
    if len(results) == 1:
        return results[0]
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *results)
