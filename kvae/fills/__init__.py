"""Fills: what an encoder sees in the place of values that were not observed."""

from kvae import parts
from kvae.fills.fill import REGISTER, Fill, get, names, register

_PARTS = parts.import_parts(__name__, Fill)
globals().update(_PARTS)
__all__ = ["REGISTER", "get", "names", "register", *_PARTS]
