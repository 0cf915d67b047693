"""Data that is read while a model trains, because it is larger than memory."""

import json
import math
import os
import pathlib

import numpy as np

from kvae import io, names
from kvae.datasets.dataset import Dataset, ordered_batches, steady
from kvae.datasets.folders import _checked_shape, _image_files, _labels_of, _read_image
from kvae.datasets.sources import fixed_permutation

__all__ = ["ImageFolder", "Shards", "Stream", "stream", "write_shards"]

_INDEX = "index.json"
_SPLITS = ("train", "validation", "test")
_PARALLEL = 8  # Batches or files that are read at the same time.
_HELD_OUT = 0.05  # Of a folder without splits, for validation and for testing each.


class Stream:
    """Examples on disk, in batches that repeat bit for bit, as those of a `Dataset` do.

    `fit`, `validation_data` and `evaluate` of a `kvae.VAE` take it like a `Dataset`; so does
    `kvae train --data`. The order of an epoch depends on `seed` and the epoch's number alone. Under
    a strategy of several workers each reads its own part.

    What is common to `Shards` and `ImageFolder`, which say how examples are read.

    Args:
        event_shape: tuple of int. The shape of one example.
        labels: bool. Whether there are labels.
        name, split, binarize, noise, seed: as of `Dataset`; of `binarize` only `None` and
            `"dynamic"`. Batches that are not shuffled are drawn once, for a given batch size.
    """

    def __init__(self, event_shape, labels, *, name, split, binarize, noise, seed):
        if binarize not in (None, "dynamic"):
            raise names.unknown_name("binarization of a stream", binarize, ("dynamic",))
        self.event_shape, self.has_labels = tuple(event_shape), labels
        self.name, self.split, self.binarize = name, split, binarize
        self.noise, self.seed = noise, seed

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, split={self.split!r}, n={len(self)}, "
            f"event_shape={self.event_shape}, binarize={self.binarize!r}, seed={self.seed})"
        )

    def __len__(self) -> int:
        raise NotImplementedError

    def steps(self, batch_size: int, workers: int = 1) -> int:
        """The number of batches in an epoch, `batch_size` being that of all workers together."""
        return math.ceil(len(self) / batch_size)

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        first_epoch: int = 0,
        repeat: bool = False,
        labels: bool = False,
        part: tuple[int, int] = (0, 1),
    ):
        """Makes a `tf.data.Dataset` of float32 batches; the arguments are those of `Dataset`.

        Args:
            part: pair of int. `(i, k)`: what worker i of k takes of each batch, `batch_size / k`
                examples or fewer.
        """
        raise NotImplementedError

    def distributed(self, strategy, batch_size: int, **order):
        """Makes what `fit` takes under a strategy: of several workers each reads its own part."""
        import tensorflow as tf

        from kvae.training import distributed

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
        n = len(self) if limit is None else min(limit, len(self))
        found, numbers, rows = [], [], 0
        for x, label in self._stored(min(n, 256)):
            found.append(x.numpy())
            numbers.append(label.numpy())
            rows += len(x)
            if rows >= n:
                break
        return Dataset(
            np.concatenate(found)[:n],
            np.concatenate(numbers)[:n] if self.has_labels else None,
            name=self.name,
            split=self.split,
            binarize=self.binarize,
            noise=self.noise,
            seed=self.seed,
        )

    def _stored(self, batch_size: int):
        """One epoch of pairs: x as it is stored, and labels (0 where there are none)."""
        raise NotImplementedError

    def _finish(self, x, label, epoch_seed, step, labels: bool):
        """What `fit` takes, of a batch as it is stored."""
        import tensorflow as tf

        from kvae import random

        scale = 255.0 if x.dtype == tf.uint8 else 1.0
        x = tf.ensure_shape(tf.cast(x, tf.float32) / scale, (None, *self.event_shape))
        if self.binarize:
            noise = random.uniform(tf.shape(x), random.fold_in(epoch_seed, step + 1))
            x = tf.cast(noise < x, tf.float32)
        clean = None
        if self.noise:
            noise = random.normal(tf.shape(x), random.fold_in(epoch_seed, -step - 1))
            x, clean = tf.clip_by_value(x + self.noise * noise, 0.0, 1.0), x
        if labels:
            x = x, tf.cast(label, tf.int32)
            return (x,) if clean is None else (x, clean)
        return x if clean is None else (x, clean)

    def _check(self, labels: bool) -> None:
        if labels and not self.has_labels:
            raise ValueError(f"{self!r} has no labels.")


class ImageFolder(Stream):
    """PNG and JPEG files below a folder, read when they are needed.

    The pixels are those of `from_folder`, which reads all of them into memory. Several batches are
    read at the same time.

    Args:
        path: str or path. The folder.
        image_shape, labels, fit: as in `from_folder`.
        rows: optional int array. Which of the files, in the order of their paths. Defaults to
            `None`: all.
        split, binarize, noise, seed: as of `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: as `from_folder`; a file that cannot be read is named when its turn comes.

    Example:

    ```python
    faces = kvae.datasets.ImageFolder("faces", (64, 64, 3), fit="crop")
    vae.fit(faces, batch_size=128, epochs=20)
    ```
    """

    def __init__(
        self,
        path,
        image_shape,
        labels: str = "none",
        *,
        fit: str = "stretch",
        rows=None,
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ):
        root = pathlib.Path(path)
        files = _image_files(root)
        for value, known, what in (
            (labels, ("none", "folders"), "labels"),
            (fit, ("stretch", "crop"), "fit"),
        ):
            if value not in known:
                raise names.unknown_name(what, value, known)
        numbers = np.zeros(len(files), np.int64)
        if labels == "folders":
            numbers = _labels_of(root, files)
        rows = np.arange(len(files)) if rows is None else np.asarray(rows)
        self.files, self.labels = [files[row] for row in rows], numbers[rows]
        self.fit = fit
        super().__init__(
            _checked_shape(image_shape),
            labels == "folders",
            name=root.resolve().name,
            split=split,
            binarize=binarize,
            noise=noise,
            seed=seed,
        )

    def __len__(self) -> int:
        return len(self.files)

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        first_epoch: int = 0,
        repeat: bool = False,
        labels: bool = False,
        part: tuple[int, int] = (0, 1),
    ):
        import tensorflow as tf

        self._check(labels)
        numbers = tf.constant(self.labels)

        def batch(rows, epoch_seed, step):
            return self._finish(
                self._read(rows), tf.gather(numbers, rows), epoch_seed, step, labels
            )

        return ordered_batches(
            len(self),
            batch_size,
            batch,
            seed=self.seed,
            shuffle=shuffle,
            first_epoch=first_epoch,
            repeat=repeat,
            part=part,
            parallel=_PARALLEL,
        )

    def _stored(self, batch_size: int):
        import tensorflow as tf

        numbers = tf.constant(self.labels)
        return ordered_batches(
            len(self),
            batch_size,
            lambda rows, *_: (self._read(rows), tf.gather(numbers, rows)),
            seed=self.seed,
            shuffle=False,
            parallel=_PARALLEL,
        )

    def _read(self, rows):
        import tensorflow as tf

        def read(rows):
            shape = self.event_shape
            x = np.empty((len(rows), *shape), np.uint8)
            for index, row in enumerate(rows):
                x[index] = _read_image(self.files[row], shape, self.fit)
            return x

        # Pillow decodes without Python's lock, so batches are read in parallel.
        x = tf.numpy_function(read, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(x, (None, *self.event_shape))


class Shards(Stream):
    """A folder of TFRecord files that `write_shards` made.

    Records are `tf.train.Example`s of `x` (the bytes of one example) and, with labels, `label`.
    `index.json` holds their shape and type, and of each file the number of examples, the size and
    the SHA-256. Files are read side by side, `window` examples are in memory at a time.

    A shuffled epoch takes the files in an order of its own and shuffles within `window`: examples
    that were written far apart may never meet in a batch, so write them in a random order.

    Args:
        path: str or path. The folder.
        only: optional sequence of int. Numbers of the files to read. Defaults to `None`: all.
        window: int. Examples among which are shuffled. Defaults to `16384`.
        verify: bool. Whether the files' SHA-256 are checked first, at about a second for each
            gigabyte. Without it their sizes are, and each record's checksum when it is read.
            Defaults to `True`.
        split, binarize, noise, seed: as of `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder, or no `index.json` in it.
        ValueError: for a damaged index, and for a file that is missing or was altered.

    Example:

    ```python
    kvae.datasets.write_shards(kvae.datasets.load("mnist"), "mnist-shards", num_shards=16)
    vae.fit(kvae.datasets.Shards("mnist-shards", binarize="dynamic"), batch_size=128, epochs=20)
    ```
    """

    def __init__(
        self,
        path,
        *,
        only=None,
        window: int = 16384,
        verify: bool = True,
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ):
        root = pathlib.Path(path)
        if not (root / _INDEX).is_file():
            raise FileNotFoundError(
                f"There is no {root / _INDEX}. Give a folder that kvae.datasets.write_shards wrote."
            )
        try:
            index = json.loads((root / _INDEX).read_text())
            event_shape = [int(size) for size in index["event_shape"]]
            self.dtype, labels = np.dtype(index["dtype"]), bool(index["labels"])
            found = index["shards"]
            found = found if only is None else [found[number] for number in only]
            self.files = [root / entry["file"] for entry in found]
            self.counts = [int(entry["examples"]) for entry in found]
            facts = [(int(entry["bytes"]), entry["sha256"]) for entry in found]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{root / _INDEX} is damaged ({error}). Write it again.") from None
        for file, (size, digest) in zip(self.files, facts, strict=True):
            whole = file.parent == root and file.is_file() and file.stat().st_size == size
            if not whole or (verify and io.sha256_file(file) != digest):
                raise ValueError(f"{file} is missing or was altered. Write {root} again.")
        self.window = window
        super().__init__(
            event_shape,
            labels,
            name=root.resolve().name,
            split=split,
            binarize=binarize,
            noise=noise,
            seed=seed,
        )

    def __len__(self) -> int:
        return sum(self.counts)

    def steps(self, batch_size: int, workers: int = 1) -> int:
        piece = math.ceil(batch_size / workers)
        return max(math.ceil(sum(self.counts[i::workers]) / piece) for i in range(workers))

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        first_epoch: int = 0,
        repeat: bool = False,
        labels: bool = False,
        part: tuple[int, int] = (0, 1),
    ):
        import tensorflow as tf

        from kvae import random

        self._check(labels)
        index, workers = part
        if workers > len(self.files):
            raise ValueError(
                f"{workers} workers need as many files at least, {self.name} has "
                f"{len(self.files)}: write it with more of them."
            )
        steps = self.steps(batch_size, workers)
        seed = random.fold_in(self.seed, index) if workers > 1 else random.as_seed(self.seed)

        def epoch_batches(epoch):
            epoch_seed = random.fold_in(seed, epoch)
            records = self._records(
                math.ceil(batch_size / workers), part, steps, epoch_seed if shuffle else None
            )
            return records.enumerate().map(
                lambda step, batch: self._finish(
                    *self._parsed(batch), epoch_seed, tf.cast(step, tf.int32), labels
                ),
                num_parallel_calls=_PARALLEL,
                deterministic=True,
            )

        epochs = tf.data.Dataset.range(first_epoch, 2**31 - 1 if repeat else first_epoch + 1)
        batches = epochs.flat_map(epoch_batches)
        if not repeat:
            batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
        return steady(batches)

    def _stored(self, batch_size: int):
        steps = self.steps(batch_size)
        return steady(self._records(batch_size, (0, 1), steps, None).map(self._parsed))

    def _records(self, size: int, part, steps: int, epoch_seed):
        """Batches of serialized examples: one epoch of `steps`, of which the last may be empty."""
        import tensorflow as tf

        from kvae import random

        files = tf.constant([str(file) for file in self.files[part[0] :: part[1]]])
        if epoch_seed is not None:
            files = tf.random.experimental.stateless_shuffle(
                files, random.fold_in(epoch_seed, 2**30), alg="philox"
            )
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, buffer_size=1 << 20),
            cycle_length=16,
            num_parallel_calls=_PARALLEL,
            deterministic=True,
        )
        if epoch_seed is None:
            records = records.batch(size)
        else:
            first = 2**30 + 1
            records = records.batch(self.window).enumerate()
            records = records.map(
                lambda number, window: tf.random.experimental.stateless_shuffle(
                    window,
                    random.fold_in(epoch_seed, first + tf.cast(number, tf.int32)),
                    alg="philox",
                )
            ).rebatch(size)
        missing = steps - math.ceil(sum(self.counts[part[0] :: part[1]]) / size)
        if missing:
            none = tf.data.Dataset.from_tensors(tf.zeros([0], tf.string)).repeat(missing)
            records = records.concatenate(none)
        return records

    def _parsed(self, records):
        """Values as they are stored `[batch, *event]`, and labels, of serialized examples."""
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


def write_shards(data, path, num_shards: int = 16) -> pathlib.Path:
    """Writes examples to a folder of TFRecord files, for `Shards`.

    Examples are dealt to the files in turn, so that the files differ by one example at most, and
    are never in memory together. The folder appears whole, or not at all.

    Args:
        data: `Dataset` or `Stream`, or an iterable of arrays `x` `[batch, *event]` or pairs of
            arrays `(x, labels)`; x uint8 for intensities of 0–255, or else float32.
        path: str or path. A folder that does not exist.
        num_shards: int. Files: some for each worker that will read them, and three at least where
            `kvae train --data` is to hold out some for validation and testing. Defaults to `16`.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder exists.
        ValueError: for examples of different shapes or types, and without examples.
    """
    import tensorflow as tf

    if num_shards < 1:
        raise ValueError(f"`num_shards` is at least 1, not {num_shards}.")
    path, n, facts = pathlib.Path(path), 0, None
    with io.atomic_directory(path) as folder:
        files = [f"{number:05d}.tfrecord" for number in range(num_shards)]
        writers = [tf.io.TFRecordWriter(str(folder / file)) for file in files]
        for x, labels in _blocks(data):
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
        for writer in writers:
            writer.close()
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
        (folder / _INDEX).write_text(json.dumps(index, indent=1))
    return path


def stream(
    path,
    split: str = "train",
    image_shape=None,
    *,
    binarize: str | None = None,
    seed: int = 0,
) -> Stream:
    """Opens a split of a folder: of `Shards` or, for an `image_shape`, of image files.

    Subfolders `train`, `validation` and `test` are the splits. Of a folder without them, a
    twentieth of the images, or one of the shards, is held out for validation and for testing each.

    Args:
        path: str or path. The folder.
        split: str. `"train"`, `"validation"` or `"test"`.
        image_shape: tuple `(height, width, channels)` that images are resized to. Defaults to
            `None`: the folder holds shards.
        binarize, seed: as of `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: for an unknown split, and where there is too little to hold out.
    """
    if split not in _SPLITS:
        raise names.unknown_name("split", split, _SPLITS)
    root = pathlib.Path(path)
    own = (root / "train").is_dir()
    folder = root / split if own else root
    options = {"split": split, "binarize": binarize, "seed": seed}
    if (folder / _INDEX).is_file():
        numbers = None
        if not own:
            count = len(json.loads((folder / _INDEX).read_text()).get("shards", ()))
            if count < 3:
                raise ValueError(f"{folder} has {count} shards; three are needed to hold out two.")
            numbers = {"train": range(count - 2), "validation": [count - 2], "test": [count - 1]}
            numbers = numbers[split]
        return Shards(folder, only=numbers, **options)
    if image_shape is None:
        raise FileNotFoundError(
            f"{folder} holds no shards of kvae.datasets.write_shards. For image files give the "
            "shape that they are resized to (--image-shape 64 64 3)."
        )
    rows = None
    if not own:
        count = len(_image_files(folder))
        held_out = int(_HELD_OUT * count)
        if not held_out:
            raise ValueError(f"{folder} has {count} images; twenty are needed to hold out two.")
        parts = np.split(fixed_permutation(count, 0), [held_out, 2 * held_out])
        rows = dict(zip(("test", "validation", "train"), parts, strict=True))[split]
    return ImageFolder(folder, image_shape, rows=rows, **options)


def is_path(name: str) -> bool:
    """Whether a name is a folder's, and not that of a named dataset."""
    return os.sep in name


def _blocks(data):
    """Arrays `x` and labels (or `None`) of what `write_shards` takes."""
    if isinstance(data, Dataset):
        yield data.x, data.labels
        return
    if isinstance(data, Stream):
        for x, label in data._stored(256):
            yield x.numpy(), label.numpy() if data.has_labels else None
        return
    for block in data:
        x, labels = block if isinstance(block, tuple) else (block, None)
        x = np.asarray(x)
        yield x if x.dtype == np.uint8 else x.astype(np.float32), labels


def _feature(kind: str, value):
    import tensorflow as tf

    lists = {"bytes_list": tf.train.BytesList, "int64_list": tf.train.Int64List}
    return tf.train.Feature(**{kind: lists[kind](value=[value])})
