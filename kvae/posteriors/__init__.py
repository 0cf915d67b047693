"""Approximate posteriors q(z|x)."""

from kvae import parts
from kvae.posteriors.posterior import REGISTER, Posterior, get, names, register

_PARTS = parts.import_parts(__name__, Posterior)
globals().update(_PARTS)
__all__ = ["REGISTER", "get", "names", "register", *_PARTS]
