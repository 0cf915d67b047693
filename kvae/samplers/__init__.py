"""Densities that are fitted to the codes of a trained model, so that it samples better, or at all.

A sampler's result is a prior (`as_prior`), and the model with that prior (`model`) is a `kvae.VAE`
like any other.
"""

from kvae import parts
from kvae.samplers.sampler import REGISTER, Sampler, aggregate_codes, get, names, register

_SAMPLERS = parts.import_parts(__name__, Sampler)
globals().update(_SAMPLERS)
__all__ = ["REGISTER", "aggregate_codes", "get", "names", "register", *_SAMPLERS]
