"""Errors for names that are not known."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kvae.utils.terminal import printable

__all__ = ["event_words", "in_order", "shown_names", "unknown_name"]


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """Makes the error for an unknown `name`, with the nearest known names.

    Args:
        kind: str. What the name stands for, e.g. `"dataset"`.
        name: object. What was given.
        known: iterable of str. The names that exist.

    Returns:
        A `ValueError` to raise.
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    names = printable(", ".join(known))
    return ValueError(f"Unknown {kind} {name!r}. {hint}Known: {names or 'none'}.")


def shown_names(names: Iterable[str], most: int = 8) -> str:
    """Returns names as a sentence lists them, the first `most` of them."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most]) + more)


def event_words(event_shape: Sequence[int]) -> str:
    """Returns what examples of this shape are called: rows of a table, signals or images."""
    return {1: "rows", 2: "signals", 3: "images"}.get(len(event_shape), "examples")


def in_order(argument: str, values: Mapping[str, Any], modalities: Iterable[str]) -> dict:
    """Returns what was given for each modality, in the order of a model's modalities.

    Raises:
        ValueError: for other names.
    """
    modalities = list(modalities)
    if set(modalities) != set(values):
        raise ValueError(
            f"`{argument}` has the modalities {', '.join(map(repr, values))}, and the model "
            f"{', '.join(map(repr, modalities))}: give the size of each."
        )
    return {key: values[key] for key in modalities}
