"""Runs a SavedModel's `serving_default` in OpenVINO: a second runtime, of another maker.

`python -m export.runtimes.open_vino FOLDER` answers the request in that folder (see `child`).
"""

import importlib.util
import pathlib
import sys

import numpy as np

from export.runtimes import child
from export.signatures import DECODE

__all__ = ["SIGNATURE", "installed"]

SIGNATURE = DECODE  # The only one that OpenVINO reads.


def installed() -> bool:
    """Tells whether OpenVINO is there, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def _open(path: pathlib.Path):
    import openvino

    core = openvino.Core()
    # In full precision, which is not its first choice on every processor.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)

    def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature != SIGNATURE:
            raise ValueError(f"OpenVINO runs {SIGNATURE!r} alone, not {signature!r}.")
        outputs = compiled(inputs)
        return {name: values for key, values in outputs.items() for name in key.get_names()}

    return run, {"runtime": f"OpenVINO {openvino.__version__.partition('-')[0]}"}


if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
