"""Writers of exported files, one module or folder for each format.

The functions are public as `export.saved_model`, `export.tflite`, `export.onnx` and `export.web`.
The modules stand in this package because a module `export.tflite` would replace the function of
that name as soon as it was imported.
"""
