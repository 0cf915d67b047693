"""Reports as one folder: a self-contained HTML page beside its pictures."""

import html
import pathlib
from collections.abc import Iterable, Sequence

from kvae import io

__all__ = ["Report"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --line: #d9dee8;
  --paper: #ffffff; --card: #f5f7fb; --accent: #2457c5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf2; --soft: #a3acbd; --line: #343b4a;
  --paper: #14171f; --card: #1d222d; --accent: #8db1ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
p { max-width: 46rem; } .lead { color: var(--soft); margin-top: 0; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .9rem; }
img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .4rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .75rem 0; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left;
  font-variant-numeric: tabular-nums; } th { color: var(--soft); font-weight: 600; }
pre { background: var(--card); padding: .75rem 1rem; border-radius: .4rem; overflow-x: auto;
  font-size: .9rem; } code { font-family: ui-monospace, Menlo, Consolas, monospace; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
"""


class Report:
    """A page that is built top to bottom and written at the end.

    Args:
        title: str. Heading of the page.
        lead: str. One line under it.

    Example:

    ```python
    report = kvae.report.Report("My model")
    report.heading("Losses")
    report.table(("quantity", "nats"), [("elbo", "-90.1")])
    report.write("out/index.html")
    ```
    """

    def __init__(self, title: str, lead: str = ""):
        self.title = title
        self._body = [f"<h1>{html.escape(title)}</h1>"]
        if lead:
            self._body.append(f'<p class="lead">{html.escape(lead)}</p>')

    def heading(self, text: str) -> None:
        self._body.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._body.append(f"<p>{html.escape(text)}</p>")

    def code(self, text: str) -> None:
        self._body.append(f"<pre><code>{html.escape(text.strip())}</code></pre>")

    def images(self, *pictures: tuple[str, str]) -> None:
        """Adds pictures side by side, each as `(path relative to the page, caption)`."""
        figures = [
            f'<figure><img src="{html.escape(path)}" alt="{html.escape(caption)}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for path, caption in pictures
        ]
        self._body.append(f'<div class="row">{"".join(figures)}</div>')

    def table(self, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
        head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        self._body.append(
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def write(self, path) -> pathlib.Path:
        """Writes the page, atomically."""
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><main>{''.join(self._body)}</main></body></html>\n"
        )
        with io.atomic_write(path) as temporary:
            temporary.write_text(page)
        return pathlib.Path(path)
