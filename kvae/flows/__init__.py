"""Normalizing flows: invertible maps of z whose log-determinants are known."""

from kvae import parts
from kvae.flows.flow import REGISTER, Flow, chain, get, names, register

_PARTS = parts.import_parts(__name__, Flow)
globals().update(_PARTS)
__all__ = ["REGISTER", "chain", "get", "names", "register", *_PARTS]
