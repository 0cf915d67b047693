"""Reads and changes the insides of exported files, without TensorFlow."""
