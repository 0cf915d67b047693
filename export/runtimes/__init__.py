"""Runs exported files without TensorFlow's Python, in processes of their own.

`c_api` runs a SavedModel in TensorFlow's C++ runtime, `open_vino` in OpenVINO; `litert` and
`litert_gpu` run a TFLite file; `onnx_runtime` runs an ONNX file. `child` starts the processes. None
of these modules imports TensorFlow, so what runs here does not depend on the Python that wrote it.
"""
