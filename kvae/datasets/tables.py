"""Tables in files and frames: their columns, and the numbers that stand for their cells."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets.columns import COMPONENTS, atoms_of, kind_of_numbers
from kvae.datasets.schema import Column, Schema, check_condition_name, number_name
from kvae.datasets.table_cells import FEW, TableCells
from kvae.datasets.table_files import (
    TRUTH,
    dtype_of,
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
_COARSE = 0.01  # Of a standard deviation, above which float32's steps lose what a column says.


class Cells(TableCells):
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

    def schema(self, kinds: Mapping[str, str], name: str = "", rows: Any = None) -> Schema:
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
            rows: int array or `None`. The rows of the training, which alone say in which bounds
                the numbers lie. Defaults to `None`: all.

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
                column = self._column(one, kinds.get(one), len(found))
                found.append(column if rows is None else self._within(column, rows))
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
        column = self.lenient()._column(name, None, 0)
        if column.kind == "constant" or column.origin:
            what = "dates" if column.origin else "one value in all rows"
            raise ValueError(
                f"{self.path}: column {name!r} holds {what}, which make no condition. Leave it "
                f"out: {self._kind(name, 'ignore')}."
            )
        return column

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

    def _within(self, column: Column, rows: np.ndarray) -> Column:
        """Returns a column with the bounds that it has in some rows."""
        if column.low is None:
            return column
        values = self._days(column) if column.origin else self._numbers(column.name)
        there = values[rows][~np.isnan(values[rows])]
        if not len(there):
            return column
        return dataclasses.replace(column, low=float(there.min()), high=float(there.max()))

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
        if kind is None and whole and len(distinct) <= min(FEW, self.rows // 5):
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

    def encoded(self, columns: Sequence[Column]) -> np.ndarray:
        """Returns the table as float32 `[rows, columns]`, in which models compute.

        Raises:
            ValueError: for a column that is missing, and a cell that does not fit its column.
        """
        return np.stack([self.encoded_column(column) for column in columns], axis=1)

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

    def told(self, schema: Schema) -> Any:
        """Returns what a model is told of the rows: labels, conditions by name, or `None`.

        Of a column that the table lacks nothing is known.
        """
        if schema.label_column in self.cells:
            return self.labels(schema.label_column, schema.class_names)
        lenient = self.lenient()
        there = [column for column in schema.conditions if column.name in self.cells]
        return {column.name: lenient.encoded_column(column) for column in there} or None

    def labels(self, name: str, known: Sequence[str]) -> np.ndarray:
        """Returns the numbers of the categories of a column, int64 `[rows]`; -1 is not known."""
        return self._category_numbers(name, known, missing=self._unlabelled)


def _truth(cells: Sequence[str]) -> tuple[str, ...]:
    """Returns the words of a Boolean column for false and true, as the cells write them."""
    found = {cell.lower(): cell for cell in cells}
    return tuple(found.get(word, word) for word in TRUTH)
