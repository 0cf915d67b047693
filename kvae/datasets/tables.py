"""Tables in files and frames: their columns, and the numbers that stand for their cells."""

import copy
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets.columns import COMPONENTS, atoms_of, kind_of_numbers
from kvae.datasets.frames import read_frame
from kvae.datasets.schema import Column, Schema, check_condition_name, number_name
from kvae.datasets.table_files import (
    TRUTH,
    TableFile,
    dtype_of,
    read_csv,
    read_parquet,
    to_number,
)
from kvae.utils import callers
from kvae.utils.csv_files import write_csv
from kvae.utils.names import shown_names, unknown_name

__all__ = ["KINDS", "SUFFIXES", "Cells"]

SUFFIXES = (".csv", ".tsv", ".parquet")
# The kinds that a user may give a column: the likelihoods of `MixedTabular`, and three more.
KINDS = (
    *("gaussian", "gaussian_mixture", "rounded_mixture", "log_normal", "bernoulli"),
    *("categorical", "ordinal", "poisson", "negative_binomial", "label", "condition", "ignore"),
)
_FEW = 10  # So many whole numbers at most are categories; texts may be
_MANY = 1000  # of so many different kinds.
_COARSE = 0.01  # Of a standard deviation, above which float32's steps lose what a column says.
_NO_NUMBERS = ("String", "Boolean", "Categorical", "Enum")


class Cells:
    """The cells of a table, by column.

    A CSV file is UTF-8 text. Its cells are separated by commas, semicolons (where numbers may have
    a decimal comma), tabs or bars, whichever the first line has most of. The first line names the
    columns, unless all of its cells are numbers. Parquet files and frames say the types of their
    columns; those of a CSV file follow from its cells.

    Args:
        source: path of a .csv, .tsv or .parquet file, or a frame of pandas, polars or pyarrow.
        missing: bool. Whether cells that are empty, or say NA, NaN, null, None or ?, were not
            observed: their numbers are NaN. Defaults to `False`: they are errors.
        unlabelled: bool. Whether such cells of the label column stand for a label that is not
            known, -1. Defaults to `False`: they are errors.

    Attributes:
        cells: dict of lists of str. The cells of each column.
        rows: int.
        delimiter: str. What stands between two cells of the file.

    Raises:
        ModuleNotFoundError: without `narwhals` for a frame, and `pyarrow` for a Parquet file.
        ValueError: for a file that is empty, is no such table, or has rows of other lengths.
    """

    def __init__(self, source: Any, missing: bool = False, unlabelled: bool = False):
        self._missing, self._unlabelled = missing, unlabelled
        self._frame = not isinstance(source, pathlib.Path)
        self.path = "The frame" if self._frame else source
        if self._frame:
            file = TableFile(read_frame(source), first=0)
        else:
            file = (read_parquet if source.suffix == ".parquet" else read_csv)(source)
        self._held, self.delimiter, self._file = file.columns, file.delimiter, file
        self.cells = {name: held.cells for name, held in self._held.items()}
        self.rows = len(next(iter(self.cells.values()), ()))
        if not self.rows:
            raise ValueError(f"{self.path} has no rows of data.")

    def _kind(self, name: str, kind: str) -> str:
        """Returns how a user says what a column holds."""
        return f"kinds={{{name!r}: {kind!r}}}" if self._frame else f"--columns {name}={kind}"

    def _bad(self, name: str, row: int, advice: str = "") -> ValueError:
        cell, gone = self.cells[name][row], self._held[name].missing[row]
        what = f"holds {cell!r}" if cell else "is empty"
        advice = advice or "Repair the cell, or leave the row out"
        gone = gone and not self._missing
        other = ". What was not observed may be missing (missing=True, --missing mean)" * gone
        return ValueError(
            f"{self.path}, row {row + self._file.first}, column {name!r} {what}. {advice}, or "
            f"leave the column out ({self._kind(name, 'ignore')}){other}."
        )

    def _numbers(self, name: str, column: Column | None = None) -> np.ndarray | None:
        """Returns a column of numbers as float64, or `None` for one of texts.

        It is one of texts if most of its cells that hold something are no numbers.
        """
        held, cells = self._held[name], self.cells[name]
        if held.dtype in _NO_NUMBERS:
            return None
        missing = held.missing
        if all(missing):
            if self._missing:
                return np.full(len(cells), np.nan)
            raise self._bad(name, 0)
        found = [to_number(cell, self._file.comma) for cell in cells]
        numbers = sum(
            value is not None and not gone for value, gone in zip(found, missing, strict=True)
        )
        if numbers * 2 < len(cells) - sum(missing) or not numbers:
            return None
        values = np.array([np.nan if value is None else value for value in found])
        bad = ~np.isfinite(values) | (np.abs(values) > np.finfo(np.float32).max)
        if self._missing:
            bad, values = bad & ~np.array(missing), np.where(missing, np.nan, values)
        if bad.any():
            raise self._bad(name, int(np.argmax(bad)))
        return values

    def schema(self, kinds: Mapping[str, str], name: str = "") -> Schema:
        """Finds the kinds of the columns.

        | column | kind |
        |---|---|
        | one value, or none, in all rows | kept aside (`Schema.constants`) |
        | zeros and ones, truth values | `"bernoulli"` |
        | texts, and up to ten different whole numbers | `"categorical"` |
        | categories whose type in the frame orders them | `"ordinal"` |
        | dates and times, counted in days | as numbers |
        | other numbers | see `kvae.datasets.columns.kind_of_numbers` |

        Args:
            kinds: mapping from the name of a column to one of `KINDS`, which is not guessed then.
            name: str. What the data are called.

        Raises:
            ValueError: for a cell that is empty or broken, a column that holds too many different
                texts, and unknown or unfitting kinds.

        Warns:
            UserWarning: for numbers that are far from 0 and so near to each other that float32, in
                which models compute, does not tell them apart.
        """
        for one, kind in kinds.items():
            if one not in self.cells:
                what = self.path if self._frame else self.path.name
                raise unknown_name(f"column of {what}", one, self.cells)
            if kind not in KINDS:
                raise unknown_name(f"kind of the column {one!r}", kind, KINDS)
        labels = [one for one, kind in kinds.items() if kind == "label"]
        if len(labels) > 1:
            raise ValueError(f"One column is the label, not {' and '.join(labels)}.")
        told = tuple(self._condition(one) for one in self.cells if kinds.get(one) == "condition")
        if labels and told:
            raise ValueError(
                f"Column {labels[0]!r} is the label and {told[0].name!r} a condition, and a model "
                f"takes one of the two. Make both conditions: {self._kind(labels[0], 'condition')}."
            )
        found = []
        for one in self.cells:
            if kinds.get(one) not in ("label", "condition", "ignore"):
                found.append(self._column(one, kinds.get(one), len(found)))
        columns = tuple(column for column in found if column.kind != "constant")
        if not columns:
            held = f", but {shown_names(column.name for column in found)} hold one value each"
            raise ValueError(f"{self.path} has no column left to learn from{held * bool(found)}.")
        return Schema(
            name=name,
            class_names=self._texts(labels[0], self._unlabelled) if labels else (),
            label_column=labels[0] if labels else "",
            columns=columns,
            constants=tuple(column for column in found if column.kind == "constant"),
            conditions=told,
        )

    def _condition(self, name: str) -> Column:
        """Returns a column that models are told; a cell that is empty is unknown."""
        check_condition_name(name)
        column = self._lenient()._column(name, None, 0)
        if column.kind == "constant" or column.origin:
            what = "dates" if column.origin else "one value in all rows"
            raise ValueError(
                f"{self.path}: column {name!r} holds {what}, which make no condition. Leave it "
                f"out: {self._kind(name, 'ignore')}."
            )
        return column

    def _lenient(self) -> "Cells":
        """Returns the same cells, of which any may be missing."""
        found = copy.copy(self)
        found._missing = True
        return found

    def _column(self, name: str, kind: str | None, place: int) -> Column:
        held = self._held[name]
        there = [cell for cell, gone in zip(held.cells, held.missing, strict=True) if not gone]
        words = set(there)
        if len(words) <= 1 and (self._missing or not any(held.missing) or not words):
            # It is kept aside. A column that is empty here and there is none.
            return Column(
                name,
                "constant",
                tuple(map(self._pointed, words)),
                dtype=held.dtype or dtype_of(there, self._file.comma),
                place=place,
            )
        as_texts = kind in ("categorical", "ordinal")
        dtype = held.dtype or dtype_of(there, self._file.comma)
        if not as_texts and kind != "bernoulli" and dtype.startswith("Date"):
            return self._of_dates(name, kind, dtype)
        if not as_texts and dtype == "Boolean":
            return Column(name, "bernoulli", _truth(there), dtype=dtype)
        values = None if as_texts else self._numbers(name)
        if values is None:
            if kind is not None and not as_texts:
                row = self._first_text(name)
                raise self._bad(name, row, f"A {kind} column takes numbers: repair the cell")
            kind = kind or ("ordinal" if held.ordered else "categorical")
            return Column(name, kind, self._texts(name, self._missing), dtype=dtype)
        return self._of_numbers(name, kind, values, dtype, place)

    def _of_numbers(self, name: str, kind, values: np.ndarray, dtype: str, place: int) -> Column:
        there = values[~np.isnan(values)]  # All of them, unless cells may be missing.
        distinct = np.unique(there)
        if len(distinct) == 1:  # Such as 1 and 1.0.
            text = number_name(repr(float(distinct[0])))
            return Column(name, "constant", (text,), dtype=dtype, place=place)
        whole = bool((distinct == np.round(distinct)).all() and np.abs(distinct).max() < 2**24)
        step = float(np.spacing(np.float32(np.abs(distinct).max())))
        if step > _COARSE * there.std():
            callers.warn(
                f"{self.path}, column {name!r}: its numbers, from {distinct[0]:.12g} to "
                f"{distinct[-1]:.12g}, are nearly the same in float32, which has steps of {step:g} "
                "there. Subtract a number near to them, or leave the column out "
                f"({self._kind(name, 'ignore')}).",
            )
        binary = set(distinct.tolist()) <= {0.0, 1.0}
        counts = ((values != np.round(values)) | (values < 0), "whole numbers from 0 on")
        for asked, bad, wanted in (
            ("bernoulli", (values != 0) & (values != 1), "0 and 1"),
            ("poisson", *counts),
            ("negative_binomial", *counts),
            ("rounded_mixture", values != np.round(values), "whole numbers"),
            ("log_normal", values <= 0, "positive numbers"),
        ):
            bad = bad & ~np.isnan(values)
            if kind == asked and bad.any():
                advice = f"A {kind} column holds {wanted}: repair the cell"
                raise self._bad(name, int(np.argmax(bad)), advice)
        if kind is None and binary:
            kind = "bernoulli"
        if kind is None and whole and len(distinct) <= min(_FEW, self.rows // 5):
            categories = tuple(str(int(value)) for value in distinct)
            return Column(name, "categorical", categories, dtype=dtype)
        kind = kind or kind_of_numbers(there, whole)
        if kind == "bernoulli":
            return Column(name, kind, whole=True, dtype=dtype)
        return Column(
            name,
            kind,
            whole=whole,
            components=COMPONENTS if kind.endswith("_mixture") else 0,
            atoms=atoms_of(there) if kind == "rounded_mixture" else (),
            low=float(distinct[0]),
            high=float(distinct[-1]),
            dtype=dtype,
        )

    def _of_dates(self, name: str, kind: str | None, dtype: str) -> Column:
        origin = min(
            cell
            for cell, gone in zip(self.cells[name], self._held[name].missing, strict=True)
            if not gone
        )
        blank = Column(name, "gaussian", origin=origin.replace(" ", "T"), dtype=dtype)
        days = self._days(blank)
        if kind not in (None, "gaussian", "gaussian_mixture"):
            raise ValueError(
                f"{self.path}: column {name!r} holds dates, which may be gaussian, "
                f"gaussian_mixture, categorical, label or ignore, not {kind}."
            )
        there = days[~np.isnan(days)]
        found = kind_of_numbers(there + 1.0, whole=False)  # No date is nearer to 0 than another.
        kind = kind or ("gaussian" if found == "gaussian" else "gaussian_mixture")
        components = COMPONENTS if kind == "gaussian_mixture" else 0
        bounds = {"low": float(there.min()), "high": float(there.max())}
        return Column(name, kind, components=components, origin=blank.origin, dtype=dtype, **bounds)

    def _days(self, column: Column) -> np.ndarray:
        """Returns a column of dates as days from its origin, float64 with NaN."""
        origin = np.datetime64(column.origin, "us")
        held, found = self._held[column.name], np.full(self.rows, np.nan)
        for row, (cell, gone) in enumerate(zip(held.cells, held.missing, strict=True)):
            if gone and self._missing:
                continue
            try:
                moment = np.datetime64(cell.replace(" ", "T"), "us")
            except ValueError:
                moment = np.datetime64("NaT")
            if np.isnat(moment):
                advice = "The column holds dates, e.g. 2020-01-31: repair the cell"
                raise self._bad(column.name, row, advice)
            found[row] = (moment - origin) / np.timedelta64(1, "D")
        return found

    def _texts(self, name: str, missing: bool) -> tuple[str, ...]:
        """Returns the different values of a column, in order: of numbers, or else of letters."""
        held, cells = self._held[name], self.cells[name]
        if missing:
            cells = [cell for cell, gone in zip(cells, held.missing, strict=True) if not gone]
        elif "" in cells:
            raise self._bad(name, cells.index(""))
        if held.categories:
            return held.categories
        found = set(map(self._category, cells))
        if len(found) <= 1:
            raise ValueError(
                f"{self.path}: column {name!r} holds {next(iter(found), 'nothing')!r} in all rows, "
                f"which makes no classes. Leave it out: {self._kind(name, 'ignore')}."
            )
        if len(found) > _MANY or len(found) > max(_FEW, self.rows // 2):
            raise ValueError(
                f"{self.path}: column {name!r} holds {len(found)} different texts in {self.rows} "
                f"rows, e.g. {cells[0]!r}, too many for categories. Leave it out: "
                f"{self._kind(name, 'ignore')}."
            )
        if all(to_number(cell) is not None for cell in found):
            return tuple(sorted(found, key=float))
        return tuple(sorted(found))

    def _category(self, cell: str) -> str:
        """Returns the name of a category: 1, 1.0 and 01 are one number."""
        return number_name(self._pointed(cell))

    def _pointed(self, cell: str) -> str:
        """Returns a cell with a point for a decimal comma, if it holds a number."""
        comma = self._file.comma and to_number(cell, comma=True) is not None
        return cell.replace(",", ".") if comma else cell

    def encoded(self, columns: Sequence[Column]) -> np.ndarray:
        """Returns the table as float32 `[rows, columns]`, in which models compute.

        Raises:
            ValueError: for a column that is missing, and a cell that does not fit its column.
        """
        return np.stack([self._encoded(column) for column in columns], axis=1)

    def write(
        self, path: pathlib.Path, columns: Sequence[Column], x: np.ndarray, observed: np.ndarray
    ) -> None:
        """Writes the table as CSV text with other cells where nothing was observed.

        All other cells, and the columns that are none of these, are as they were.

        Args:
            path: path of the new file.
            columns: sequence of `Column`. Those of x.
            x: array `[rows, columns]`.
            observed: bool array `[rows, columns]`.
        """
        cells = {name: list(column) for name, column in self.cells.items()}
        for position, column in enumerate(columns):
            for row in np.flatnonzero(~observed[:, position]):
                text = column.text(x[row, position])
                comma = self._file.comma and not column.categories
                cells[column.name][row] = text.replace(".", ",") if comma else text
        rows = zip(*cells.values(), strict=True)
        write_csv(path, [*[list(cells)] * (self._file.first == 2), *rows], self.delimiter)

    def _encoded(self, column: Column) -> np.ndarray:
        name = column.name
        if name not in self.cells:
            raise ValueError(
                f"{self.path} has no column {name!r}. Its columns are {shown_names(self.cells)}."
            )
        if column.categories:
            numbers = self._category_numbers(name, column.categories, self._missing)
            return np.where(numbers < 0, np.nan, numbers).astype(np.float32)
        if column.origin:
            return self._days(column).astype(np.float32)
        values = self._numbers(name)
        if values is None:
            raise self._bad(name, self._first_text(name))
        return values.astype(np.float32)

    def _first_text(self, name: str) -> int:
        """Returns the row of the first cell of a column that holds no number and is not missing."""
        held = self._held[name]
        return next(
            row
            for row, (cell, gone) in enumerate(zip(held.cells, held.missing, strict=True))
            if not (to_number(cell, self._file.comma) is not None or (self._missing and gone))
            or held.dtype in _NO_NUMBERS
        )

    def told(self, schema: Schema) -> Any:
        """Returns what a model is told of the rows: labels, conditions by name, or `None`.

        Of a column that the table lacks nothing is known.
        """
        if schema.label_column in self.cells:
            return self.labels(schema.label_column, schema.class_names)
        lenient = self._lenient()
        there = [column for column in schema.conditions if column.name in self.cells]
        return {column.name: lenient._encoded(column) for column in there} or None

    def labels(self, name: str, known: Sequence[str]) -> np.ndarray:
        """Returns the numbers of the categories of a column, int64 `[rows]`; -1 is not known."""
        return self._category_numbers(name, known, missing=self._unlabelled)

    def _category_numbers(self, name: str, known: Sequence[str], missing: bool) -> np.ndarray:
        """Returns the numbers of categories; those of missing cells are -1, if these may be."""
        number = {text: i for i, text in enumerate(known)}
        held = self._held[name]
        if tuple(text.lower() for text in known) == TRUTH:  # In upper or lower case.
            spellings = {cell: cell.lower() for cell in set(held.cells)}
            number |= {c: TRUTH.index(low) for c, low in spellings.items() if low in TRUTH}
        names = held.dtype in _NO_NUMBERS  # Which no number stands for.
        found = [
            number.get(cell, number.get("" if names else self._category(cell), -1))
            for cell in held.cells
        ]
        for row, (one, gone) in enumerate(zip(found, held.missing, strict=True)):
            if gone and missing:
                found[row] = -1
            elif one < 0:
                advice = f"Its categories are {shown_names(known)}: repair the cell"
                raise self._bad(name, row, advice)
        return np.array(found, np.int64)


def _truth(cells: Sequence[str]) -> tuple[str, ...]:
    """Returns the words of a Boolean column for false and true, as the cells write them."""
    found = {cell.lower(): cell for cell in cells}
    return tuple(found.get(word, word) for word in TRUTH)
