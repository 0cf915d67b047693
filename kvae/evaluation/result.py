"""Figures that print as a table and are written as JSON or Markdown."""

import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from kvae.utils import arguments, io
from kvae.utils.pages import Page

__all__ = ["Result"]


class Result(Mapping):
    """Figures by name, with the table in which people read them.

    `result["name"]` is a figure, `print(result)` the table.

    Args:
        title: str. What was measured.
        values: dict. The figures by name, as plain data.
        columns, rows: the table. Floats are shown to four significant digits.
        note: str. A line under the title: settings, and how to read the figures.
        parts: sequence of `Result`. Their tables and pictures follow; their figures are among
            `values` where they are to be.
        pictures: dict or `None`. By the name of its file, without a suffix, a caption and a
            function that draws it to a path.

    Example:

    ```python
    result = kvae.evaluation.evaluate(vae, test, latents=True)
    print(result)
    result.write("evaluation")      # result.json, result.md, reconstructions.png, …
    ```
    """

    def __init__(
        self,
        title: str,
        values: Mapping,
        columns: Sequence[str],
        rows: Sequence,
        note: str = "",
        *,
        parts: Sequence["Result"] = (),
        pictures: Mapping[str, tuple[str, Callable]] | None = None,
    ):
        self.title, self.note = title, note
        self.parts, self.pictures = tuple(parts), dict(pictures or {})
        self._values, self._columns = arguments.plain(dict(values)), [str(name) for name in columns]
        self._rows = [[_cell(value) for value in row] for row in rows]

    def __getitem__(self, name: str) -> Any:
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
        own = "\n".join([self.title, *([self.note] if self.note else []), "", *lines])
        return "\n\n".join([own, *map(str, self.parts)])

    __repr__ = __str__

    def to_dict(self) -> dict:
        """Returns the figures as plain data."""
        return dict(self._values)

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """Returns the figures as JSON, and writes them to `path` where one is given."""
        facts = {"title": self.title, "note": self.note, **self._values}
        return _written(json.dumps(io.without_nan(facts), indent=2) + "\n", path)

    def to_markdown(self, path: str | os.PathLike | None = None) -> str:
        """Returns the tables as Markdown, and writes them to `path` where one is given."""
        return _written(self._report(()).to_markdown(), path)

    def plots(self, folder: str | os.PathLike, suffix: str = ".png") -> list[pathlib.Path]:
        """Draws the pictures of this result and of its parts into a folder; returns their paths.

        Args:
            folder: path. Made where it does not exist.
            suffix: str. `".png"`, `".pdf"` or `".svg"`. Defaults to `".png"`.
        """
        paths = []
        for name, (_, draw) in self._pictures().items():
            paths.append(pathlib.Path(folder) / f"{name}{suffix}")
            draw(paths[-1])
        return paths

    def write(self, folder: str | os.PathLike) -> list[pathlib.Path]:
        """Writes `result.json`, `result.md` and the pictures into a folder; returns their paths.

        The figures are written before anything is drawn. A picture that cannot be drawn is a
        `RuntimeWarning` and a line in `result.md`; the others are drawn all the same.
        """
        folder = io.writable_folder(folder)
        paths = [folder / "result.json", folder / "result.md"]
        self.to_json(paths[0])
        self.to_markdown(paths[1])
        pictures = self._pictures()
        page = self._report(pictures)
        for name, (_, draw) in pictures.items():
            with page.drawing(folder / f"{name}.png") as path:
                draw(path)
                paths.append(path)
        page.write(paths[1])
        return paths

    def _pictures(self) -> dict:
        pictures = dict(self.pictures)
        for part in self.parts:
            pictures |= part._pictures()
        return pictures

    def _report(self, names: Collection[str]) -> Page:
        """Returns the page, with the pictures of these names."""
        report = Page(self.title, self.note)
        report.table(self._columns, self._rows)
        shown = [(f"{n}.png", text) for n, (text, _) in self.pictures.items() if n in names]
        if shown:
            report.images(*shown)
        for part in self.parts:
            report.heading(part.title)
            if part.note:
                report.text(part.note)
            report.extend(part._report(names))
        return report


def _written(text: str, path) -> str:
    if path is not None:
        with io.atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return text


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
