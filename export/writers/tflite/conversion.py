"""Converts the parts of a model to TFLite, one file for each."""

import contextlib
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from export import example_inputs
from export.files import flatbuffer
from export.graphs import endpoints
from export.runtimes import child
from export.signatures import PRIOR, Call
from export.writers.tflite import accelerator, converter
from export.writers.tflite.parts import Part, prior_error

__all__ = ["convert"]

# How far weights in 16 bits may move an image in [0, 1], or, relatively, larger numbers.
_HALF_ERROR = 1e-3
_ROWS = 256  # Of inputs by which that is measured.


def convert(model, part: Part) -> bytes:
    """Returns the content of a TFLite file with a part of a model."""
    network = part.network
    rewriting = contextlib.nullcontext() if network is None else accelerator.rewritten(network)
    # `from_concrete_functions` can lose a Keras model's weights silently; a SavedModel does not.
    with tempfile.TemporaryDirectory(prefix="kvae-tflite-") as folder:
        try:
            with rewriting:
                endpoints.write({part.name: part.endpoint}, folder)
            if part.samples is None:
                data = converter.convert(folder, part.precision, part.name)
                return _widened(model, part, folder, data)
        except Exception as error:
            why = converter.reason(error)
        else:
            # Calibration runs the network in TensorFlow's old interpreter, which crashes on a loop
            # such as an LSTM's, so it runs in another process.
            inputs = {"signature": np.array(part.name), **part.samples}
            call = Call(part.precision, inputs)
            answer = child.request(
                "export.writers.tflite.converter", folder, [call], timeout=3600.0
            )
            if answer.failure:
                why = f"{answer.failure} while calibrating (recurrent layers need unroll=True)"
            elif not answer.results[0].error:
                return answer.results[0].outputs["file"].tobytes()
            else:
                why = answer.results[0].error
    if part.name == PRIOR:
        raise prior_error(model, why)
    raise ValueError(
        f"The {part.title} of {model.name!r} does not convert to TFLite's built-in operators "
        f"at precision {part.precision!r}: {why}. Use another precision, or other layers."
    )


def _widened(model, part: Part, folder: str, data: bytes) -> bytes:
    """Keeps weights in 32 bits where 16 are too few, the smallest first."""
    if part.precision != "float16":
        return data
    inputs = example_inputs.for_graph(part.endpoint.inputs, _ROWS, model)
    want = part.endpoint.function(*map(tf.constant, inputs.values()))
    want = {name: np.asarray(value) for name, value in want.items()}
    content = flatbuffer.read(data)
    waiting, full = flatbuffer.halves(content), None
    while True:
        file = pathlib.Path(folder) / "half.tflite"
        file.write_bytes(data)
        call = Call(part.name, inputs)
        answer = child.request("export.runtimes.litert", file, [call], timeout=300.0)
        if not answer.results or answer.results[0].error:
            return data  # `_check` says why.
        have = answer.results[0].outputs
        errors = [
            np.abs(have[name] - value).max() / max(1.0, np.abs(value).max())
            for name, value in want.items()
        ]
        if max(errors) <= _HALF_ERROR or not waiting:
            return data
        if full is None:
            full = flatbuffer.read(converter.convert(folder, "float32", part.name))
        while waiting and not flatbuffer.widen(content, waiting.pop(0), full):
            pass
        data = flatbuffer.pack(content)
