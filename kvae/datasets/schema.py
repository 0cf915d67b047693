"""The names of classes and columns of data, which a model that was trained on them remembers."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.utils.names import shown_names

__all__ = ["MISSING", "Column", "Schema", "check_condition_name", "number_name"]

# What a cell says, in small letters, whose value was not observed.
MISSING = ("", "na", "n/a", "nan", "nat", "null", "none", "?")

_COLUMNS = ("columns", "constants", "conditions")
_WHOLE = ("poisson", "negative_binomial", "rounded_mixture")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: str.
        kind: str. The likelihood of its values: `"gaussian"` or `"gaussian_mixture"` for real
            numbers, `"rounded_mixture"` for whole ones, `"log_normal"` for positive ones,
            `"bernoulli"` for 0 and 1, `"categorical"`, `"ordinal"`, `"poisson"` or
            `"negative_binomial"` for counts; `"constant"` for a column that is kept aside.
        categories: tuple of str. The texts that the class numbers of a categorical or ordinal
            column stand for, in order, or the words of a Boolean one for false and true.
        whole: bool. Whether its numbers are whole ones, to which draws are rounded.
        components: int. The components of a mixture; 0 for other kinds.
        atoms: tuple of float. Values of a `"rounded_mixture"` that are frequent.
        low, high: float or `None`. The least and the largest number in the training data, to which
            draws are cut. Defaults to `None`: no bound.
        origin: str. Of dates, the one from which days are counted, e.g. `"2020-01-31"`.
        dtype: str. The type of its values in a frame, by narwhals's name, e.g. `"Int64"`.
        place: int. Where a constant column stands among all columns of the table.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    whole: bool = False
    components: int = 0
    atoms: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    origin: str = ""
    dtype: str = ""
    place: int = 0

    @property
    def description(self) -> tuple:
        """The column as `kvae.likelihoods.MixedTabular` takes it."""
        if self.kind in ("categorical", "ordinal"):
            return (self.kind, len(self.categories))
        return (self.kind, self.components, *self.atoms) if self.components else (self.kind,)

    @property
    def condition(self) -> Any:
        """The column as a condition of a model, in its short form (`kvae.conditions.get`)."""
        if self.kind == "multi_label":
            return "multi", self.components
        if self.categories or self.kind == "bernoulli":
            return list(self.categories or ("0", "1"))
        return "real"

    @property
    def is_whole(self) -> bool:
        """True if all values of the column are whole numbers, such as classes and counts."""
        return bool(self.categories) or self.whole or self.kind in _WHOLE

    def code(self, value: Any) -> float:
        """Returns the number of a model for a value as a table has it.

        Args:
            value: text of a category, number, truth value or date, or any of them as text.

        Raises:
            ValueError: for a category that there is not, and for what is no number or date.
        """
        text = value.isoformat() if hasattr(value, "isoformat") else str(value).strip()
        try:
            if self.categories and self.kind != "constant":
                known = [category.lower() for category in self.categories]
                for one in (text, number_name(text)):
                    if one in self.categories:
                        return float(self.categories.index(one))
                return float(known.index(text.lower()) if len(set(known)) == len(known) else "")
            if self.origin:
                apart = np.datetime64(text.replace(" ", "T"), "us") - np.datetime64(self.origin)
                return float(apart / np.timedelta64(1, "D"))
            return float(text)
        except ValueError:
            known = "a date" if self.origin else "a number"
            known = f"one of {shown_names(self.categories)}" if self.categories else known
            raise ValueError(f"Column {self.name!r} takes {known}, not {text!r}.") from None

    def says_nothing(self, cell: Any) -> bool:
        """Checks whether a cell is empty, `None`, or says NA, NaN, null, None or ?."""
        text = "" if cell is None else str(cell).strip()
        # A category may be called "none".
        return text.lower() in MISSING and text not in self.categories

    def number(self, value: float) -> float:
        """Returns the number of a table that is nearest to a number of a model.

        It is within the bounds, and whole where the column is.
        """
        value = float(value)
        if math.isnan(value):
            return value
        if self.is_whole:
            value = round(value)
        if self.low is not None and self.high is not None:
            value = min(max(value, self.low), self.high)
        return value

    def text(self, value: float) -> str:
        """Returns a value of a sampled row as a table shows it; what is missing is empty."""
        if self.kind == "constant":
            return self.categories[0] if self.categories else ""
        value = self.number(value)
        if math.isnan(value):
            return ""
        if self.categories:
            return self.categories[int(value)]
        if self.origin:
            return str(self.moment(value)).replace("T", " ")
        if self.is_whole:
            return str(int(value))
        return f"{value:.6g}"

    def moment(self, days: float) -> np.datetime64:
        """Returns the date, or the second, that stands so many days after `origin`."""
        origin = np.datetime64(self.origin, "s") + np.timedelta64(round(days * 86400), "s")
        if self.dtype != "Date":
            return origin
        return (origin + np.timedelta64(43200, "s")).astype("datetime64[D]")  # The nearest.


@dataclasses.dataclass(frozen=True)
class Schema:
    """The names of classes and columns of data, and the way in which their files are read.

    `kvae.datasets.from_path` finds it. A model that `kvae train` made keeps it (`vae.schema`), so
    that all commands read new files as the training did, and name classes and columns.

    Attributes:
        name: str. What the data are called: the name of a dataset, or of a folder or file.
        class_names: tuple of str. The class of each label, in order; empty without labels.
        label_column: str. The column of a table that holds the labels, or `""`.
        columns: tuple of `Column`. Those of x in a table that has names for them.
        constants: tuple of `Column`. Those that hold one value in all rows: they are no part of x,
            and come back in rows that are drawn.
        conditions: tuple of `Column`. Those that a conditional model is told; they are no part of
            x.
        fit: str. How images are brought to their size, as in `from_folder`.
        binarize: str or `None`. As of the `Dataset` of the training.
        noise: float. As of the `Dataset` of the training.

    Example:

    ```python
    data = kvae.datasets.from_path("photos", "train", (64, 64, 3))
    print(data.schema.class_names)    # ('cats', 'dogs')
    ```
    """

    name: str = ""
    class_names: tuple[str, ...] = ()
    label_column: str = ""
    columns: tuple[Column, ...] = ()
    constants: tuple[Column, ...] = ()
    conditions: tuple[Column, ...] = ()
    fit: str = "stretch"
    binarize: str | None = None
    noise: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns what differs from the defaults, as JSON takes it."""
        given = dataclasses.asdict(self)
        for kind in _COLUMNS:
            given[kind] = [_of_column(column) for column in given[kind]]
        blank = {**dataclasses.asdict(Schema()), **{kind: [] for kind in _COLUMNS}}
        return {key: _listed(value) for key, value in given.items() if value != blank[key]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Schema":
        """Returns the schema of `to_dict()`."""
        values = dict(values)
        columns = {
            kind: tuple(
                Column(**{k: tuple(v) if isinstance(v, list) else v for k, v in column.items()})
                for column in values.pop(kind, ())
            )
            for kind in _COLUMNS
        }
        names = tuple(values.pop("class_names", ()))
        return cls(**values, class_names=names, **columns)

    @property
    def told(self) -> dict[str, Any]:
        """The argument `conditions` of `kvae.VAE`, made from the columns that are conditions."""
        return {column.name: column.condition for column in self.conditions}

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The columns of x and those that are constant, in the order of the table."""
        found = list(self.columns)
        for column in sorted(self.constants, key=lambda column: column.place):
            found.insert(column.place, column)
        return tuple(found)

    def class_number(self, text: str, num_classes: int) -> int:
        """Returns the label that a name or a number of a class stands for.

        Raises:
            ValueError: for a class that there is not; the message names those that there are.
        """
        if text in self.class_names:
            return self.class_names.index(text)
        if text.isdecimal() and int(text) < num_classes:
            return int(text)
        known = f"one of {shown_names(self.class_names)} or " if self.class_names else ""
        raise ValueError(f"There is no class {text!r}: it is {known}0 to {num_classes - 1}.")

    def rows(self, x: np.ndarray) -> list[list[str]]:
        """Returns rows `[n, columns]` of numbers as the texts of a table's cells.

        They are those of `all_columns`.
        """
        columns = self.columns or [Column("", "gaussian")] * x.shape[1]
        rows = [
            [column.text(value) for column, value in zip(columns, row, strict=True)] for row in x
        ]
        for column in sorted(self.constants, key=lambda column: column.place):
            for row in rows:
                row.insert(column.place, column.text(0.0))
        return rows

    def numbers(self, cells: Sequence[Sequence]) -> np.ndarray:
        """Returns rows of a table as the numbers of a model, NaN where a cell says nothing.

        It undoes `rows`. Cells are those of `all_columns`: texts, numbers, dates or `None`; what is
        empty, or says NA, NaN, null, None or ?, is missing.

        Returns:
            Float32 array `[n, columns]`.

        Raises:
            ValueError: for a row of another length, and for cells that their column does not have.
        """
        columns, found = self.all_columns, []
        for number, row in enumerate(cells):
            if len(row) != len(columns):
                raise ValueError(
                    f"Row {number} has {len(row)} cells; the table has {len(columns)} columns, "
                    f"{shown_names([column.name for column in columns])}."
                )
            kept = [pair for pair in zip(columns, row, strict=True) if pair[0].kind != "constant"]
            found.append([math.nan if c.says_nothing(v) else c.code(v) for c, v in kept])
        return np.array(found, np.float32).reshape(-1, len(self.columns))


def check_condition_name(name: str) -> None:
    """Refuses a name that no condition of a model can have.

    Raises:
        ValueError: for what is no word.
    """
    if not name.isidentifier():
        raise ValueError(
            f"A condition cannot be called {name!r}: give the column a name of letters, digits and "
            "_."
        )


def number_name(text: str) -> str:
    """Returns the text of a category that stands for a number: 1, 1.0 and 01 are one of them."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    return str(int(value)) if value == int(value) else repr(value)


_ALWAYS = ("name", "kind", "categories", "whole")  # What files of columns have always held.
_BLANK = dataclasses.asdict(Column("", ""))


def _of_column(column: dict) -> dict:
    """Returns a column as a dict, without what it does not say."""
    return {key: value for key, value in column.items() if key in _ALWAYS or value != _BLANK[key]}


def _listed(value):
    """Returns a value with lists for tuples, as JSON gives it back."""
    if isinstance(value, (tuple, list)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
