"""Numbers of NumPy and TensorFlow as Python's, so that a configuration can be saved as JSON."""

import functools
import inspect
import operator

import numpy as np

__all__ = ["plain", "with_plain_arguments"]


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


def with_plain_arguments(init):
    """Decorates a constructor: its arguments are `plain`, and whole where they are annotated `int`.

    Whole numbers are Python's, NumPy's or TensorFlow's integers. A float is none, not even 4.0:
    where it comes from a division, it would be 4.5 for other numbers.

    Raises:
        ValueError: for a float, a bool or anything else in the place of a whole number.
    """
    signature = inspect.signature(init)
    whole = [
        name for name, one in signature.parameters.items() if one.annotation in (int, int | None)
    ]

    @functools.wraps(init)
    def wrapper(self, *arguments, **options):
        arguments, options = plain(arguments), plain(options)
        given = dict(zip(list(signature.parameters)[1:], arguments, strict=False), **options)
        for name in whole:
            if given.get(name) is not None:
                _check_whole(name, given[name])
        return init(self, *arguments, **options)

    wrapper.__signature__ = signature  # Keras reads a constructor's own names of arguments.
    return wrapper


def _check_whole(name: str, value) -> None:
    try:
        operator.index(value)
        found = not isinstance(value, bool)
    except TypeError:
        found = False
    if not found:
        raise ValueError(f"`{name}` is a whole number, not {value!r}.")
