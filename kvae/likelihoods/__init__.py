"""Likelihoods p(x|z)."""

from kvae import parts
from kvae.likelihoods.likelihood import REGISTER, Likelihood, get, names, register

_PARTS = parts.import_parts(__name__, Likelihood)
globals().update(_PARTS)
__all__ = ["REGISTER", "get", "names", "register", *_PARTS]
