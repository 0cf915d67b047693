"""Priors p(z)."""

from kvae import parts
from kvae.priors.prior import REGISTER, Prior, get, names, register

_PARTS = parts.import_parts(__name__, Prior)
globals().update(_PARTS)
__all__ = ["REGISTER", "get", "names", "register", *_PARTS]
