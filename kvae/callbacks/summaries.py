"""Files for TensorBoard, written by TensorFlow alone: `tf.summary.scalar` needs TensorBoard."""

import functools
import os
import pathlib

import numpy as np
import tensorflow as tf

from kvae.utils import io

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Writes scalars, histograms and pictures to an event file in a folder.

    Args:
        directory: str or path. Made when it is not there; each writer adds a file of its own.
    """

    def __init__(self, directory):
        self._full = functools.partial(
            io.disk_errors, directory, "the curves for TensorBoard end here"
        )
        with self._full():
            self._writer = tf.summary.create_file_writer(os.fsencode(directory))

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Writes numbers by name."""
        entries = [{"tag": name, "simple_value": value} for name, value in values.items()]
        self._write(entries, step)

    def histogram(self, name: str, values, step: int, bins: int = 30) -> None:
        """Writes how the numbers `values` are distributed."""
        values = np.asarray(values, np.float64).ravel()
        values = values[np.isfinite(values)]  # Of a training that diverges, what is left.
        if not len(values):
            return
        counts, edges = np.histogram(values, bins)
        histogram = {
            "min": values.min(),
            "max": values.max(),
            "num": len(values),
            "sum": values.sum(),
            "sum_squares": np.square(values).sum(),
            "bucket_limit": edges[1:],
            "bucket": counts,
        }
        self._write([{"tag": name, "histo": histogram}], step)

    def image(self, name: str, path, step: int) -> None:
        """Writes the picture of a .png file."""
        encoded = pathlib.Path(path).read_bytes()
        self._write([{"tag": name, "image": {"encoded_image_string": encoded}}], step)

    def flush(self) -> None:
        with self._full():
            self._writer.flush()

    def close(self) -> None:
        with self._full():
            self._writer.close()

    def _write(self, entries: list[dict], step: int) -> None:
        summary = tf.compat.v1.Summary(
            value=[tf.compat.v1.Summary.Value(**entry) for entry in entries]
        )
        with self._full(), self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)
