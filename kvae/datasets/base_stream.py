"""The common base of all data that is read while a model trains."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from kvae.datasets.batches import BaseDataset, Batches
from kvae.datasets.dataset import Dataset

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["PARALLEL", "Stream"]

PARALLEL = 8  # The number of batches or files that are read at the same time.


class Stream(BaseDataset):
    """Examples on disk, in batches that repeat bit for bit, as those of a `Dataset` do.

    `fit`, `validation_data` and `evaluate` of a `kvae.VAE` take it like a `Dataset`; so does
    `kvae train --data`. The order of an epoch depends on `seed` and the epoch's number alone. Under
    a strategy of several workers each reads its own part.

    This is the base of `Shards` and `ImageFolder`, which say how examples are read.

    Args:
        event_shape: tuple of int. The shape of one example.
        dtype: dtype of the stored values; uint8 is divided by 255.
        labels: bool. Whether there are labels.
        name, split: as for `Dataset`.
        binarize: `None` or `"dynamic"`. Batches that are not shuffled are binarized in the same
            way each time, for a given batch size.
        noise, seed: as for `Dataset`.
    """

    kind, binarizations = "stream", ("dynamic",)
    has_labels = False

    def __init__(
        self,
        event_shape: Sequence[int],
        dtype: DTypeLike,
        labels: bool,
        *,
        name: str,
        split: str,
        binarize: str | None,
        noise: float,
        seed: int,
    ):
        super().__init__(name=name, split=split, binarize=binarize, noise=noise, seed=seed)
        self.event_shape, self.dtype = tuple(event_shape), np.dtype(dtype)
        self.has_labels = labels

    def maker(self, shuffle: bool, labels: bool) -> Batches:
        return Batches(
            event_shape=self.event_shape,
            fixed=False,
            redraw=bool(self.binarize),
            scaled=self.dtype == np.uint8,
            target_scaled=False,
            noise=float(self.noise),
            target=False,
            labels=labels,
        )

    def distributed(
        self, strategy: "tf.distribute.Strategy", batch_size: int, **order
    ) -> "tf.data.Dataset | tf.distribute.DistributedDataset":
        """Makes the data that `fit` takes under a strategy; each worker reads its part of it."""
        import tensorflow as tf

        from kvae import distributed

        if not distributed.is_multi_worker(strategy):
            return self.batches(batch_size, **order)

        def own(context):
            workers = context.num_input_pipelines
            batches = self.batches(batch_size, part=(context.input_pipeline_id, workers), **order)
            replicas = context.num_replicas_in_sync // workers
            if replicas == 1:
                return batches
            piece = math.ceil(batch_size / context.num_replicas_in_sync)

            def pieces(*batch):
                return tf.data.Dataset.range(replicas).map(
                    lambda i: tf.nest.map_structure(
                        lambda values: values[i * piece : (i + 1) * piece],
                        batch if len(batch) > 1 else batch[0],
                    )
                )

            return batches.flat_map(pieces)

        return strategy.distribute_datasets_from_function(own)

    def dataset(self, limit: int | None = None) -> Dataset:
        """Reads the first examples, or all of them, into memory: a `Dataset`."""
        return self.take(slice(limit))

    def take(self, rows: slice | ArrayLike) -> Dataset:
        """Reads some examples, and only these, into memory, with their labels.

        Args:
            rows: slice or int array. The numbers of the examples, in the order of batches that are
                not shuffled.
        """
        rows = np.arange(len(self))[rows]
        order = np.argsort(rows, kind="stable")
        wanted, found, numbers, first = rows[order], [], [], 0
        for x, label in self._stored(min(256, max(1, len(rows)))):
            own = wanted[(wanted >= first) & (wanted < first + len(x))] - first
            found.append(x.numpy()[own])
            numbers.append(label.numpy()[own])
            first += len(x)
            if not len(wanted) or first > wanted[-1]:
                break
        back = np.argsort(order, kind="stable")
        part = Dataset(
            np.concatenate(found)[back],
            np.concatenate(numbers)[back] if self.has_labels else None,
            name=self.name,
            split=self.split,
            binarize=self.binarize,
            noise=self.noise,
            seed=self.seed,
        )
        part.schema = self.schema
        return part

    def __getitem__(self, rows: slice) -> Dataset:
        """Reads a slice of rows into memory, e.g. `stream[:1000]`."""
        if not isinstance(rows, slice):
            raise TypeError("A Stream is indexed by a slice, e.g. stream[:100].")
        return self.take(rows)

    def _stored(self, batch_size: int):
        """Yields one epoch of pairs: x as it is stored, and labels (0 where there are none)."""
        raise NotImplementedError
