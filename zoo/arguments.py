"""Checks of the arguments of `zoo.build`, made once, from what each builder declares."""

import inspect
import math
from collections.abc import Callable

import keras

from kvae import schedules
from kvae.utils import names
from kvae.utils.arguments import number, whole, whole_or_none

__all__ = ["checked", "declares"]

_PARTS = ("posterior", "prior", "likelihood", "objective", "seed", "num_classes")
_ACTIVATIONS = {
    name
    for name in vars(keras.activations)
    if not name.startswith("_") and name not in ("deserialize", "get", "serialize")
}


def declares(*, from_0=(), filled=(), **makes: tuple[str, ...]) -> Callable:
    """Declares of a builder what its signature does not say.

    The signature gives the names, and by the type of its default what each argument is: a tuple
    stands for a sequence of whole numbers of at least 1, an int for one of them, a float for a
    number of at least 0, a str for an activation, a bool for itself.

    Args:
        from_0: tuple of str. Whole numbers that may be 0.
        filled: tuple of str. Sequences that have at least one entry.
        **makes: for a part of `kvae.VAE`, e.g. `objective`, the arguments that the builder makes it
            from. They would be of no use beside a part of the caller's own.
    """

    def declare(builder):
        builder.from_0, builder.filled, builder.makes = from_0, filled, makes
        return builder

    return declare


def checked(architecture: str, builder: Callable, arguments: dict) -> dict:
    """Returns the arguments of a builder, with Python's own numbers and tuples in them.

    Raises:
        ValueError: for a name that the builder does not take, with those that it takes; for a value
            of another kind; and for a part beside the arguments that make it.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for name in arguments:
        if name not in defaults and name not in _PARTS:
            raise names.unknown_name(f"argument of {architecture}", name, {*defaults, *_PARTS})
    for part, makers in getattr(builder, "makes", {}).items():
        both = [name for name in makers if name in arguments and part in arguments]
        if both:
            raise ValueError(
                f"`{both[0]}` is an argument of {architecture}'s own {part}, and `{part}` replaces "
                "that: give one of them, not both."
            )
    return {
        name: _value(builder, name, value, defaults.get(name)) for name, value in arguments.items()
    }


def _value(builder, name: str, value, default):
    """Checks one argument, by the type of its default."""
    if name == "num_classes":
        return whole_or_none(name, value)
    if name == "seed":
        return whole(name, value, -math.inf)
    if name in _PARTS:
        return value  # `kvae.VAE` checks it.
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` is True or False, not {value!r}.")
        return value
    if isinstance(default, tuple) or name == "filters":
        if value is None and default is None:
            return None
        return _sequence(name, value, name in getattr(builder, "filled", ()))
    if isinstance(default, int):
        return whole(name, value, 0 if name in getattr(builder, "from_0", ()) else 1)
    if isinstance(default, float):
        scheduled = isinstance(value, dict) or schedules.is_schedule(value)
        if scheduled and name in getattr(builder, "makes", {}).get("objective", ()):
            return value
        return number(name, value, 0.0)
    if isinstance(default, str) and isinstance(value, str):
        known = _ACTIVATIONS if name == "code_activation" else {*_ACTIVATIONS, "gated"}
        if value not in known:
            raise names.unknown_name(name.replace("_", " "), value, known)
    return value


def _sequence(name: str, value, filled: bool) -> tuple[int, ...]:
    try:
        found = tuple(whole(name, size) for size in value)
    except (TypeError, ValueError):
        found = None
    if found is None or (filled and not found):
        empty = "" if filled else ", or ()"
        raise ValueError(
            f"`{name}` is a sequence of at least one whole number, each at least 1{empty}, not "
            f"{value!r}."
        )
    return found
