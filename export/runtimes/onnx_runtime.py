"""Runs an ONNX file in ONNX Runtime, without TensorFlow.

`python -m export.runtimes.onnx_runtime FOLDER` answers the request in that folder (see `child`).
"""

import json
import os
import pathlib
import sys

import numpy as np

from export.files import checksum
from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from export.signatures import DECODE
from kvae.utils import optional

__all__ = ["METADATA", "Model", "require"]

METADATA = "kvae.json"
_TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}


def require() -> None:
    """Raises `ModuleNotFoundError` when ONNX Runtime is not installed."""
    optional.require("onnxruntime", purpose="Running an ONNX file")


class Model:
    """A loaded ONNX file, of any batch size.

    Args:
        path: str or path.

    Attributes:
        signatures: dict of str to `{"inputs": {name: {"dtype", "shape"}}, "outputs": …}`, of one
            signature: `serving_default` or, where the file says so, another.
        metadata: dict. What `export.onnx` wrote into the file about the model; empty in others.

    Raises:
        ValueError: if the file is not the one that `export.onnx` wrote.
    """

    def __init__(self, path: str | os.PathLike):
        import onnxruntime

        checksum.check(pathlib.Path(path).read_bytes())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        found = self._session.get_modelmeta().custom_metadata_map
        self.metadata = json.loads(found.get(METADATA, "{}"))
        name = self.metadata.get("signature", DECODE)
        self.signatures = {
            name: {
                "inputs": {item.name: _describe(item) for item in self._session.get_inputs()},
                "outputs": {item.name: _describe(item) for item in self._session.get_outputs()},
            }
        }

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the signature on any number of rows."""
        if signature not in self.signatures:
            known = ", ".join(self.signatures)
            raise ValueError(f"The file has no signature {signature!r}. It has: {known}.")
        names = list(self.signatures[signature]["outputs"])
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


def _describe(item) -> dict:
    shape = [size if isinstance(size, int) else None for size in item.shape]
    return {"dtype": _TYPES.get(item.type, item.type), "shape": shape}


def _open(path: pathlib.Path):
    import onnxruntime

    model = Model(path)
    facts = {
        "runtime": f"ONNX Runtime {onnxruntime.__version__}",
        "signatures": model.signatures,
        "precision": "float32",
        "metadata": model.metadata,
    }
    return model.run, facts


RUNTIMES.add(
    "onnx_runtime", Runtime("ONNX Runtime", "export.runtimes.onnx_runtime", ".onnx", require)
)

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
