"""CSV files that are either whole or absent."""

import csv
import os
from collections.abc import Iterable

from kvae.utils.io import atomic_write

__all__ = ["write_csv"]


def write_csv(path: str | os.PathLike, rows: Iterable[Iterable], delimiter: str = ",") -> None:
    """Writes rows of cells as CSV text, by `kvae.utils.io.atomic_write`.

    Args:
        path: str or path. The file to write.
        rows: iterable of iterables of cells, the names of the columns first.
        delimiter: str. What separates cells. Defaults to `","`.

    Example:

    ```python
    kvae.utils.csv_files.write_csv("scores.csv", [["row", "score"], [0, 28.1], [1, 31.5]])
    ```
    """
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
