"""Kinds of arguments that architectures take. Each annotation says how its values are checked."""

import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import keras

from kvae import schedules
from kvae.utils import names
from kvae.utils.arguments import number, whole, whole_or_none

__all__ = [
    "Activation",
    "Amount",
    "Check",
    "Count",
    "CountFrom0",
    "CountOrNone",
    "EventShape",
    "Filters",
    "KerasActivation",
    "Seed",
    "Weight",
    "Widths",
    "check_of",
]

Check = Callable[[str, Any], Any]  # From an argument's name and value to the checked value.

_ACTIVATIONS = {
    name
    for name in vars(keras.activations)
    if not name.startswith("_") and name not in ("deserialize", "get", "serialize")
}


def _flag(name: str, value) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` is True or False, not {value!r}.")
    return value


def _sequence(name: str, value, *, may_be_empty: bool) -> tuple[int, ...]:
    try:
        found = tuple(whole(name, size) for size in value)
    except (TypeError, ValueError):
        found = None
    if found is None or not (found or may_be_empty):
        empty = ", or ()" if may_be_empty else ""
        raise ValueError(
            f"`{name}` is a sequence of at least one whole number, each at least 1{empty}, not "
            f"{value!r}."
        )
    return found


def _weight(name: str, value):
    if isinstance(value, dict) or schedules.is_schedule(value):
        return value
    return number(name, value, 0.0)


def _activation(known: set[str], name: str, value):
    if isinstance(value, str) and value not in known:
        raise names.unknown_name(name.replace("_", " "), value, known)
    return value


_filled = functools.partial(_sequence, may_be_empty=False)

EventShape = Annotated[Sequence[int], _filled]
"""Shape of one example: at least one whole number, each at least 1."""

Filters = Annotated[Sequence[int], _filled]
"""Channels of convolutions, one for each layer."""

Widths = Annotated[Sequence[int], functools.partial(_sequence, may_be_empty=True)]
"""Widths of dense layers; `()` for none."""

Count = Annotated[int, whole]
"""A whole number of at least 1."""

CountOrNone = Annotated[int | None, whole_or_none]
"""A whole number of at least 1, or `None`."""

CountFrom0 = Annotated[int, functools.partial(whole, least=0)]
"""A whole number of at least 0."""

Seed = Annotated[int, functools.partial(whole, least=-math.inf)]
"""Any whole number."""

Amount = Annotated[float, functools.partial(number, least=0.0)]
"""A finite number of at least 0."""

Weight = Annotated[float | Mapping | Callable, _weight]
"""The weight of a term in the loss: a number of at least 0, or one of `kvae.schedules`."""

KerasActivation = Annotated[str, functools.partial(_activation, _ACTIVATIONS)]
"""The name of a Keras activation."""

Activation = Annotated[str, functools.partial(_activation, _ACTIVATIONS | {"gated"})]
"""The name of a Keras activation, or `"gated"` (see `kvae.layers`)."""

_CHECKS: dict[Any, Check] = {bool: _flag, int: whole, float: functools.partial(number, least=0.0)}


def check_of(annotation) -> Check | None:
    """Returns the check that an annotation asks for, or `None` where it asks for none.

    Args:
        annotation: one of this module's kinds; `bool`, `int` (at least 1) or `float` (at least 0);
            or one of these with `| None`. Other annotations ask for no check.
    """
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        check = check_of(inner[0]) if len(inner) == 1 else None
        if check is None:
            return None
        return lambda name, value: None if value is None else check(name, value)
    if typing.get_origin(annotation) is Annotated:
        return next((one for one in annotation.__metadata__ if callable(one)), None)
    return _CHECKS.get(annotation)
