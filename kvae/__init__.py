"""Variational autoencoders for Keras 3 and TensorFlow.

`import kvae` is cheap: TensorFlow is imported when a name that needs it is first used.
"""

import importlib
import os

from kvae.version import __version__

# Read by Keras when it is first imported; a Keras imported before with another backend is refused
# by `kvae.random`, which everything uses.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

_MODULES = (
    "datasets",
    "divergences",
    "evaluation",
    "io",
    "layers",
    "likelihoods",
    "objectives",
    "plots",
    "posteriors",
    "priors",
    "random",
    "report",
    "training",
)
_NAMES = {
    "VAE": "kvae.models",
    "Sampling": "kvae.layers",
    "DiagonalGaussian": "kvae.posteriors",
    "Delta": "kvae.posteriors",
    "StandardNormal": "kvae.priors",
    "Bernoulli": "kvae.likelihoods",
    "GaussianLikelihood": "kvae.likelihoods",
    "ELBO": "kvae.objectives",
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
