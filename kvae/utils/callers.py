"""Warnings that show the line of the user's own code, however many calls are between."""

import inspect
import warnings

__all__ = ["warn"]

_OURS = {"kvae", "zoo", "export", "keras", "tensorflow", "contextlib"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line that called into these packages.

    Args:
        message: string.
        category: the class of the warning. Defaults to `UserWarning`.

    Example:

    ```python
    from kvae.utils import callers

    callers.warn("Few samples carry the weight.")
    ```
    """
    depth, frame = 2, inspect.currentframe().f_back
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)
