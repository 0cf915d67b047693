"""Frames of pandas, polars, pyarrow and others, read and made by narwhals."""

import dataclasses
import datetime
import decimal
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets.schema import Column, Schema
from kvae.utils import optional

__all__ = ["Held", "is_frame", "make_frame", "read_frame", "with_observed"]


@dataclasses.dataclass(frozen=True)
class Held:
    """A column of a table as it came.

    Attributes:
        cells: list of str. The text of each cell.
        missing: list of bool. Whether it was not observed.
        dtype: str. The type by narwhals's name, or `""` where the texts have to say what they are.
        categories: tuple of str. Those that its type declares, in their order.
        ordered: bool. Whether these have an order.
    """

    cells: list[str]
    missing: list[bool]
    dtype: str = ""
    categories: tuple[str, ...] = ()
    ordered: bool = False


def _narwhals():
    return optional.load("narwhals", purpose="A frame")


def is_frame(values: Any) -> bool:
    """Checks whether values are an eager frame of a library that narwhals reads."""
    try:
        _narwhals().from_native(values, eager_only=True)
    except TypeError:
        return False
    return True


def read_frame(frame: Any) -> dict[str, Held]:
    """Returns the columns of a frame by name.

    Args:
        frame: frame of pandas, polars, pyarrow or another library that narwhals reads.

    Raises:
        ModuleNotFoundError: without `narwhals`.
        ValueError: for what is no frame, and for columns of other types than numbers, texts,
            categories, truth values and dates.
    """
    nw = _narwhals()
    if type(frame).__name__ == "LazyFrame":
        raise ValueError("This is a LazyFrame: give the frame that it stands for, x.collect().")
    try:
        read = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise ValueError(
            f"A frame of pandas, polars or pyarrow is read, not a {type(frame).__name__}."
        ) from None
    except ValueError as error:  # Columns of one name.
        raise ValueError(f"The frame cannot be read: {error}") from None
    for name in read.columns:
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"The frame has a column of the name {name!r}: give each a text as its name."
            )
    return {name: _held(name, read[name], nw) for name in read.columns}


def _held(name: str, series, nw) -> Held:
    dtype = series.dtype
    categories: tuple[str, ...] = ()
    if isinstance(dtype, nw.Enum):
        categories = tuple(map(str, dtype.categories))
    elif dtype == nw.Categorical and not series.implementation.is_polars():
        # Polars keeps one list of categories for all columns of a program, so it says nothing.
        categories = tuple(str(one) for one in series.cat.get_categories().to_list())
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    values = series.to_list()
    missing = [value is None or _is_nan(value) for value in values]
    there = [value for value, gone in zip(values, missing, strict=True) if not gone]
    known = dtype.is_numeric() or dtype in (
        nw.String, nw.Categorical, nw.Enum, nw.Boolean, nw.Date, nw.Datetime,
    )  # fmt: skip
    kind = "Enum" if isinstance(dtype, nw.Enum) else str(dtype)
    if not known:  # Objects of pandas, which may be of any types; a column of nothing has none.
        kind = _kind_of(there)
        if kind is None:
            raise ValueError(
                f"Column {name!r} holds {dtype}, e.g. {there[0]!r}, which is neither a number, a "
                "text nor a date. Turn it into one of them, or leave the column out."
            )
    cells = ["" if gone else _text(value) for value, gone in zip(values, missing, strict=True)]
    return Held(cells, missing, kind, categories, isinstance(dtype, nw.Enum))


def _is_nan(value) -> bool:
    return (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in (
        "NAType",
        "NaTType",
    )


def _kind_of(values: list) -> str | None:
    """Returns the type of Python's objects; `None` for several and unknown ones."""
    if all(isinstance(value, str) for value in values):
        return "String"
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        return "Boolean"
    if all(isinstance(value, (numbers.Real, decimal.Decimal)) for value in values):
        return "Float64"
    if all(isinstance(value, datetime.date) for value in values):
        return "Datetime" if any(isinstance(one, datetime.datetime) for one in values) else "Date"
    return None


def _text(value) -> str:
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def make_frame(schema: Schema, x: np.ndarray, backend: Any = None, like: Any = None) -> Any:
    """Returns rows of numbers as a frame, in the types and the order of the training data.

    Args:
        schema: `Schema` with columns.
        x: array `[n, columns]`. NaN is missing.
        backend: str or module. The library, e.g. `"pandas"` or `"polars"`. Defaults to `None`:
            the library of `like`, or pandas.
        like: frame or `None`. Its columns have these very types. Defaults to `None`: those that
            the schema names.

    Raises:
        ModuleNotFoundError: without `narwhals` or the library.
        ValueError: for another number of columns.
    """
    nw = _narwhals()
    like = None if like is None else nw.from_native(like, eager_only=True)
    backend = backend or ("pandas" if like is None else like.implementation)
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != len(schema.columns):
        raise ValueError(
            f"Rows of {len(schema.columns)} columns are turned into a frame, not an array of shape "
            f"{x.shape}."
        )
    places = {column.name: place for place, column in enumerate(schema.columns)}
    found = nw.from_dict(
        {
            column.name: _values(
                column, x[:, places[column.name]] if column.name in places else np.zeros(len(x))
            )
            for column in schema.all_columns
        },
        backend=backend,
    )
    series = []
    for column in schema.all_columns:
        own = found[column.name]
        known = {} if like is None else like.schema
        wanted = known[column.name] if column.name in known else _dtype(column, nw)
        if isinstance(wanted, nw.Datetime) and wanted.time_zone is not None:
            own = own.cast(nw.Datetime(wanted.time_unit)).dt.replace_time_zone("UTC")
            own = own.dt.convert_time_zone(wanted.time_zone)
        elif wanted not in (None, nw.Unknown, nw.Object) and not (
            own.null_count() and _is_whole_of_numpy(own, wanted, nw)
        ):
            own = own.cast(wanted)
        series.append(own.alias(column.name))
    made = nw.from_native(found.to_native(), eager_only=True).select(*series)
    native = made.to_native()
    if like is not None and made.implementation.is_pandas():
        native = _of_pandas(native, like.to_native())
    return native


def with_observed(made: Any, frame: Any, observed: Mapping[str, np.ndarray]) -> Any:
    """Returns a frame that was made of numbers, with the cells that another one has.

    Args:
        made: frame of `make_frame`, like the other one.
        frame: frame. Where its cells go.
        observed: dict of bool arrays by column: which ones. Of other columns it is all but nulls.
    """
    nw = _narwhals()
    made, frame = (nw.from_native(one, eager_only=True) for one in (made, frame))
    series = []
    for name in made.columns:
        new = made[name]
        if name in frame.columns:
            own = frame[name]
            there = ~own.is_null()
            if name in observed:
                there = nw.new_series(name, observed[name], backend=made.implementation)
            new = own.zip_with(there, new)
        series.append(new)
    return made.select(*series).to_native()


def _is_whole_of_numpy(series, wanted, nw) -> bool:
    """Checks whether a type has no value for what is missing, as the integers of NumPy."""
    pandas = series.implementation.is_pandas()
    return pandas and (wanted.is_integer() or wanted == nw.Boolean)


def _of_pandas(frame, like):
    """Returns a frame of pandas in the very types of another one, e.g. nullable integers."""
    for name, dtype in like.dtypes.items():
        if name not in frame:
            continue
        values = frame[name]
        if hasattr(dtype, "categories"):  # Which may be numbers; here they are texts.
            values = values.astype(object).map({str(one): one for one in dtype.categories})
        try:
            frame[name] = values.astype(dtype)
        except (TypeError, ValueError):
            continue  # Integers and truth values of NumPy, of which some are missing.
    return frame


def _values(column: Column, numbers: Sequence[float]) -> list:
    """Returns the values of a column as Python has them, `None` for what is missing."""
    if column.kind == "constant":
        value = column.categories[0] if column.categories else None
        return [None if value is None else _of_text(column.dtype, value)] * len(numbers)
    found: list[Any] = []
    for value in map(column.number, numbers):
        if np.isnan(value):
            found.append(None)
        elif column.categories and column.kind == "bernoulli":
            found.append(bool(value))
        elif column.categories:
            found.append(_of_text(column.dtype, column.categories[int(value)]))
        elif column.origin:
            found.append(column.moment(value).item())
        elif column.dtype.startswith(_INTEGERS) and not column.is_whole:
            found.append(float(round(value)))  # Larger than float32 has whole numbers for.
        else:
            # The shortest number that is the same to float32: 32.1, not 32.09999847.
            found.append(int(value) if column.is_whole else float(str(np.float32(value))))
    return found


_INTEGERS = ("Int", "UInt")


def _of_text(dtype: str, text: str):
    """Returns the value of a column of this type that a text stands for."""
    if dtype == "Boolean":
        return text.lower() == "true"
    if dtype.startswith("Date"):
        return np.datetime64(text, "D" if dtype == "Date" else "us").item()
    if dtype.startswith(_INTEGERS):
        return int(text)
    return float(text) if dtype.startswith(("Float", "Decimal")) else text


def _dtype(column: Column, nw):
    """Returns narwhals's type of a column; `None` for that of its values."""
    name = column.dtype.partition("(")[0]
    if name in ("Enum", "Categorical"):
        return nw.Enum(column.categories) if column.kind == "ordinal" else nw.Categorical()
    if name in ("Datetime", "Decimal", "Object", ""):
        return None
    return getattr(nw, name)()
