"""Turns a SavedModel of a fixed batch size into a TFLite file, here or in a process of its own.

`python -m export.writers.tflite.converter FOLDER` answers the request in that folder (see
`export.runtimes.child`).
"""

import os
import pathlib
import re
import sys

import numpy as np

__all__ = ["convert", "reason"]


def convert(
    path: str | os.PathLike,
    precision: str,
    signature: str,
    samples: dict[str, np.ndarray] | None = None,
) -> bytes:
    """Converts one signature of the SavedModel at `path`, with built-in operators only.

    Args:
        path: str or path. The folder.
        precision: str. `"float32"`, `"float16"`, `"dynamic"` or `"int8"`.
        signature: str. Its name.
        samples: dict of arrays `[n, ...]`, for `"int8"`. Representative inputs by name; they are
            cut into batches of the signature's size (the last is filled up from the start).
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[signature])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: _batches(path, signature, samples)
    return converter.convert()


def _batches(path, signature: str, samples: dict[str, np.ndarray]):
    from export.files import meta_graph

    first = next(iter(samples))
    size = meta_graph.read_signatures(path)[signature].inputs[first].shape[0]
    count = len(samples[first])
    for start in range(0, count, size):
        rows = np.arange(start, start + size) % count
        yield signature, {name: array[rows] for name, array in samples.items()}


def reason(error: Exception) -> str:
    """Finds the line that says why, in the converter's pages of graph nodes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marks = (r"(Flex|Custom) ops:", r"Op type not registered", r"error:")
    for mark in marks:
        for line in lines:
            if re.search(mark, line):
                return line.split("error: ")[-1][:300]
    return (lines or [type(error).__name__])[0][:300]


def _open(path: pathlib.Path):
    def run(precision, inputs):
        try:
            signature = str(inputs.pop("signature"))
            data = convert(path, precision, signature, inputs)
        except Exception as error:
            raise ValueError(reason(error)) from error
        return {"file": np.frombuffer(data, np.uint8)}

    return run, {}


if __name__ == "__main__":
    from export.runtimes import child

    sys.exit(child.serve(sys.argv[1:], _open))
