"""The insides of exported files, read and changed without TensorFlow."""
