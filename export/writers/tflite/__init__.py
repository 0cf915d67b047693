"""Writes TFLite files: `writer` has the public function, and `parts` says what is in a file."""
