"""The same images in every form that `fit` takes."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

import kvae
from benchmarks.cases import HOOK

__all__ = ["BatchHook", "source"]


class BatchHook(keras.callbacks.Callback):
    """A callback of a user's own that looks at every step."""

    def on_train_batch_end(self, batch, logs=None):
        self.last = batch


class _Batches(keras.utils.PyDataset):
    def __init__(self, x, batch: int):
        super().__init__()
        self._x, self._batch = x, batch

    def __len__(self):
        return len(self._x) // self._batch

    def __getitem__(self, index):
        return (self._x[index * self._batch : (index + 1) * self._batch],)


def source(variant: str, images, batch: int, folder: pathlib.Path) -> tuple:
    """Returns the data of a variant, and the arguments of `fit` that go with them.

    Args:
        variant: str. Of `benchmarks.cases.SOURCES`, `HOOK`, or another, for data in memory.
        images: uint8 array `[n, 28, 28, 1]`.
        batch: int. n is a multiple of it.
        folder: path. An empty folder to write files to.
    """
    whole = {"batch_size": batch}
    if "folder" in variant:
        for number, image in enumerate(images):
            contents = tf.io.encode_png(image).numpy()
            (folder / f"{number}.png").write_bytes(contents)
        if "streamed" in variant:
            return kvae.datasets.ImageFolder(folder, images.shape[1:]), whole
        return kvae.datasets.from_folder(folder, images.shape[1:]), whole
    if variant == HOOK:
        return kvae.datasets.Dataset(images), {**whole, "callbacks": [BatchHook()]}
    x = images.astype("float32") / 255
    if "tf.data" in variant:
        data = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x), seed=0).batch(batch)
        return data.prefetch(2), {}
    if "generator" in variant:
        return _endless(x, batch), {"steps_per_epoch": len(x) // batch}
    if "PyDataset" in variant:
        return _Batches(x, batch), {}
    return kvae.datasets.Dataset(images), whole


def _endless(x, batch: int):
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(len(x))
        for start in range(0, len(x), batch):
            yield (x[order[start : start + batch]],)
