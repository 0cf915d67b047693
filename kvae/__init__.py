"""Variational autoencoders for Keras 3 and TensorFlow.

`import kvae` is cheap: TensorFlow is imported when a name that needs it is first used.
"""

import importlib
import os
import sys

from kvae.version import __version__

# Read by Keras when it is first imported; a Keras imported before with another backend is refused
# by `kvae.random`, which everything uses.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this when it is imported. On processors without AVX-512 it leaves oneDNN's
# kernels off, although convolutions train about a quarter faster with them;
# `TF_ENABLE_ONEDNN_OPTS=0` in the environment turns them off again.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_MODULES = (
    "callbacks",
    "datasets",
    "distributed",
    "distributions",
    "divergences",
    "evaluation",
    "flows",
    "layers",
    "likelihoods",
    "models",
    "objectives",
    "plots",
    "posteriors",
    "priors",
    "random",
    "samplers",
    "schedules",
    "studies",
    "utils",
)
_NAMES = {
    "VAE": "kvae.models",
    "Sampling": "kvae.layers",
    "load_model": "kvae.models.loading",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name):
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"kvae.{name}")
    raise AttributeError(f"module 'kvae' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)


if "keras" in sys.modules:
    # Who has Keras loaded pays little for the registration, and can then load models with it.
    importlib.import_module("kvae.models")
