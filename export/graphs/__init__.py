"""The computations of the signatures in `export.signatures`, as functions of TensorFlow."""
