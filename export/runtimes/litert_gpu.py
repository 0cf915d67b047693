"""Runs a TFLite file on LiteRT's GPU accelerator, as a whole or not at all.

`python -m export.runtimes.litert_gpu FOLDER` answers the request in that folder (see `child`). It
asks for a Vulkan driver, which may be one in software: that shows which graphs the accelerator
takes, and their numbers, and not how fast a device is.
"""

import pathlib
import sys

import numpy as np

from export.runtimes import child, litert
from export.runtimes.register import RUNTIMES, Runtime

__all__ = ["Model"]


class Model(litert.Model):
    """A loaded TFLite file that runs on the GPU, in 32 bits, with the methods of `litert.Model`.

    Raises:
        ValueError: if the file is damaged, or the accelerator leaves out a part of it.
        RuntimeError: if it takes none of it, or there is no driver.
    """

    def __init__(self, path):
        from ai_edge_litert import compiled_model

        super().__init__(path)
        options = compiled_model.Options(
            # There is no other accelerator to fall back on.
            hardware_accelerators=compiled_model.HardwareAccelerator.GPU,
            gpu_options=compiled_model.GpuOptions(enforce_f32=True),
        )
        self._compiled = compiled_model.CompiledModel.from_file(str(path), options=options)
        if not self._compiled.is_fully_accelerated():
            raise ValueError("the GPU accelerator does not take all of it")

    def _runner(self, signature):
        def run(**inputs):
            given = {}
            for name, array in inputs.items():
                given[name] = self._compiled.create_input_buffer_by_name(signature, name)
                given[name].write(np.ascontiguousarray(array))
            found = {
                name: self._compiled.create_output_buffer_by_name(signature, name)
                for name in self.signatures[signature]["outputs"]
            }
            self._compiled.run_by_name(signature, given, found)
            return {name: self._read(signature, name, found[name]) for name in found}

        return run

    def _read(self, signature, name, buffer):
        info = self.signatures[signature]["outputs"][name]
        flat = buffer.read(int(np.prod(info["shape"])), np.dtype(info["dtype"]).type)
        return np.array(flat).reshape(info["shape"])


def _open(path: pathlib.Path):
    model = Model(path)
    facts = litert.facts(model)
    return model.run, {**facts, "runtime": f"{facts['runtime']}, GPU"}


RUNTIMES.add(
    "litert_gpu",
    Runtime("LiteRT", "export.runtimes.litert_gpu", ".tflite", litert.require, accelerator="gpu"),
)

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
