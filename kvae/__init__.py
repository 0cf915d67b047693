"""Variational autoencoders for Keras 3 and TensorFlow.

`import kvae` is cheap: TensorFlow is imported when a name that needs it is first used.
"""

import importlib
import os
import sys

from kvae.utils.exports import attach_stub
from kvae.version import __version__ as __version__

# Read by Keras when it is first imported; a Keras imported before with another backend is refused
# by `kvae.random`, which everything uses.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this when it is imported. On processors without AVX-512 it leaves oneDNN's
# kernels off, although convolutions train about a quarter faster with them;
# `TF_ENABLE_ONEDNN_OPTS=0` in the environment turns them off again.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# The names stand in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

if "keras" in sys.modules:
    # Who has Keras loaded pays little for the registration, and can then load models with it.
    importlib.import_module("kvae.models")
