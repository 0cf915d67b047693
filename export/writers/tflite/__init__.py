"""Writes TFLite files: `writer` has the public function, and `parts` says what is in a file."""

from export.writers.tflite import writer as writer  # It registers the format.
