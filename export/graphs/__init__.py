"""What each signature of `export.signatures` computes, as functions of TensorFlow."""
