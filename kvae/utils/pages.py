"""Reports as one folder: a self-contained HTML page or Markdown beside its pictures."""

import contextlib
import html
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

from kvae.utils import callers, io

__all__ = ["Page", "drawing"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --line: #d9dee8;
  --paper: #ffffff; --card: #f5f7fb; --accent: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #a3acbd; --line: #343b4a;
  --paper: #14171f; --card: #1d222d; --accent: #8db1ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
p { max-width: 46rem; } .lead { color: var(--soft); margin-top: 0; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
img { max-width: 100%; max-height: 85vh; background: #fff; border: 1px solid var(--line);
  border-radius: .4rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .75rem 0; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; }
pre { background: var(--card); padding: .75rem 1rem; border-radius: .4rem; font-size: .9rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code { font-family: ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 40rem) { body { padding: 1rem .6rem; } th, td { font-size: .68rem;
  padding-right: .25rem; } }
"""


@contextlib.contextmanager
def drawing(path, failed: dict[str, str] | None = None) -> Iterator[pathlib.Path]:
    """Draws a picture within the block; a failure is a `RuntimeWarning`, and the work goes on.

    Write the numbers first: no picture is worth the numbers that it shows.

    Args:
        path: str or path. The file of the picture.
        failed: optional dict. It gets the reason for a failure, by the name of the file.

    Example:

    ```python
    with drawing("samples.png") as path:
        kvae.plots.samples(vae, path=path)
    ```
    """
    path = pathlib.Path(path)
    try:
        yield path
    except Exception as error:  # Whatever keeps a picture from being drawn.
        why = " ".join(str(error).split()) or type(error).__name__
        if failed is not None:
            failed[path.name] = why
        callers.warn(f"{path} was not drawn: {why}", RuntimeWarning)


class Page:
    """A page that is built top to bottom and written at the end, as HTML, Markdown or both.

    Args:
        title: str. Heading of the page.
        lead: str. One line under it.

    Example:

    ```python
    report = kvae.utils.pages.Page("My model")
    report.heading("Losses")
    report.table(("quantity", "nats"), [("elbo", "-90.1")])
    report.write("out/index.html")
    report.write("out/README.md")
    ```
    """

    def __init__(self, title: str, lead: str = ""):
        self.title, self.lead = title, lead
        self._blocks: list[tuple[str, tuple]] = []
        self._failed: dict[str, str] = {}  # The reasons for failures, by the picture's name.

    def heading(self, text: str) -> None:
        self._blocks.append(("heading", (text,)))

    def text(self, text: str) -> None:
        self._blocks.append(("text", (text,)))

    def code(self, text: str) -> None:
        self._blocks.append(("code", (text.strip(),)))

    def items(self, *texts: str) -> None:
        """Adds a list, each of its items a line of text."""
        self._blocks.append(("items", texts))

    def images(self, *pictures: tuple[str, str]) -> None:
        """Adds pictures, each as `(path relative to the page, caption)`."""
        self._blocks.append(("images", pictures))

    def drawing(self, path):
        """Does what `drawing` does; the page leaves out a picture that fails, and says why."""
        return drawing(path, self._failed)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        self._blocks.append(("table", ([str(column) for column in columns], cells)))

    def extend(self, other: "Page") -> None:
        """Adds everything of another report but its title and lead."""
        self._blocks.extend(other._blocks)
        self._failed.update(other._failed)

    def _shown(self) -> Iterator[tuple[str, tuple]]:
        """Yields the blocks, with words in place of the pictures that were not drawn."""
        for kind, content in self._blocks:
            if kind != "images":
                yield kind, content
                continue
            drawn = tuple(picture for picture in content if picture[0] not in self._failed)
            if drawn:
                yield kind, drawn
            for path, caption in content:
                if path in self._failed:
                    yield "text", (f"{caption} ({path}): not drawn. {self._failed[path]}",)

    def to_html(self) -> str:
        """Returns the page as one HTML document, which fetches nothing but its pictures."""
        lead = f'<p class="lead">{html.escape(self.lead)}</p>' if self.lead else ""
        body = "".join(_HTML[kind](*content) for kind, content in self._shown())
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><main><h1>{html.escape(self.title)}</h1>{lead}{body}</main></body></html>\n"
        )

    def to_markdown(self) -> str:
        """Returns the page as Markdown, with the pictures by their relative paths."""
        head = [f"# {_inline(self.title)}"] + ([_inline(self.lead)] if self.lead else [])
        return "\n\n".join(head + [_MARKDOWN[kind](*c) for kind, c in self._shown()]) + "\n"

    def write(self, path) -> pathlib.Path:
        """Writes the page, atomically: Markdown when the name ends in `.md`, else HTML."""
        path = pathlib.Path(path)
        page = self.to_markdown() if path.suffix == ".md" else self.to_html()
        with io.atomic_write(path) as temporary:
            # Names of files need not be text.
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
        return path


def _html_images(*pictures) -> str:
    figures = [
        # A click opens the picture in its full size: its words may be too small to read here.
        f'<figure><a href="{html.escape(path)}"><img src="{html.escape(path)}" '
        f'alt="{html.escape(caption)}"></a>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for path, caption in pictures
    ]
    return "".join(figures)


def _html_table(columns, rows) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in columns)

    def row_of(cells):  # Long names may be broken, so that a phone shows whole rows.
        found = (html.escape(cell).replace("_", "_<wbr>") for cell in cells)
        return f"<tr>{''.join(f'<td>{cell}</td>' for cell in found)}</tr>"

    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(row_of, rows))}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """Returns text that Markdown shows as it is."""
    return re.sub(r"([\\`*_<>\[\]#|~])", r"\\\1", text)


def _markdown_table(columns, rows) -> str:
    lines = [[_inline(cell) for cell in line] for line in (columns, *rows)]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_HTML = {
    "heading": lambda text: f"<h2>{html.escape(text)}</h2>",
    "text": lambda text: f"<p>{html.escape(text)}</p>",
    "code": lambda text: f"<pre><code>{html.escape(text)}</code></pre>",
    "items": lambda *texts: f"<ul>{''.join(f'<li>{html.escape(t)}</li>' for t in texts)}</ul>",
    "images": _html_images,
    "table": _html_table,
}
_MARKDOWN = {
    "heading": lambda text: f"## {_inline(text)}",
    "text": _inline,
    "code": lambda text: f"```\n{text}\n```",
    "items": lambda *texts: "\n".join(f"- {_inline(text)}" for text in texts),
    "images": lambda *pictures: "\n\n".join(
        f"![{_inline(caption)}]({path})\n\n*{_inline(caption)}*" for path, caption in pictures
    ),
    "table": _markdown_table,
}
