"""The inputs of the signatures of a model with conditions: one for each, by its name.

A class is int64, −1 where it is unknown; the labels of a `MultiLabel` are int64 as well, −1 for one
that is unknown; numbers are float32, and what is below −1e38 is unknown. NaN, which is unknown to
the model, is no number of JSON.
"""

from collections.abc import Mapping

import numpy as np

from export.signatures import Input, TensorInfo, specified_input
from kvae.utils.names import unknown_name

__all__ = ["LEAST", "UNKNOWN", "inputs_of", "record_of", "sent_values", "values_of"]

UNKNOWN = float(np.finfo(np.float32).min)
LEAST = -1e38  # Numbers below it are unknown.


def inputs_of(model) -> dict[str, Input]:
    """Returns the inputs that a model's conditions are, by name; none of other models.

    Raises:
        ValueError: for a condition with the name of another input.
    """
    found = {}
    for name, kind in (model.conditions.kinds if model.conditions is not None else {}).items():
        if specified_input(name) is not None:
            raise ValueError(
                f"The condition {name!r} of {model.name!r} has the name of an input of signatures, "
                "so the model cannot be exported: give the condition another name."
            )
        shape = () if kind.columns == 1 else (str(kind.columns),)
        dtype, default = ("int64", -1) if kind.whole else ("float32", UNKNOWN)
        found[name] = Input("condition", kind.wanted, dtype, shape, default)
    return found


def record_of(model, values: dict, like):
    """Returns the record of a request's conditions, a tensor `[batch, columns]`.

    Args:
        model: `kvae.VAE` with conditions.
        values: dict of tensors, of one row or of all.
        like: tensor of as many rows as there are.
    """
    import tensorflow as tf

    columns = []
    for name, kind in model.conditions.kinds.items():
        value = tf.cast(values[name], tf.float32)
        unknown = tf.equal(value, -1.0) if kind.whole else value < LEAST
        value = tf.where(unknown, kind.unknown, value)
        value = value[:, None] if kind.columns == 1 else value
        columns.append(tf.broadcast_to(value, (tf.shape(like)[0], kind.columns)))
    return tf.concat(columns, axis=-1)


def values_of(model, record) -> dict[str, np.ndarray]:
    """Returns the inputs that a record `[n, columns]` is, by name."""
    found = {}
    for name, value in model.conditions.split(np.asarray(record)).items():
        whole = model.conditions.kinds[name].whole
        value = np.where(np.isnan(value), -1 if whole else UNKNOWN, value)
        found[name] = value.astype(np.int64 if whole else np.float32)
    return found


def sent_values(label, known: dict[str, TensorInfo], rows: int) -> dict[str, np.ndarray]:
    """Returns the inputs that conditions by name are; what is left out, or NaN, is unknown."""
    if not isinstance(label, Mapping):
        raise ValueError(
            f"`label` is a dict from the names of conditions to values: {', '.join(known)}."
        )
    for name in label:
        if name not in known:
            raise unknown_name("condition", name, known)
    found = {}
    for name, tensor in known.items():
        unknown = -1 if np.dtype(tensor.dtype).kind == "i" else UNKNOWN
        value = np.asarray(label.get(name, unknown))
        if value.dtype.kind == "f":
            value = np.where(np.isnan(value), unknown, value)
        if value.dtype.kind == "f" and unknown == -1 and np.array_equal(value, np.round(value)):
            value = value.astype(np.int64)
        single = value.ndim < len(tensor.shape)
        found[name] = np.broadcast_to(value, (rows, *tensor.shape[1:])) if single else value
    return found
