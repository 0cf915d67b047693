"""Tables in CSV and Parquet files: their columns, and the numbers that stand for their cells."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from kvae.datasets.schema import Column
from kvae.utils import optional
from kvae.utils.csv_files import write_csv
from kvae.utils.names import shown_names, unknown_name

__all__ = ["KINDS", "SUFFIXES", "Table"]

SUFFIXES = (".csv", ".tsv", ".parquet")
# The kinds that a user may give a column in addition to the likelihoods of `MixedTabular`.
KINDS = ("gaussian", "bernoulli", "categorical", "poisson", "label", "ignore")
_MISSING = ("", "na", "n/a", "nan", "nat", "null", "none", "?")
_FEW = 10  # So many whole numbers at most are categories; texts may be
_MANY = 100  # of so many different kinds.


class Table:
    """The cells of a table, by column.

    A CSV file is UTF-8 text. Its cells are separated by commas, semicolons (where numbers may have
    a decimal comma), tabs or bars, whichever the first line has most of. The first line names the
    columns, unless all of its cells are numbers.

    Args:
        path: path of a .csv, .tsv or .parquet file.
        missing: bool. Whether cells that are empty, or say NA, NaN, null, None or ?, were not
            observed: their numbers are NaN. Defaults to `False`: they are errors.

    Attributes:
        cells: dict of lists of str. The cells of each column.
        rows: int.
        delimiter: str. What stands between two cells of the file.

    Raises:
        ModuleNotFoundError: for a Parquet file, without `pyarrow`.
        ValueError: for a file that is empty, is no such table, or has rows of other lengths.
    """

    def __init__(self, path: pathlib.Path, missing: bool = False):
        self.path, self._missing = path, missing
        self._first = 1  # The number of the first row, as spreadsheets count them.
        self._comma, self.delimiter, self._named = False, ",", True
        self.cells = _parquet(path) if path.suffix == ".parquet" else self._csv(path)
        self.rows = len(next(iter(self.cells.values()), ()))
        if not self.rows:
            raise ValueError(f"{path} has no rows of data.")

    def _csv(self, path) -> dict[str, list[str]]:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8."
            ) from None
        line = next((line for line in text.splitlines() if line.strip()), "")
        self.delimiter = max(",;\t|", key=line.count)
        self._comma = self.delimiter == ";"
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter))
        except csv.Error as error:
            raise ValueError(f"{path} is no CSV file that can be read ({error}).") from None
        while rows and not any(cell.strip() for cell in rows[-1]):
            rows.pop()
        if not rows:
            raise ValueError(f"{path} is empty.")
        head, named = [cell.strip() for cell in rows[0]], 0
        if all(self._number(cell) is not None for cell in head):
            head = [f"column_{i}" for i in range(1, len(head) + 1)]
            self._named = False
        else:
            named, self._first = 1, 2
        double = next((name for name in head if head.count(name) > 1 or not name), None)
        if double is not None:
            what = f"two columns of the name {double!r}" if double else "a column without a name"
            raise ValueError(f"{path} has {what}: give each column a name of its own.")
        for number, row in enumerate(rows[named:], self._first):
            if len(row) != len(head):
                raise ValueError(
                    f"{path}, row {number} has {len(row)} cells, and the table has {len(head)} "
                    "columns. Repair the row, or leave it out."
                )
        columns = zip(*rows[named:], strict=True)
        return {
            name: [cell.strip() for cell in column]
            for name, column in zip(head, columns, strict=False)
        }

    def _number(self, cell: str) -> float | None:
        try:
            return float(cell.replace(",", ".") if self._comma else cell)
        except ValueError:
            return None

    def _bad(self, name: str, row: int, advice: str = "") -> ValueError:
        cell = self.cells[name][row]
        what = f"holds {cell!r}" if cell else "is empty"
        advice = advice or "Repair the cell, or leave the row out"
        gone = not self._missing and _is_missing(cell)
        other = ". What was not observed may be missing (missing=True, --missing mean)" * gone
        return ValueError(
            f"{self.path}, row {row + self._first}, column {name!r} {what}. {advice}, or leave the "
            f"column out (--columns {name}=ignore){other}."
        )

    def _numbers(self, name: str) -> np.ndarray | None:
        """Returns a column of numbers as float64, or `None` for one of texts.

        It is one of texts if most of its cells that hold something are no numbers.
        """
        cells = self.cells[name]
        found = [self._number(cell) for cell in cells]
        missing = [_is_missing(cell) for cell in cells]
        if all(missing):
            if self._missing:
                return np.full(len(cells), np.nan)
            raise self._bad(name, 0)
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

    def columns(self, kinds: Mapping[str, str]) -> tuple[tuple[Column, ...], str, tuple[str, ...]]:
        """Finds the kinds of the columns.

        Zeros and ones are `"bernoulli"`; texts, and up to ten different whole numbers, are
        `"categorical"`; other numbers are `"gaussian"`.

        Args:
            kinds: mapping from the name of a column to one of `KINDS`, which is not guessed then.

        Returns:
            `(columns, label_column, class_names)`; the name is `""` where no column is the label.

        Raises:
            ValueError: for a cell that is empty or broken, a column that holds one value only or
                too many different texts, and unknown or unfitting kinds.
        """
        for name, kind in kinds.items():
            if name not in self.cells:
                raise unknown_name(f"column of {self.path.name}", name, self.cells)
            if kind not in KINDS:
                raise unknown_name(f"kind of the column {name!r}", kind, KINDS)
        labels = [name for name, kind in kinds.items() if kind == "label"]
        if len(labels) > 1:
            raise ValueError(f"One column is the label, not {' and '.join(labels)}.")
        columns = tuple(
            self._column(name, kinds.get(name))
            for name in self.cells
            if kinds.get(name) not in ("label", "ignore")
        )
        if not columns:
            raise ValueError(f"{self.path} has no column left to learn from.")
        names = self._texts(labels[0]) if labels else ()
        return columns, labels[0] if labels else "", names

    def _column(self, name: str, kind: str | None) -> Column:
        values = self._numbers(name) if kind != "categorical" else None
        if values is None:
            if kind not in (None, "categorical"):
                row = self._first_text(name)
                raise self._bad(name, row, f"A {kind} column takes numbers: repair the cell")
            return Column(name, "categorical", self._texts(name))
        there = values[~np.isnan(values)]  # All of them, unless cells may be missing.
        distinct = np.unique(there)
        if len(distinct) <= 1:
            raise self._constant(name)
        whole = bool((distinct == np.round(distinct)).all() and np.abs(distinct).max() < 2**24)
        binary = set(distinct.tolist()) <= {0.0, 1.0}
        for asked, bad, wanted in (
            ("bernoulli", (values != 0) & (values != 1), "0 and 1"),
            ("poisson", (values != np.round(values)) | (values < 0), "whole numbers from 0 on"),
        ):
            bad = bad & ~np.isnan(values)
            if kind == asked and bad.any():
                advice = f"A {kind} column holds {wanted}: repair the cell"
                raise self._bad(name, int(np.argmax(bad)), advice)
        if kind is None and binary:
            kind = "bernoulli"
        if kind is None and whole and len(distinct) <= min(_FEW, self.rows // 5):
            return Column(name, "categorical", tuple(str(int(value)) for value in distinct))
        return Column(name, kind or "gaussian", whole=whole)

    def _constant(self, name: str) -> ValueError:
        held = next((cell for cell in self.cells[name] if not _is_missing(cell)), None)
        what = "nothing" if held is None else repr(held)
        return ValueError(
            f"{self.path}: column {name!r} holds {what} in all rows, from which nothing can be "
            f"learned. Leave it out: --columns {name}=ignore."
        )

    def _texts(self, name: str) -> tuple[str, ...]:
        """Returns the different values of a column, in order: of numbers, or else of letters."""
        cells = self.cells[name]
        if self._missing:
            cells = [cell for cell in cells if not _is_missing(cell)]
        if "" in cells:
            raise self._bad(name, cells.index(""))
        found = set(map(self._category, cells))
        if len(found) <= 1:
            raise self._constant(name)
        if len(found) > _MANY or len(found) > max(_FEW, self.rows // 2):
            raise ValueError(
                f"{self.path}: column {name!r} holds {len(found)} different texts in {self.rows} "
                f"rows, e.g. {cells[0]!r}, too many for categories. Leave it out: --columns "
                f"{name}=ignore."
            )
        if all(_is_number(cell) for cell in found):
            return tuple(sorted(found, key=float))
        return tuple(sorted(found))

    def _category(self, cell: str) -> str:
        """Returns the name of a category: 1, 1.0 and 01 are one number."""
        value = self._number(cell)
        if value is None or not np.isfinite(value):
            return cell
        return str(int(value)) if value == int(value) else repr(value)

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
                comma = self._comma and not column.categories
                cells[column.name][row] = text.replace(".", ",") if comma else text
        rows = zip(*cells.values(), strict=True)
        write_csv(path, [*[list(cells)] * self._named, *rows], self.delimiter)

    def _encoded(self, column: Column) -> np.ndarray:
        name = column.name
        if name not in self.cells:
            raise ValueError(
                f"{self.path} has no column {name!r}. Its columns are {shown_names(self.cells)}."
            )
        if column.categories:
            numbers = self._category_numbers(name, column.categories, self._missing)
            return np.where(numbers < 0, np.nan, numbers).astype(np.float32)
        values = self._numbers(name)
        if values is None:
            raise self._bad(name, self._first_text(name))
        return values.astype(np.float32)

    def _first_text(self, name: str) -> int:
        """Returns the row of the first cell of a column that holds no number and is not missing."""
        return next(
            row
            for row, cell in enumerate(self.cells[name])
            if not (_is_number(cell) or (self._missing and _is_missing(cell)))
        )

    def labels(self, name: str, known: Sequence[str]) -> np.ndarray:
        """Returns the numbers of the categories of a column, int64 `[rows]`."""
        return self._category_numbers(name, known, missing=False)

    def _category_numbers(self, name: str, known: Sequence[str], missing: bool) -> np.ndarray:
        """Returns the numbers of categories; those of missing cells are -1, if these may be."""
        number = {text: i for i, text in enumerate(known)}
        cells = self.cells[name]
        found = [number.get(self._category(cell), -1) for cell in cells]
        for row, (cell, one) in enumerate(zip(cells, found, strict=True)):
            if one < 0 and not (missing and _is_missing(cell)):
                advice = f"Its categories are {shown_names(known)}: repair the cell"
                raise self._bad(name, row, advice)
        return np.array(found, np.int64)


def _is_missing(cell: str) -> bool:
    return cell.lower() in _MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parquet(path: pathlib.Path) -> dict[str, list[str]]:
    pyarrow = optional.load("pyarrow", purpose="A Parquet file")
    parquet = optional.load("pyarrow.parquet", purpose="A Parquet file")
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file ({error}).") from None
    return {
        str(name): ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
