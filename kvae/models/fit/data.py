"""The data of `fit` and `evaluate`, which are checked and brought into a form for Keras."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae import distributed
from kvae.datasets import kinds, weighting
from kvae.datasets.base_stream import Stream
from kvae.datasets.dataset import Dataset
from kvae.likelihoods.likelihood import MISSING_ADVICE
from kvae.models.inputs import (
    NO_LABELS,
    build_for,
    checked_events,
    dataset_labels,
    is_concrete,
    with_labels,
)
from kvae.models.labels import checked_label, split_label_and_target
from kvae.utils import arguments

__all__ = [
    "batches_as_tuples",
    "batches_of",
    "prepared_batch",
    "prepared_data",
    "prepared_validation",
    "split_for_validation",
    "steps_of",
    "unpacked_batch",
]


def prepared_data(vae, x, y, weight=None, in_memory: bool = True):
    """Checks data in memory as a whole; returns x, y and weight as Keras trains on them.

    Arrays become a `Dataset` when `in_memory`; a conditional model's otherwise `(x, label)`.
    """
    x, label, y = split_label_and_target(vae, x, y)
    if label is not None and not is_concrete(x):
        raise ValueError(
            "(x, label) is a pair of arrays. Labels of a Dataset are its own, Dataset(x, "
            "labels), and those of tf.data and generators are in the batches, ((x, label),)."
        )
    if isinstance(x, Dataset):
        if y is not None:
            raise ValueError("Give a target as Dataset(..., target=y), not as `y`.")
        x = x if weight is None else x.weighted(weight)
        x = with_labels(vae, x)
        dataset_labels(vae, x)
        build_for(vae, x.x.shape)
        if x.mask is not None and vae.missing is None:
            raise ValueError(f"{x!r} has a mask of what was observed.{MISSING_ADVICE}")
        target = x.x if x.target is None else x.target
        checked_events(vae, x.x, "x", support=False, values=x.x.dtype != np.uint8)
        checked_events(vae, target, "x", values=target.dtype != np.uint8)
        if target.dtype == np.uint8:
            _check_bytes(vae, x)
        return x, None, None
    if is_concrete(x):
        x = checked_events(vae, np.asarray(x), "x", support=y is None)
        label = checked_label(vae, label, len(x))
        build_for(vae, x.shape)
        if y is not None:
            y = checked_events(vae, np.asarray(y), "y")
        label = None if label is None else label.numpy()
        if weight is not None:
            weight = weighting.checked(weight, len(x))
        if in_memory:
            return Dataset(x, label, target=y, weights=weight, seed=vae.seed), None, None
        # Keras drops the weights of data without a target.
        return x if label is None else (x, label), x if y is None else y, weight
    if weight is not None:
        raise ValueError(
            "Weights of data in batches stand in the batches, (x, y, sample_weight): leave out "
            "`sample_weight`."
        )
    if isinstance(x, (Stream, tf.data.Dataset)):
        if isinstance(x, Stream):
            if y is not None:
                raise ValueError("A Stream has no target but itself: leave out `y`.")
            build_for(vae, (None, *x.event_shape))
            batches = batches_of(vae, x, 8)
        else:
            batches = x
        for batch in batches.take(1):
            _check_batch(vae, batch)
    elif isinstance(x, keras.utils.PyDataset):
        _check_batch(vae, x[0])
    elif isinstance(x, Iterator):
        x = batches_as_tuples(vae, x)
    return x, y, None


def prepared_validation(vae, data, batch_size: int):
    """Checks validation data, and returns them as Keras takes them."""
    data = data if isinstance(data, tuple) else (data,)  # A list is an array.
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    x, y, weight = prepared_data(vae, x, y, weight)
    if isinstance(x, (Dataset, Stream)):
        return batches_of(vae, x, batch_size)
    return x if y is None else data


def prepared_batch(vae, x, y, weight=None):
    """Checks what is to be one batch, and returns it as Keras takes it."""
    x, y, weight = prepared_data(vae, x, y, weight, in_memory=False)
    if isinstance(x, Dataset) or kinds.gives_batches(x):
        raise ValueError(
            f"One batch is an array, or a pair (x, label), not a {type(x).__name__}: give one "
            "of its batches, e.g. next(iter(batches)), or call `fit` or `evaluate`."
        )
    return x, y, weight


def unpacked_batch(vae, data):
    """Returns a batch's x, label (or `None`), target and weight (or `None`)."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    x, label, y = split_label_and_target(vae, x, y)
    x = tf.convert_to_tensor(x)
    label = checked_label(vae, label, tf.shape(x)[0] if label is None else None)
    target = x if y is None else tf.convert_to_tensor(y)
    build_for(vae, x.shape)
    for name, value in (("x", x), ("y", target)):
        if not value.shape[1:].is_compatible_with(vae.event_shape):
            hint = f" {NO_LABELS}" if name == "y" else ""
            raise ValueError(
                f"`{name}` has shape {tuple(value.shape)}, the model takes "
                f"{(None, *vae.event_shape)}.{hint}"
            )
    return x, label, target, None if weight is None else _for_each(weight)


def batches_of(vae, data, batch_size: int, **order):
    """Returns the batches of a `Dataset` or `Stream`, with its labels for a conditional model."""
    order["labels"] = vae.conditional and (data.has_labels or not vae.takes_unknown_labels)
    if isinstance(data, Stream) and order.get("repeat"):
        return data.distributed(vae.distribute_strategy, batch_size, **order)
    return data.batches(batch_size, **order)


def steps_of(vae, data, batch_size: int) -> int | None:
    """Returns the number of batches in an epoch of data, or `None` where they do not say it."""
    if isinstance(data, Stream):
        return data.steps(batch_size, distributed.num_workers(vae.distribute_strategy))
    if isinstance(data, Dataset):
        return data.steps(batch_size)
    if isinstance(data, tf.data.Dataset):
        count = int(data.cardinality())
        return count if count > 0 else None
    return data.num_batches if isinstance(data, keras.utils.PyDataset) else None


def split_for_validation(vae, x, y, weight, fraction):
    """Takes the last `fraction` of the rows for validation, as Keras does."""
    x, label, y = split_label_and_target(vae, x, y)
    if label is not None and vae.conditions is not None:
        label = checked_label(vae, label, len(x))
    label, weight = (
        None if value is None else kinds.as_array(value, name)
        for value, name in ((label, "label"), (weight, "sample_weight"))
    )
    if not isinstance(x, Dataset) and not is_concrete(x):
        raise ValueError("`validation_split` needs arrays; give `validation_data` instead.")
    weight = None if weight is None else weighting.checked(weight, len(x))
    cut = int(len(x) * (1.0 - arguments.number("validation_split", fraction, 0.0, 1.0)))
    if not 0 < cut < len(x):
        raise ValueError(f"validation_split={fraction} leaves nothing to train or to validate.")

    def part(rows):
        events = x[rows] if label is None else (x[rows], label[rows])
        return events, *(None if value is None else value[rows] for value in (y, weight))

    return *part(slice(cut)), part(slice(cut, None))


def batches_as_tuples(vae, batches):
    """Yields batches of any form as Keras takes them: `(x,)`, `(x, y)` or `(x, y, weight)`."""
    for batch in batches:
        x, y, weight = kinds.unpacked(batch)
        x, label, y = split_label_and_target(vae, x, y)
        if label is not None and vae.conditions is not None:
            label = checked_label(vae, label).numpy()
        parts = [x if label is None else (x, label), y, weight]
        while parts[-1] is None:
            parts.pop()
        yield tuple(parts)


def _check_batch(vae, batch) -> None:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    x, label, y = split_label_and_target(vae, x, y)
    checked_label(vae, label, len(x))
    if y is None:
        build_for(vae, x.shape)
        checked_events(vae, np.asarray(x), "x")


def _check_bytes(vae, data: Dataset) -> None:
    """Refuses bytes that the likelihood does not take, as they are or divided by 255."""
    levels = data.levels()
    if not levels.size:  # Nothing was observed.
        return
    if data.mask is not None:
        levels = np.asarray(vae.likelihood.filled(levels))
    try:
        vae.likelihood.check_support(levels, "x")
    except ValueError as error:
        if not data.intensities:
            raise
        raise ValueError(
            f"{error} A Dataset of uint8 is divided by 255, unless it is made with "
            "Dataset(..., intensities=False)."
        ) from None


def _for_each(weight):
    """Returns weights `[n]` or `[n, 1]` as a float32 tensor `[n]`."""
    weight = tf.cast(weight, tf.float32)
    if weight.shape.rank is not None:
        weighting.check_shape(weight.shape)
    return tf.reshape(weight, (-1,))
