"""Frames whose columns all hold numbers, as arrays."""

import numbers

import numpy as np

__all__ = ["array_of_frame", "as_numbers"]

_MISSING = ("NAType", "NaTType", "MaskedConstant")  # Missing values of pandas and NumPy.


def array_of_frame(frame, name: str) -> np.ndarray:
    """Returns a frame of pandas or polars as an array `[rows, columns]`."""
    array = np.asarray(frame.to_numpy())
    if array.dtype.kind in "buif":
        return array
    # Columns of several types have none in common but `object`.
    pairs = frame.items() if hasattr(frame, "items") else zip(frame.columns, frame, strict=True)
    found, refused = [], {}
    for column, series in pairs:
        values = as_numbers(np.asarray(series.to_numpy()))
        if values is None:
            refused[column] = getattr(series, "dtype", "object")
        else:
            found.append(values)
    if refused:
        columns = ", ".join(f"{column!r} ({kind})" for column, kind in refused.items())
        raise ValueError(
            f"`{name}` has columns that hold no numbers: {columns}. Give "
            f"kvae.tables.Table.from_frame({name}), or number their values (pandas: "
            "frame[column].astype('category').cat.codes) or leave them out (frame.drop(columns="
            f"{list(refused)}))."
        )
    return np.column_stack(found)


def as_numbers(array: np.ndarray) -> np.ndarray | None:
    """Returns a column as an array of numbers, missing ones being NaN, or `None` where it has text.

    Columns with missing values are arrays of objects, and so are those that hold an image each.
    """
    if array.dtype.kind in "buif":
        return array
    if array.dtype.kind != "O":
        return None
    values = array.ravel().tolist()
    if values and all(isinstance(value, np.ndarray) for value in values):
        if len({value.shape for value in values}) > 1:
            return None
        stacked = np.stack(values)
        return as_numbers(stacked.reshape(array.shape + stacked.shape[1:]))
    values = [np.nan if v is None or type(v).__name__ in _MISSING else v for v in values]
    if not all(isinstance(value, (numbers.Real, np.bool_)) for value in values):
        return None
    return np.array(values).reshape(array.shape)
