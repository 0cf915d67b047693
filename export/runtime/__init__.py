"""Runs exported files without TensorFlow's Python: the part of `export` that a server can share.

`signatures` reads what a SavedModel offers, `c_api` runs it in TensorFlow's C++ runtime, `litert`
runs a TFLite file, and `child` puts either of them into a process of its own. None of these
modules imports TensorFlow, so a file that runs here does not lean on the Python that wrote it.
"""
