"""Image files that are read while a model trains."""

import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets.base_stream import PARALLEL, Stream
from kvae.datasets.batches import ordered_batches
from kvae.datasets.decoding import read_images
from kvae.datasets.folders import (
    MEMORY,
    check_choices,
    checked_shape,
    image_files,
    labels_of,
)
from kvae.datasets.schema import Schema

__all__ = ["ImageFolder"]


class ImageFolder(Stream):
    """PNG and JPEG files below a folder, read when they are needed.

    The pixels are those of `from_folder`, which reads all of them at once. Several batches are read
    at the same time. What has been decoded is kept as uint8, up to half a gigabyte of pixels, so
    that later epochs read only the files beyond that.

    Args:
        path: str or path. The folder.
        image_shape, labels, fit, rows, class_names: as in `from_folder`.
        split, binarize, noise, seed: as for `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: as in `from_folder`; a file that cannot be read is named when its turn comes.

    Example:

    ```python
    faces = kvae.datasets.ImageFolder("faces", (64, 64, 3), fit="crop")
    vae = zoo.build("conv_vae", event_shape=(64, 64, 3))
    vae.compile("adam")
    vae.fit(faces, batch_size=128, epochs=20)
    ```
    """

    def __init__(
        self,
        path: str | os.PathLike,
        image_shape: Sequence[int],
        labels: str = "none",
        *,
        fit: str = "stretch",
        rows: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ):
        root = pathlib.Path(path)
        files = image_files(root)
        check_choices(labels, fit)
        numbers, names = np.zeros(len(files), np.int64), ()
        if labels != "none":
            numbers, names = labels_of(root, files, class_names, labels == "some")
        rows = np.arange(len(files)) if rows is None else np.asarray(rows)
        self.files, self.labels = [files[row] for row in rows], numbers[rows]
        self.fit = fit
        super().__init__(
            checked_shape(image_shape),
            np.uint8,
            labels != "none",
            name=root.resolve().name,
            split=split,
            binarize=binarize,
            noise=noise,
            seed=seed,
        )
        self.schema = Schema(self.name, class_names=names, fit=fit)
        kept = min(len(self.files), MEMORY // math.prod(self.event_shape))
        # The memory of rows that have not been read is not taken from the system.
        self._kept = np.empty((kept, *self.event_shape), np.uint8)
        self._known = np.zeros(len(self.files), bool)

    def __len__(self) -> int:
        return len(self.files)

    def _ordered(self, batch_size, maker, part, **order):
        import tensorflow as tf

        numbers = tf.constant(self.labels, tf.int32)

        def batch(rows, epoch_seed, step):
            gathered = {"x": self._read(rows), "labels": tf.gather(numbers, rows)}
            return maker.make(gathered, epoch_seed, step)

        return ordered_batches(
            len(self),
            batch_size,
            batch,
            seed=self.seed,
            part=part,
            parallel=PARALLEL,
            **order,
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
            parallel=PARALLEL,
        )

    def _read(self, rows):
        import tensorflow as tf

        # In Python, so that an error names the file. The decoding itself runs in parallel.
        x = tf.numpy_function(self._pixels, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(x, (None, *self.event_shape))

    def _pixels(self, rows: np.ndarray) -> np.ndarray:
        """Returns the pixels of some files, of those that are kept without reading them again."""
        known = self._known[rows]
        if known.all():
            return self._kept[rows]
        x = np.empty((len(rows), *self.event_shape), np.uint8)
        x[known] = self._kept[rows[known]]
        files = [self.files[row] for row in rows[~known]]
        x[~known] = read_images(files, self.event_shape, self.fit)
        new = ~known & (rows < len(self._kept))
        self._kept[rows[new]] = x[new]
        self._known[rows[new]] = True  # Another thread may ask for these rows at the same time.
        return x
