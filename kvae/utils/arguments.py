"""Checks of the numbers that functions are given, and their form for configurations."""

import functools
import inspect
import math
import operator

import numpy as np

__all__ = ["number", "plain", "taken", "whole", "whole_or_none", "with_plain_arguments"]


def whole(name: str, value, least: float = 1) -> int:
    """Returns a whole number as an `int`.

    Args:
        name: str. The argument's name, for the error.
        value: int of Python, NumPy or TensorFlow; not a bool, and not a float.
        least: int, or `-math.inf` for none. The smallest number that is allowed. Defaults to `1`.

    Raises:
        ValueError: for anything else.

    Example:

    ```python
    whole("batch_size", np.int64(128))    # 128
    whole("batch_size", 2.5)              # `batch_size` is a whole number of at least 1, not 2.5.
    ```
    """
    try:
        if type(value).__name__ in ("bool", "bool_"):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        bound = "" if least == -math.inf else f" of at least {least}"
        raise ValueError(f"`{name}` is a whole number{bound}, not {value!r}.")
    return found


def whole_or_none(name: str, value, least: int = 1) -> int | None:
    """Returns what `whole` does, and `None` for `None`."""
    return None if value is None else whole(name, value, least)


def number(name: str, value, least: float = -math.inf, most: float = math.inf) -> float:
    """Returns a finite number as a `float`.

    Args:
        name: str. The argument's name, for the error.
        value: int or float of Python, NumPy or TensorFlow; not a bool.
        least, most: float. The range that is allowed, both ends included. Default to no bounds.

    Raises:
        ValueError: for anything else, NaN and infinite values included.
    """
    try:
        if type(value).__name__ in ("bool", "bool_", "str"):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not (math.isfinite(found) and least <= found <= most):
        bounds = [f" of at least {least:g}"] if least > -math.inf else []
        bounds += [f" of at most {most:g}"] if most < math.inf else []
        raise ValueError(f"`{name}` is a finite number{' and'.join(bounds)}, not {value!r}.")
    return found


def plain(value):
    """Returns a scalar of NumPy or TensorFlow as a number of Python; other values as they are.

    Scalars in tuples, lists and dicts are converted as well. Arrays of one axis or more stay.

    Example:

    ```python
    plain(np.int64(4)), plain((np.int64(8), np.float32(0.5)))    # (4, (8, 0.5))
    ```
    """
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if type(value).__module__.startswith("tensorflow.") and hasattr(value, "numpy"):
        found = value.numpy() if getattr(value, "shape", None) == () else value
        return found.item() if isinstance(found, np.generic) else value
    return value


def taken(kind: type, until: type = object) -> dict[str, inspect.Parameter]:
    """Returns what the constructor of a class takes, also what it hands on to its bases.

    Args:
        kind: type.
        until: type. The base whose constructor, and those of its own bases, count for nothing.
            Defaults to `object`.

    Returns:
        dict. The parameters by name, those of the class itself first.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if base is until:
            break
        if "__init__" not in vars(base):
            continue
        own = inspect.signature(base).parameters.values()
        for one in own:
            if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
                found.setdefault(one.name, one)
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            break
    return found


def with_plain_arguments(init):
    """Decorates a constructor: its arguments are `plain`, and whole where they are annotated `int`.

    Whole numbers are Python's, NumPy's or TensorFlow's integers. A float is none, not even 4.0:
    where it comes from a division, it would be 4.5 for other numbers.

    Raises:
        ValueError: for a float, a bool or anything else in the place of a whole number.
    """
    signature = inspect.signature(init)
    counts = [
        name for name, one in signature.parameters.items() if one.annotation in (int, int | None)
    ]

    @functools.wraps(init)
    def wrapper(self, *arguments, **options):
        arguments, options = plain(arguments), plain(options)
        given = dict(zip(list(signature.parameters)[1:], arguments, strict=False), **options)
        for name in counts:
            if given.get(name) is not None:
                whole(name, given[name], least=-math.inf)
        return init(self, *arguments, **options)

    wrapper.__signature__ = signature  # Keras reads a constructor's own names of arguments.
    return wrapper
