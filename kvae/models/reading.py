"""Reading of data of every kind, for inference, evaluation and samplers."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kvae.datasets import kinds
from kvae.datasets.base_stream import Stream
from kvae.datasets.batches import BaseDataset
from kvae.datasets.dataset import Dataset
from kvae.models.fit.data import batches_of
from kvae.models.inputs import checked_events, event_tensors, require_built, with_labels
from kvae.models.labels import split_label, split_label_and_target

__all__ = ["Reading"]


class Reading:
    """The methods of `kvae.VAE` that read data of every kind (see `kvae.datasets.kinds`)."""

    def as_dataset(self, data) -> BaseDataset:
        """Returns data of every kind as a `Dataset` or `Stream`, which can be read several times.

        Batches of a `tf.data.Dataset` or `PyDataset` are read again each time, so that the memory
        holds some of them only.

        Raises:
            ValueError: for a generator, which can be read once, and for a wrong shape or NaN.
        """
        x, label = split_label(self, data)
        if isinstance(x, BaseDataset):
            if label is None:
                return with_labels(self, x)
            raise ValueError("Labels of a Dataset are its own: Dataset(x, labels).")
        if not kinds.gives_batches(x):
            x, label = event_tensors(self, x, label)
            return Dataset(x.numpy(), None if label is None else label.numpy())
        if kinds.read_once(x):
            raise ValueError(
                f"A {type(x).__name__} can be read once, and data are read several times here: "
                "give arrays, a kvae.datasets.Dataset, or tf.data.Dataset.from_generator(…)."
            )
        return _BatchStream(self, x)

    def event_batches(
        self, x, label=None, batch_size: int = 1024, *, support: bool = False, guess: bool = True
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor | None]]:
        """Yields data as tensors: x and, for a conditional model, labels (else `None`).

        What is in memory comes as a whole, so that its caller may cut it; a `Stream` is read in
        batches of `batch_size`, and what gives batches of its own is read batch by batch.

        Args:
            x: data of any kind, see `kvae.datasets.kinds`.
            label: int array `[n]`, or `None` for the labels of the data.
            batch_size: int. Defaults to `1024`.
            support: bool. Whether x has to lie in the likelihood's support. Defaults to `False`.
            guess: bool. Whether labels that are not known are the classifier's, with an objective
                that has one; else they are -1. Defaults to `True`.

        Raises:
            ValueError: for a wrong shape or NaN, labels beside data that have their own, and data
                without an end or without a batch.
        """
        x, own = split_label(self, x)

        def tensors(x, label):
            x, label = event_tensors(self, x, label, support)
            return x, self.guessed(x, label) if guess else label

        if not kinds.gives_batches(x):
            yield tensors(x, own if label is None else label)
            return
        require_built(self)
        if label is not None:
            raise ValueError("Labels of data in batches stand in the batches: leave out `label`.")
        empty = True
        for events, own, _ in _triples(self, x, batch_size):
            yield tensors(events, own)
            empty = False
        if empty:
            raise ValueError(f"This {type(x).__name__} gives no batch.")

    def event_rows(
        self, x, label=None, batch_size: int = 100, *, support: bool = True
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor | None]]:
        """Yields what `event_batches` does, in batches of `batch_size` rows; the last may be less.

        Estimates whose noise depends on the batches are thus the same for every kind of data. The
        arguments are those of `event_batches`.
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` is at least 1, not {batch_size}.")
        yield from _rebatched(self.event_batches(x, label, batch_size, support=support), batch_size)


class _BatchStream(Stream):
    """Batches of the user's own as a `Stream`, in their own order.

    Args:
        model: `kvae.VAE`, built.
        source: `tf.data.Dataset` or `PyDataset`.
    """

    def __init__(self, model, source):
        self._model, self._source, self._count = model, source, None
        super().__init__(
            model.event_shape,
            np.float32,
            model.conditional,
            name="batches",
            split=f"of a {type(source).__name__.strip('_')}",
            binarize=None,
            noise=0.0,
            seed=0,
        )

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(len(x) for x, _ in self._stored(1024))
        return self._count

    def batches(self, batch_size: int = 128, *, labels: bool = False):
        """Yields what those of other streams give: `x`, `((x, label),)` or with a target."""
        for x, label, target in _rebatched(self._checked(), batch_size):
            x = (x, label) if labels else x
            yield (x, target) if target is not None else (x,) if labels else x

    def _stored(self, batch_size: int):
        for x, label, _ in _rebatched(self._checked(), batch_size):
            yield x, tf.zeros(len(x), tf.int32) if label is None else label

    def _checked(self):
        for x, label, target in _triples(self._model, self._source, 0):
            if target is not None:
                target = tf.constant(checked_events(self._model, np.asarray(target), "y"))
            yield *event_tensors(self._model, x, label), target


def _rebatched(parts, batch_size: int):
    """Yields tuples of tensors (or `None`s) of `batch_size` rows each; the last may be smaller."""
    left = None
    for part in parts:
        part = part if left is None else _after(left, part)
        count = len(part[0])
        whole = count - count % batch_size
        for start in range(0, whole, batch_size):
            yield _cut(part, start, start + batch_size)
        left = _cut(part, whole, count) if whole < count else None
    if left is not None:
        yield left


def _cut(part: tuple, start: int, stop: int) -> tuple:
    """Returns some rows of each tensor."""
    if start == 0 and stop == len(part[0]):
        return part
    return tuple(None if values is None else values[start:stop] for values in part)


def _after(first: tuple, second: tuple) -> tuple:
    """Returns the rows of some tensors, and then those of others."""
    pairs = zip(first, second, strict=True)
    return tuple(None if a is None else tf.concat([a, b], axis=0) for a, b in pairs)


def _triples(vae, x, batch_size: int):
    """Yields x, label and target of the batches of a stream, the last two or `None`."""
    for batch in batches_of(vae, x, batch_size) if isinstance(x, Stream) else kinds.batches(x):
        events, y, _ = kinds.unpacked(batch)
        yield split_label_and_target(vae, events, y)
