"""Runs a TFLite file in LiteRT, without TensorFlow.

`python -m export.runtimes.litert FOLDER` answers the request in that folder (see `child`).
"""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from export.conditions import LEAST
from export.files import checksum, flatbuffer
from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from kvae.utils import optional

__all__ = ["METADATA", "Model", "facts", "require"]

METADATA = "kvae.json"


def require() -> None:
    """Raises `ModuleNotFoundError` when LiteRT is not installed."""
    optional.require("ai_edge_litert", purpose="A TFLite file")


@contextlib.contextmanager
def _without_information() -> Iterator[None]:
    """Leaves out what LiteRT's C++ side writes to standard error as `INFO:`, and nothing else.

    It has no setting for that, and writes to descriptor 2 itself.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            log.seek(0)
            for line in log:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)


class Model:
    """A loaded TFLite file of a fixed batch size.

    Args:
        path: str or path.

    Attributes:
        signatures: dict of str to `{"inputs": {name: {"dtype", "shape"}}, "outputs": …}`.
        operators: dict of str to int. The operators it uses, e.g. `"FULLY_CONNECTED"`, and the
            largest version of each; one that is not built in starts with `"CUSTOM "`.
        precision: str. `"float32"`, `"float16"` (weights), `"dynamic"` (8-bit weights) or
            `"int8"` (8-bit weights and activations).
        metadata: dict. What `export.tflite` wrote into the file about the model; empty in others.

    Raises:
        ValueError: if the file is damaged, is not the one that `export.tflite` wrote, or has no
            named signature.
    """

    def __init__(self, path: str | os.PathLike):
        from ai_edge_litert.interpreter import Interpreter

        data = pathlib.Path(path).read_bytes()
        if data[4:8] != b"TFL3":
            raise ValueError("it is not a TFLite file (no TFL3 mark)")
        checksum.check(data)
        # The interpreter maps the file, and checks its structure before anything else.
        with _without_information():
            self._interpreter = Interpreter(model_path=str(path))
            self._interpreter.allocate_tensors()
        self.signatures = {
            name: self._describe(name) for name in self._interpreter.get_signature_list()
        }
        if not self.signatures:
            raise ValueError("it has no named signature")
        content = flatbuffer.read(data)
        self.operators = flatbuffer.operators(content)
        self.precision = flatbuffer.precision(content)
        self.metadata = json.loads(flatbuffer.metadata(content, METADATA) or b"{}")

    def _describe(self, name: str) -> dict:
        runner = self._interpreter.get_signature_runner(name)
        return {
            kind: {
                key: {"dtype": np.dtype(item["dtype"]).name, "shape": item["shape"].tolist()}
                for key, item in details.items()
            }
            for kind, details in (
                ("inputs", runner.get_input_details()),
                ("outputs", runner.get_output_details()),
            )
        }

    def _check(self, name: str, array: np.ndarray) -> None:
        kinds = self.metadata.get("modalities")
        if not np.isfinite(array).all():
            absent = "Give a number below -1e38 for what is absent."
            advice = absent if kinds else "Remove or replace them."
            raise ValueError(f"`{name}` holds NaN or infinite values. {advice}")
        if name == "label" and self.metadata.get("conditions"):
            return
        if kinds:
            there = array[array >= LEAST]  # The others are absent.
            self._check_range(name, there, kinds.get(name, {}))
            return
        one_hot = ((array == 0) | (array == 1)).all() and (array.sum(axis=-1) == 1).all()
        if name == "label" and not one_hot:
            raise ValueError("`label` is one-hot: 1 for the class of a row, and 0 for all others.")
        if name == "image":
            self._check_range(name, array, self.metadata)

    def _check_range(self, name: str, array: np.ndarray, facts: dict) -> None:
        low, high = facts.get("input_range", (None, None))
        if not array.size:
            return
        if (low is not None and array.min() < low) or (high is not None and array.max() > high):
            ends = ["-inf" if low is None else f"{low:g}", "inf" if high is None else f"{high:g}"]
            raise ValueError(
                f"`{name}` has values from {array.min():g} to {array.max():g}, outside the support "
                f"[{', '.join(ends)}] of {self.metadata['likelihood']}."
            )
        if facts.get("whole_numbers") and not np.array_equal(array, np.round(array)):
            raise ValueError(f"`{name}` holds whole numbers, of {self.metadata['likelihood']}.")

    def _runner(self, signature: str):
        return self._interpreter.get_signature_runner(signature)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one signature on any number of rows, in batches of the file's own size.

        The last batch is filled up with its first row, and the surplus dropped.

        A TFLite file has no errors of its own: it answers inputs that the model does not take with
        numbers like any others. They are refused here where the metadata exclude them.

        Raises:
            ValueError: for an unknown signature, inputs of other names or of different numbers of
                rows, numbers that are not finite, images outside of the model's range, and labels
                that are not one-hot.
        """
        if signature not in self.signatures:
            known = ", ".join(self.signatures)
            raise ValueError(f"The file has no signature {signature!r}. It has: {known}.")
        wanted = self.signatures[signature]["inputs"]
        if set(inputs) != set(wanted):
            raise ValueError(f"Signature {signature!r} takes the inputs {', '.join(wanted)}.")
        for name, array in inputs.items():
            there = inputs["mask"] > 0.5 if name == "image" and "mask" in inputs else ...
            self._check(name, array[there])
        sizes = {item["shape"][0] for item in wanted.values()}
        rows = {len(array) for array in inputs.values()}
        if len(sizes) != 1 or len(rows) != 1:
            raise ValueError(f"The inputs of signature {signature!r} differ in their rows.")
        size, count = sizes.pop(), rows.pop()
        runner = self._runner(signature)
        parts = []
        for start in range(0, count, size):
            index = np.arange(start, start + size)
            index[index >= count] = start
            parts.append(runner(**{name: array[index] for name, array in inputs.items()}))
        return {name: np.concatenate([p[name] for p in parts])[:count] for name in parts[0]}


def facts(model: Model) -> dict:
    """Returns what the process tells of a file."""
    return {
        "runtime": f"LiteRT {importlib.metadata.version('ai-edge-litert')}",
        "signatures": model.signatures,
        "operators": model.operators,
        "precision": model.precision,
        "metadata": model.metadata,
    }


def _open(path: pathlib.Path):
    model = Model(path)
    return model.run, facts(model)


RUNTIMES.add("litert", Runtime("LiteRT", "export.runtimes.litert", ".tflite", require))

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
