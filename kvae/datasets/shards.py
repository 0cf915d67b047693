"""Folders of TFRecord files: data larger than memory, written once, read while a model trains."""

import contextlib
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvae.datasets import kinds
from kvae.datasets.base_stream import PARALLEL, Stream
from kvae.datasets.batches import steady
from kvae.datasets.dataset import Dataset
from kvae.datasets.schema import Schema
from kvae.utils import arguments, io, seals

__all__ = ["INDEX", "Shards", "read_index", "write_shards"]

INDEX = "index.json"


class Shards(Stream):
    """A folder of TFRecord files that `write_shards` made.

    Records are `tf.train.Example`s of `x` (the bytes of one example) and, with labels, `label`.
    `index.json` holds their shape and type, the number of examples, the size and the SHA-256 of
    each file, and a SHA-256 of itself. Files are read side by side, and `window` examples are in
    memory at a time.

    A shuffled epoch takes the files in an order of its own and shuffles within `window`: examples
    that were written far apart may never meet in a batch, so write them in a random order.

    Args:
        path: str or path. The folder.
        only: optional sequence of int. The numbers of the files to read. Defaults to `None`: all.
        window: int. The number of examples that are shuffled among each other. Defaults to `16384`.
        verify: bool. Whether the files' SHA-256 are checked first, at about a second for each
            gigabyte. Otherwise their sizes are checked first, and each record's checksum when it is
            read. Defaults to `True`.
        split, binarize, noise, seed: as for `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder, or no `index.json` in it.
        ValueError: for a damaged index, and for a file that is missing or was altered.

    Example:

    ```python
    kvae.datasets.write_shards(kvae.datasets.load("digits"), "digits-shards", num_shards=4)
    vae.fit(kvae.datasets.Shards("digits-shards", binarize="dynamic"), batch_size=128, epochs=20)
    ```
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        only: Sequence[int] | None = None,
        window: int = 16384,
        verify: bool = True,
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ):
        root = pathlib.Path(path)
        index = read_index(root)
        try:
            event_shape = [int(size) for size in index["event_shape"]]
            dtype, labels = np.dtype(index["dtype"]), bool(index["labels"])
            found = index["shards"]
            found = found if only is None else [found[number] for number in only]
            self.files = [root / entry["file"] for entry in found]
            self.counts = [int(entry["examples"]) for entry in found]
            facts = [(int(entry["bytes"]), entry["sha256"]) for entry in found]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _damaged(root, error) from None
        for file, (size, digest) in zip(self.files, facts, strict=True):
            whole = file.parent == root and file.is_file() and file.stat().st_size == size
            if not whole or (verify and io.sha256_file(file) != digest):
                raise ValueError(f"{file} is missing or was altered. Write {root} again.")
        self._paths = [os.fsencode(file) for file in self.files]
        self.window = window
        super().__init__(
            event_shape,
            dtype,
            labels,
            name=root.resolve().name,
            split=split,
            binarize=binarize,
            noise=noise,
            seed=seed,
        )
        try:
            self.schema = Schema.from_dict({**index.get("schema", {}), "name": self.name})
        except (TypeError, ValueError) as error:
            raise _damaged(root, error) from None

    def __len__(self) -> int:
        return sum(self.counts)

    def steps(self, batch_size: int, workers: int = 1) -> int:
        piece = math.ceil(arguments.whole("batch_size", batch_size) / workers)
        return max(math.ceil(sum(self.counts[i::workers]) / piece) for i in range(workers))

    def _ordered(self, batch_size, maker, part, *, shuffle, first_epoch, repeat):
        import tensorflow as tf

        from kvae import random

        index, workers = part
        if workers > len(self.files):
            raise ValueError(
                f"{workers} workers need at least as many files, but {self.name} has "
                f"{len(self.files)}. Write it again with more files."
            )
        steps = self.steps(batch_size, workers)
        seed = random.fold_in(self.seed, index) if workers > 1 else random.as_seed(self.seed)

        @tf.autograph.experimental.do_not_convert
        def epoch_batches(epoch):
            epoch_seed = random.fold_in(seed, epoch)
            records = self._records(
                math.ceil(batch_size / workers), part, steps, epoch_seed if shuffle else None
            )

            def made(step, batch):
                x, label = self._parsed(batch)
                gathered = {"x": x, "labels": tf.cast(label, tf.int32)}
                return maker.make(gathered, epoch_seed, tf.cast(step, tf.int32))

            return records.enumerate().map(made, num_parallel_calls=PARALLEL, deterministic=True)

        epochs = tf.data.Dataset.range(first_epoch, 2**31 - 1 if repeat else first_epoch + 1)
        batches = epochs.flat_map(epoch_batches)
        if not repeat:
            batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        return steady(batches)

    def _stored(self, batch_size: int):
        steps = self.steps(batch_size)
        return steady(self._records(batch_size, (0, 1), steps, None).map(self._parsed))

    def _records(self, size: int, part, steps: int, epoch_seed):
        """Makes one epoch of `steps` batches of serialized examples; the last may be empty."""
        import tensorflow as tf

        from kvae import random

        files = tf.constant(self._paths[part[0] :: part[1]])
        if epoch_seed is not None:
            files = random.shuffled(files, random.fold_in(epoch_seed, 2**30))
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, buffer_size=1 << 20),
            cycle_length=16,
            num_parallel_calls=PARALLEL,
            deterministic=True,
        )
        if epoch_seed is None:
            records = records.batch(size)
        else:
            first = 2**30 + 1
            records = records.batch(self.window).enumerate()
            records = records.map(
                lambda number, window: random.shuffled(
                    window, random.fold_in(epoch_seed, first + tf.cast(number, tf.int32))
                )
            ).rebatch(size)
        missing = steps - math.ceil(sum(self.counts[part[0] :: part[1]]) / size)
        if missing:
            none = tf.data.Dataset.from_tensors(tf.zeros([0], tf.string)).repeat(missing)
            records = records.concatenate(none)
        return records

    def _parsed(self, records):
        """Returns the stored values `[batch, *event]` and the labels of serialized examples."""
        import tensorflow as tf

        features = {"x": tf.io.FixedLenFeature([], tf.string)}
        if self.has_labels:
            features["label"] = tf.io.FixedLenFeature([], tf.int64)
        found = tf.io.parse_example(records, features)
        size = math.prod(self.event_shape)
        x = tf.io.decode_raw(found["x"], self.dtype.name, fixed_length=size * self.dtype.itemsize)
        n = tf.shape(records)[0]
        label = found["label"] if self.has_labels else tf.zeros([n], tf.int64)
        return tf.reshape(x, (n, *self.event_shape)), label


def read_index(folder: pathlib.Path) -> dict:
    """Returns what the `index.json` of a folder of shards says.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it was cut off or altered. That of an earlier version has no SHA-256, and is
            taken as it is.
    """
    try:
        return seals.unsealed((folder / INDEX).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(
            f"There is no {folder / INDEX}. Give a folder that kvae.datasets.write_shards wrote."
        ) from None
    except ValueError as error:
        raise _damaged(folder, error) from None


def _damaged(folder: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(f"{folder / INDEX} is damaged ({error}). Write it again.")


def write_shards(data: Any, path: str | os.PathLike, num_shards: int = 16) -> pathlib.Path:
    """Writes examples to a folder of TFRecord files, for `Shards`.

    Examples are dealt to the files in turn, so that the files differ by one example at most, and
    are never in memory together. The folder appears whole, or not at all.

    Args:
        data: `Dataset`, `Stream`, `tf.data.Dataset`, an array, or an iterable of blocks: arrays `x`
            `[batch, *event]` or pairs `(x, labels)`; x uint8 for intensities of 0–255, or else
            float32.
        path: str or path. A folder that does not exist.
        num_shards: int. Files: some for each worker that will read them, and three at least where
            `kvae train --data` is to hold out some for validation and testing. Defaults to `16`.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if the disk is full. Nothing half-written is left.
        ValueError: for examples of different shapes or types, and without examples.
    """
    import tensorflow as tf

    if num_shards < 1:
        raise ValueError(f"`num_shards` is at least 1, not {num_shards}.")
    path, n, facts = pathlib.Path(path), 0, None
    with io.atomic_directory(path) as folder, contextlib.ExitStack() as opened:
        files = [f"{number:05d}.tfrecord" for number in range(num_shards)]
        writers = [
            opened.enter_context(tf.io.TFRecordWriter(os.fsencode(folder / file))) for file in files
        ]
        for x, labels in _blocks(data):
            if isinstance(labels, dict):
                raise ValueError(
                    f"Shards hold a class for each example, and not the conditions "
                    f"{', '.join(labels)}: leave them out, or train on a Dataset or a "
                    "tf.data.Dataset with a dict of them."
                )
            seen = (x.dtype.name, x.shape[1:], labels is not None)
            facts = facts or seen
            if seen != facts:
                raise ValueError(f"All examples are alike: {facts} and then {seen}.")
            for index in range(len(x)):
                feature = {"x": _feature("bytes_list", x[index].tobytes())}
                if labels is not None:
                    feature["label"] = _feature("int64_list", int(labels[index]))
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writers[n % num_shards].write(example.SerializeToString(deterministic=True))
                n += 1
        opened.close()
        if n < num_shards:
            raise ValueError(f"{n} examples do not fill {num_shards} files.")
        dtype, event_shape, labelled = facts
        index = {
            "event_shape": list(event_shape),
            "dtype": dtype,
            "labels": labelled,
            "shards": [
                {
                    "file": file,
                    "examples": len(range(number, n, num_shards)),
                    "bytes": (folder / file).stat().st_size,
                    "sha256": io.sha256_file(folder / file),
                }
                for number, file in enumerate(files)
            ],
        }
        schema = getattr(data, "schema", None)
        if schema is not None:  # The names of classes and columns go with the numbers.
            index["schema"] = schema.to_dict()
        (folder / INDEX).write_text(seals.sealed(index))
    return path


def _blocks(data):
    """Yields arrays `x` and labels (or `None`) of the data that `write_shards` takes."""
    if isinstance(data, Dataset):
        yield data.x, data.labels
        return
    if isinstance(data, Stream):
        for x, label in data._stored(256):
            yield x.numpy(), label.numpy() if data.has_labels else None
        return
    for x, labels in kinds.blocks(data):
        yield x if x.dtype == np.uint8 else x.astype(np.float32), labels


def _feature(kind: str, value):
    import tensorflow as tf

    lists = {"bytes_list": tf.train.BytesList, "int64_list": tf.train.Int64List}
    return tf.train.Feature(**{kind: lists[kind](value=[value])})
