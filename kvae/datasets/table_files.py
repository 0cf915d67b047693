"""Files of tables: the cells of CSV text, and of Parquet."""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Sequence

from kvae.datasets.frames import Held, read_frame
from kvae.datasets.schema import MISSING
from kvae.utils import optional

__all__ = ["TRUTH", "TableFile", "dtype_of", "read_csv", "read_parquet", "to_number"]

TRUTH = ("false", "true")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?")


@dataclasses.dataclass(frozen=True)
class TableFile:
    """The columns of a file, and how it writes them.

    Attributes:
        columns: dict of str to `kvae.datasets.frames.Held`.
        delimiter: str. What stands between two cells.
        comma: bool. Whether numbers may have a decimal comma.
        first: int. The number of the first row, as spreadsheets count them.
    """

    columns: dict[str, Held]
    delimiter: str = ","
    comma: bool = False
    first: int = 2


def to_number(cell: str, comma: bool = False) -> float | None:
    """Returns the number that a cell holds, or `None`.

    Args:
        cell: str.
        comma: bool. Whether it may have a decimal comma. Defaults to `False`.
    """
    try:
        return float(cell.replace(",", ".") if comma else cell)
    except ValueError:
        return None


def dtype_of(cells: Sequence[str], comma: bool = False) -> str:
    """Returns the type that a reader of CSV files gives a column of these cells.

    It is narwhals's name: `"Boolean"`, `"Date"`, `"Datetime"`, `"Int64"`, `"Float64"` or
    `"String"`.
    """
    if all(cell.lower() in TRUTH for cell in cells):
        return "Boolean"
    if all(_DATE.fullmatch(cell) for cell in cells):
        return "Date"
    if all(_DATE.fullmatch(cell) or _MOMENT.fullmatch(cell) for cell in cells):
        return "Datetime"
    if any(to_number(cell, comma) is None for cell in cells):
        return "String"
    return "Int64" if all(cell.lstrip("+-").isdecimal() for cell in cells) else "Float64"


def read_csv(path: pathlib.Path) -> TableFile:
    """Reads a file of CSV text in UTF-8.

    Raises:
        ValueError: for a file that is empty, is no such table, or has rows of other lengths.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV in UTF-8."
        ) from None
    line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t|", key=line.count)
    comma = delimiter == ";"
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file that can be read ({error}).") from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValueError(f"{path} is empty.")
    head, first = [cell.strip() for cell in rows[0]], 2
    if all(to_number(cell, comma) is not None for cell in head):
        head, first = [f"column_{i}" for i in range(1, len(head) + 1)], 1
    double = next((name for name in head if head.count(name) > 1 or not name), None)
    if double is not None:
        what = f"two columns of the name {double!r}" if double else "a column without a name"
        raise ValueError(f"{path} has {what}: give each column a name of its own.")
    rows = rows[first - 1 :]
    for number, row in enumerate(rows, first):
        if len(row) != len(head):
            raise ValueError(
                f"{path}, row {number} has {len(row)} cells, and the table has {len(head)} "
                "columns. Repair the row, or leave it out."
            )
    columns = {}
    for name, column in zip(head, zip(*rows, strict=True), strict=False):
        cells = [cell.strip() for cell in column]
        columns[name] = Held(cells, [cell.lower() in MISSING for cell in cells])
    return TableFile(columns, delimiter, comma, first)


def read_parquet(path: pathlib.Path) -> TableFile:
    """Reads a Parquet file.

    Raises:
        ModuleNotFoundError: without `pyarrow` and `narwhals`.
        ValueError: for a file that cannot be read.
    """
    pyarrow = optional.load("pyarrow", purpose="A Parquet file")
    parquet = optional.load("pyarrow.parquet", purpose="A Parquet file")
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as a Parquet file ({error}).") from None
    try:
        return TableFile(read_frame(table))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
