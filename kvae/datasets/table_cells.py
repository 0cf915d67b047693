"""The cells of a table as they came, and the numbers that stand for them."""

import copy
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvae.datasets.frames import read_frame
from kvae.datasets.schema import Column, number_name
from kvae.datasets.table_files import TRUTH, TableFile, read_csv, read_parquet, to_number
from kvae.utils.names import shown_names

__all__ = ["FEW", "TableCells"]

FEW = 10  # So many whole numbers at most are categories; texts may be
_MANY = 1000  # of so many different kinds.
_NO_NUMBERS = ("String", "Boolean", "Categorical", "Enum")


class TableCells:
    """The base of `kvae.datasets.tables.Cells`, which reads the cells of a file or a frame."""

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

    def lenient(self) -> "TableCells":
        """Returns the same cells, of which any may be missing."""
        found = copy.copy(self)
        found._missing = True
        return found

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
        if len(found) > _MANY or len(found) > max(FEW, self.rows // 2):
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

    def encoded_column(self, column: Column) -> np.ndarray:
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
