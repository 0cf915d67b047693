"""Figures that print as a table and are written as JSON or Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence

from kvae import io
from kvae.report import Report

__all__ = ["Result"]


class Result(Mapping):
    """Figures by name, with the table in which people read them.

    `result["name"]` is a figure, `print(result)` the table.

    Args:
        title: str. What was measured.
        values: dict. The figures by name, as plain data.
        columns, rows: of the table. Floats are shown to four significant digits.
        note: str. A line under the title: settings, and how to read the figures.
    """

    def __init__(
        self, title: str, values: Mapping, columns: Sequence[str], rows: Sequence, note: str = ""
    ):
        self.title, self.note = title, note
        self._values, self._columns = dict(values), [str(column) for column in columns]
        self._rows = [[_cell(value) for value in row] for row in rows]

    def __getitem__(self, name):
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __str__(self) -> str:
        table = [self._columns, *self._rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.title, *([self.note] if self.note else []), "", *lines])

    __repr__ = __str__

    def to_dict(self) -> dict:
        """Returns the figures as plain data."""
        return dict(self._values)

    def to_json(self, path=None) -> str:
        """Returns the figures as JSON, and writes them to `path` where one is given."""
        facts = {"title": self.title, "note": self.note, **self._values}
        return _written(json.dumps(facts, indent=2) + "\n", path)

    def to_markdown(self, path=None) -> str:
        """Returns the table as Markdown, and writes it to `path` where one is given."""
        report = Report(self.title, self.note)
        report.table(self._columns, self._rows)
        return _written(report.to_markdown(), path)


def _written(text: str, path) -> str:
    if path is not None:
        with io.atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
