"""Arrays of a file that a conditional model is told beside x."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets.schema import Column, Schema, check_condition_name
from kvae.utils.names import shown_names, unknown_name

__all__ = ["described", "numbers", "taken"]

_MANY = 1000  # Whole numbers from 0 to less than this are classes.


def taken(
    path: pathlib.Path,
    arrays: dict[str, np.ndarray],
    words: Mapping[str, Sequence[str]],
    split: str,
    columns: Mapping[str, str],
    schema: Schema | None,
) -> dict[str, np.ndarray]:
    """Takes those arrays of a file that are conditions out of it, and returns those of a split.

    Args:
        path: path of the file, for errors.
        arrays: dict of arrays by name, from which they are taken.
        words: mapping from splits to what their arrays end in.
        split: str.
        columns: mapping from names to `"condition"`.
        schema: `Schema` of the training data, whose conditions these are; `None` where they are
            those of `columns`.

    Raises:
        ValueError: for a name that there is not, and for another kind than `"condition"`.
    """
    for name, kind in columns.items():
        if kind != "condition":
            raise ValueError(
                f"{path} is a file of arrays, whose columns are described in the model: give "
                f"--columns {name}=condition, not {name}={kind}."
            )
        check_condition_name(name)
    asked = list(columns) if schema is None else [column.name for column in schema.conditions]
    found = {}
    for name in asked:
        ends = {one: [f"{name}_{word}" for word in words[one]] for one in words}
        for one in (*ends[split], name):
            if one in arrays:
                found[name] = arrays[one]
                break
        else:
            if schema is None:
                raise unknown_name(f"array of {path.name}", name, arrays)
        for one in (name, *sum(ends.values(), [])):
            arrays.pop(one, None)
    return found


def described(path: pathlib.Path, told: Mapping[str, np.ndarray]) -> tuple[Column, ...]:
    """Returns arrays that are conditions as columns of a schema.

    | array | condition |
    |---|---|
    | `[n]` of texts | classes, in the order of letters |
    | `[n]` of whole numbers from 0, -1 where one is unknown | classes by their numbers |
    | `[n]` of other numbers, NaN where one is unknown | a real number |
    | `[n, k]` of 0 and 1 | k labels, of which any may hold |

    Raises:
        ValueError: for an array of another shape or type.
    """
    return tuple(_column(path, name, np.asarray(values)) for name, values in told.items())


def _column(path: pathlib.Path, name: str, values: np.ndarray) -> Column:
    kind, whole = values.dtype.kind, values.dtype.kind in "uib"
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and kind in "uifb" and set(np.unique(values).tolist()) <= {0, 1}:
        return Column(name, "multi_label", components=values.shape[1])
    if values.ndim != 1 or not len(values) or kind not in "USuifb":
        raise ValueError(
            f"{path}: the condition {name!r} has shape {values.shape} and holds {values.dtype}. It "
            "is [n] of texts, classes or numbers, or [n, k] of 0 and 1 for k labels."
        )
    if kind in "US":
        texts = sorted({_text(value) for value in values.tolist()} - {""})
        return _of_classes(path, name, tuple(texts))
    if whole and values.min() >= -1 and values.max() < _MANY:
        return _of_classes(path, name, tuple(map(str, range(int(values.max()) + 1))))
    return Column(name, "gaussian")


def _of_classes(path: pathlib.Path, name: str, texts: tuple[str, ...]) -> Column:
    if len(texts) < 2:
        raise ValueError(
            f"{path}: the condition {name!r} holds one value in all rows, of which nothing can be "
            "learned. Leave it out."
        )
    return Column(name, "categorical", texts)


def numbers(
    path: pathlib.Path, told: Mapping[str, np.ndarray], conditions: Sequence[Column]
) -> dict[str, Any] | None:
    """Returns the values of conditions as numbers by name; `None` where there are none.

    An empty text is unknown.

    Raises:
        ValueError: for a text that is no class of the condition.
    """
    found = {}
    for column in conditions:
        if column.name not in told:
            continue
        values = np.asarray(told[column.name])
        if values.dtype.kind in "US":
            known = {text: number for number, text in enumerate(column.categories)} | {"": -1}
            texts = [_text(value) for value in values.tolist()]
            odd = next((text for text in texts if text not in known), None)
            if odd is not None:
                raise ValueError(
                    f"{path}: the condition {column.name!r} holds {odd!r}, and its classes are "
                    f"{shown_names(column.categories)}."
                )
            values = np.array([known[text] for text in texts], np.int64)
        found[column.name] = values
    return found or None


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else value
