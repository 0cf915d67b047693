"""Conditions: properties of an example that a conditional model is given, if they are known."""

from kvae import parts
from kvae.conditions.condition import REGISTER, Condition, get, names, register
from kvae.conditions.conditions import Conditions, of_model

_PARTS = parts.import_parts(__name__, Condition)
globals().update(_PARTS)
__all__ = ["REGISTER", "Conditions", "get", "names", "of_model", "register", *_PARTS]
