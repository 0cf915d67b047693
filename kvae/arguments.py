"""Checks of the numbers that functions are given."""

import math
import operator

__all__ = ["number", "whole", "whole_or_none"]


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
