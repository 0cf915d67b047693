"""What a model is given: checked, built for, and turned into what Keras trains on."""

import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae import distributed
from kvae.datasets import kinds, weighting
from kvae.datasets.dataset import Dataset
from kvae.datasets.stream import Stream
from kvae.utils import arguments, forks

__all__ = ["Inputs", "concatenated", "in_batches", "is_concrete"]

_NO_LABELS = (
    "Labels are not a target: leave them out, e.g. fit(x) or dataset.map(lambda x, label: x)."
)


class Inputs:
    """The part of `kvae.VAE` that takes data in: arrays, datasets, batches, latents."""

    def _build_for(self, shape) -> None:
        """Builds a model whose encoder has no `keras.Input`, for the first data that it sees."""
        if not self.built and shape is not None:
            with self.distribute_strategy.scope():
                self.build(tuple(shape))

    def _unpack(self, data):
        """Returns a batch's x, label (or `None`), target and weight (or `None`)."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, label, y = self._pair_and_target(x, y)
        label = self._labels(label)
        x = tf.convert_to_tensor(x)
        target = x if y is None else tf.convert_to_tensor(y)
        self._build_for(x.shape)
        for name, value in (("x", x), ("y", target)):
            if not value.shape[1:].is_compatible_with(self.event_shape):
                hint = f" {_NO_LABELS}" if name == "y" else ""
                raise ValueError(
                    f"`{name}` has shape {tuple(value.shape)}, the model takes "
                    f"{(None, *self.event_shape)}.{hint}"
                )
        return x, label, target, None if weight is None else _for_each(weight)

    def check_values(self, x, y=None, label=None, weight=None, support: bool = True) -> None:
        """Raises the `ValueError` that says what is wrong with a batch; the arrays of one.

        Args:
            x, y, label, weight: arrays `[n, *event]` and `[n]`, or `None`.
            support: bool. Whether what is to be reconstructed has to lie in the likelihood's
                support. Defaults to `True`.
        """
        self._check_events(x, "x", support=support and y is None)
        if y is not None:
            self._check_events(y, "y", support=support)
        self._labels(label, len(x))
        if weight is not None:
            weighting.checked(weight, len(x), batch=True)

    def _prepare(self, x, y, weight=None, in_memory: bool = True):
        """Checks data in memory as a whole; returns x, y and weight as Keras trains on them.

        Arrays become a `Dataset` when `in_memory`; a conditional model's otherwise `(x, label)`.
        """
        x, label, y = self._pair_and_target(x, y)
        if label is not None and not is_concrete(x):
            raise ValueError(
                "(x, label) is a pair of arrays. Labels of a Dataset are its own, Dataset(x, "
                "labels), and those of tf.data and generators are in the batches, ((x, label),)."
            )
        if isinstance(x, Dataset):
            if y is not None:
                raise ValueError("Give a target as Dataset(..., target=y), not as `y`.")
            x = x if weight is None else x.weighted(weight)
            self._dataset_labels(x)
            self._build_for(x.x.shape)
            target = x.x if x.target is None else x.target
            self._check_events(x.x, "x", support=False, values=x.x.dtype != np.uint8)
            self._check_events(target, "x", values=target.dtype != np.uint8)
            if target.dtype == np.uint8:
                self._check_bytes(x)
            return x, None, None
        if is_concrete(x):
            x = self._check_events(np.asarray(x), "x", support=y is None)
            label = self._labels(label, len(x))
            self._build_for(x.shape)
            if y is not None:
                y = self._check_events(np.asarray(y), "y")
            label = None if label is None else label.numpy()
            if weight is not None:
                weight = weighting.checked(weight, len(x))
            if in_memory:
                return Dataset(x, label, target=y, weights=weight, seed=self.seed), None, None
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
                self._build_for((None, *x.event_shape))
                batches = x.batches(8, labels=self.conditional)
            else:
                batches = x
            for batch in batches.take(1):
                self._check_batch(batch)
        elif isinstance(x, keras.utils.PyDataset):
            self._check_batch(x[0])
        elif isinstance(x, Iterator):
            x = self._as_tuples(x)
        return x, y, None

    def _prepare_validation(self, data, batch_size: int):
        data = data if isinstance(data, tuple) else (data,)  # A list is an array.
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y, weight = self._prepare(x, y, weight)
        if isinstance(x, (Dataset, Stream)):
            return self._batches(x, batch_size)
        return x if y is None else data

    def _prepare_batch(self, x, y, weight=None):
        """Checks what is to be one batch, and returns it as Keras takes it."""
        x, y, weight = self._prepare(x, y, weight, in_memory=False)
        if isinstance(x, Dataset) or kinds.gives_batches(x):
            raise ValueError(
                f"One batch is an array, or a pair (x, label), not a {type(x).__name__}: give one "
                "of its batches, e.g. next(iter(batches)), or call `fit` or `evaluate`."
            )
        return x, y, weight

    def _batches(self, data, batch_size: int, **order):
        """The batches of a `Dataset` or `Stream`, with its labels for a conditional model."""
        order["labels"] = self.conditional
        if isinstance(data, Stream) and order.get("repeat"):
            return data.distributed(self.distribute_strategy, batch_size, **order)
        return data.batches(batch_size, **order)

    def _steps(self, data, batch_size: int) -> int:
        """The number of batches in an epoch of a `Dataset` or `Stream`."""
        if isinstance(data, Stream):
            return data.steps(batch_size, distributed.num_workers(self.distribute_strategy))
        return data.steps(batch_size)

    def _check_bytes(self, data: Dataset) -> None:
        """Refuses bytes that the likelihood does not take, as they are or divided by 255."""
        try:
            self.likelihood.check_support(data.levels(), "x")
        except ValueError as error:
            if not data.intensities:
                raise
            raise ValueError(
                f"{error} A Dataset of uint8 is divided by 255, unless it is made with "
                "Dataset(..., intensities=False)."
            ) from None

    def _dataset_labels(self, data: Dataset):
        """The labels of a `Dataset` that a conditional model takes; no others have a say."""
        if not self.conditional:
            return None
        return self._labels(data.labels, len(data), "Dataset.labels")

    def _split(self, x, y, weight, fraction):
        """Takes the last `fraction` of the rows for validation, as Keras does."""
        x, label, y = self._pair_and_target(x, y)
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

    def _as_tuples(self, batches):
        """Yields batches of any form as Keras takes them: `(x,)`, `(x, y)` or `(x, y, weight)`."""
        for batch in batches:
            x, y, weight = kinds.unpacked(batch)
            x, label, y = self._pair_and_target(x, y)
            parts = [x if label is None else (x, label), y, weight]
            while parts[-1] is None:
                parts.pop()
            yield tuple(parts)

    def _check_batch(self, batch) -> None:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        x, label, y = self._pair_and_target(x, y)
        self._labels(label, len(x))
        if y is None:
            self._build_for(x.shape)
            self._check_events(np.asarray(x), "x")

    def _check_events(self, x, name: str, support: bool = True, values: bool = True) -> np.ndarray:
        if self.event_shape is not None and x.shape[1:] != self.event_shape:
            hint = _shape_hint(x.shape, self.event_shape)
            if not hint and name == "y":
                hint = f" {_NO_LABELS}"
            raise ValueError(
                f"`{name}` has shape {x.shape}, the model takes (n, "
                f"{', '.join(map(str, self.event_shape))}).{hint}"
            )
        return self.likelihood.check(x, name, support=support) if values else x

    def _events(self, x, label=None, support: bool = False):
        """Returns tensors: the examples and, for a conditional model, their labels."""
        self._require_built()
        x, own = self._pair(x)
        label = own if label is None else label
        if isinstance(x, Dataset):
            label = self._dataset_labels(x) if label is None else label
            x = x.examples
        if kinds.gives_batches(x):
            raise ValueError(
                f"Arrays are needed here, and not the batches that a {type(x).__name__} gives."
            )
        if is_concrete(x):
            x = tf.constant(self._check_events(np.asarray(x), "x", support=support))
        else:
            x = tf.cast(x, tf.float32)
        return x, self._labels(label, x.shape[0])

    def _latents(self, z, label=None):
        """Returns tensors: the latents and, for a conditional model, their labels."""
        self._require_built()
        z = kinds.recognize(z, "z")
        if kinds.gives_batches(z):
            raise ValueError(
                f"`z` is an array [n, {self.latent_dim}], not the batches of a "
                f"{type(z).__name__}: decode them one after the other."
            )
        if not is_concrete(z):
            z = tf.cast(z, tf.float32)
            return z, self._labels(label, z.shape[0])
        z = np.asarray(z)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"`z` has shape {z.shape}, the model takes (n, {self.latent_dim}).")
        z = self.likelihood.check(z, "z", support=False)
        return tf.constant(z), self._labels(label, len(z))

    def _require_built(self) -> None:
        forks.check()
        if not self.built:
            raise ValueError(
                f"{self.name} is not built yet: give the encoder a keras.Input, or call the model "
                "or `fit` once."
            )


def is_concrete(x) -> bool:
    """Whether `x` holds values now: an array, a list, or an eager tensor."""
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
    if len(shape) == 2 and len(event) > 1 and shape[1] == math.prod(event):
        return f" Give the rows their shape: x.reshape((-1, {', '.join(map(str, event))}))."
    return ""


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


def _for_each(weight):
    """Returns weights `[n]` or `[n, 1]` as a float32 tensor `[n]`."""
    weight = tf.cast(weight, tf.float32)
    if weight.shape.rank is not None:
        weighting.check_shape(weight.shape)
    return tf.reshape(weight, (-1,))
