"""Runs a SavedModel's `serving_default` in OpenVINO: a second runtime, of another maker.

`python -m export.runtimes.open_vino FOLDER` answers the request in that folder (see `child`).
"""

import pathlib
import sys

import numpy as np

from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from export.signatures import DECODE
from kvae.utils import optional

__all__ = ["require"]


def require() -> None:
    """Raises `ModuleNotFoundError` when OpenVINO is not installed."""
    optional.require("openvino", purpose="Running a SavedModel in OpenVINO")


def _open(path: pathlib.Path):
    import openvino

    core = openvino.Core()
    # Full precision is not OpenVINO's first choice on every processor.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)

    def run(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature != DECODE:
            raise ValueError(f"OpenVINO runs {DECODE!r} alone, not {signature!r}.")
        outputs = compiled(inputs)
        return {name: values for key, values in outputs.items() for name in key.get_names()}

    return run, {"runtime": f"OpenVINO {openvino.__version__.partition('-')[0]}"}


RUNTIMES.add(
    "openvino",
    Runtime("OpenVINO", "export.runtimes.open_vino", "", require, only=DECODE, second=True),
)

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
