"""Training objectives."""

from kvae import parts
from kvae.objectives.objective import REGISTER, Objective, get, names, register

_PARTS = parts.import_parts(__name__, Objective)
globals().update(_PARTS)
__all__ = ["REGISTER", "get", "names", "register", *_PARTS]
