"""The guides: Python files in cells, which run, become notebooks and become pages of the site.

A guide is docs/guides/NAME.py in the percent format, which editors and Jupytext open as a notebook:
`# %% [markdown]` begins a cell of text in comments, `# %%` one of code. `make guides` runs them and
writes NAME.ipynb with what they print and draw. A line that ends in `# quick: VALUE` assigns that
value instead when the tests run the guide.
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import traceback
import warnings

FOLDER = pathlib.Path(__file__).parents[1] / "guides"

_MARKER = re.compile(r"^# %%(?: \[(\w+)\])?(?: alt=\"([^\"]*)\")?$")
_QUICK = re.compile(r"^(\w+) = .*# quick: (.+)$", flags=re.MULTILINE)


@dataclasses.dataclass
class Cell:
    """One cell: `kind` is "markdown" or "code"; `alt` describes the picture that it draws."""

    kind: str
    source: str
    alt: str | None = None
    outputs: list[dict] = dataclasses.field(default_factory=list)


def sources(folder: pathlib.Path = FOLDER) -> list[pathlib.Path]:
    """Returns the files of the guides, in the order in which README.md links to them."""
    names = re.findall(r"\]\((\w+)\.ipynb\)", (folder / "README.md").read_text(encoding="utf-8"))
    return [folder / f"{name}.py" for name in dict.fromkeys(names)]


def cells(text: str) -> list[Cell]:
    """Splits a file in the percent format into its cells."""
    found: list[Cell] = []
    lines: list[str] = []
    for line in text.splitlines():
        if match := _MARKER.match(line):
            found.append(Cell(match[1] or "code", "", match[2]))
            lines = []
        elif not found:
            raise ValueError("A guide starts with a cell: `# %% [markdown]`.")
        else:
            lines.append(line)
            found[-1].source = "\n".join(lines).strip("\n")
    for cell in found:
        if cell.kind == "markdown":
            cell.source = re.sub(r"^# ?", "", cell.source, flags=re.MULTILINE)
    return found


def quick(source: str) -> str:
    """Returns the code of a cell with the values that its comments give for the tests."""
    return _QUICK.sub(r"\1 = \2", source)


def run(path: pathlib.Path, change=lambda source: source) -> list[Cell]:
    """Runs a guide in this process and returns its cells with their outputs.

    Args:
        path: path. The guide, in the percent format.
        change: function. Is given the code of each cell and returns what is run. Defaults to the
            code as it is; `quick` is another one.
    """
    namespace = {"__name__": "__main__"}
    found = cells(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, _inside(folder):
        for number, cell in enumerate(found, 1):
            if cell.kind == "code":
                cell.outputs = _run(change(cell.source), f"{path.name}, cell {number}", namespace)
    return found


@contextlib.contextmanager
def _inside(folder: str):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _run(code: str, name: str, namespace: dict) -> list[dict]:
    """Runs one cell; the value of its last line is shown, as in a notebook."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", UserWarning)
        exec(compile(tree, name, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
    outputs = []
    told = [f"{w.category.__name__}: {w.message}" for w in caught if w.category is UserWarning]
    if told:
        outputs.append({"name": "stderr", "output_type": "stream", "text": _lines("\n".join(told))})
    if printed.getvalue():
        text = _lines(printed.getvalue())
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if value is not None:
        outputs.append(_shown(value))
    return outputs


def _shown(value) -> dict:
    """Returns a value as the output of a cell: a picture for figures, else its `repr`."""
    if not hasattr(value, "savefig"):
        data = {"text/plain": _lines(repr(value))}
    else:
        from PIL import Image  # Which the site's environment does not have.

        drawn, picture = io.BytesIO(), io.BytesIO()
        value.savefig(drawn, format="png")
        # 256 colours: a third of the bytes.
        Image.open(drawn).convert("RGB").quantize(256).save(picture, "png", optimize=True)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
    return {"data": data, "metadata": {}, "output_type": "display_data"}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def as_notebook(found: list[Cell]) -> str:
    """Returns cells as a notebook, the JSON of an .ipynb file."""
    written = []
    for number, cell in enumerate(found, 1):
        entry = {"cell_type": cell.kind, "id": f"cell-{number}", "metadata": {}}
        if cell.alt:
            entry["metadata"]["alt"] = cell.alt
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": cell.outputs}
        written.append(entry | {"source": _lines(cell.source)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def from_notebook(text: str) -> list[Cell]:
    """Returns the cells of a notebook, with their outputs."""
    return [
        Cell(
            entry["cell_type"],
            "".join(entry["source"]),
            entry["metadata"].get("alt"),
            entry.get("outputs", []),
        )
        for entry in json.loads(text)["cells"]
    ]


def as_page(notebook: pathlib.Path) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by name."""
    name = notebook.stem
    parts, pictures = [], {}
    for cell in from_notebook(notebook.read_text(encoding="utf-8")):
        if cell.kind == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            text = output.get("text") or output["data"].get("text/plain")
            if text is not None:
                shown = "".join(text).rstrip("\n")
                parts.append(f'<div class="output" markdown>\n\n```text\n{shown}\n```\n\n</div>')
            else:
                picture = f"{name}_{len(pictures) + 1}.png"
                pictures[picture] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![{cell.alt or 'What the cell draws'}]({picture})")
    download = (
        f'<p class="download">This page is a notebook, with what it printed when it was last run: '
        f'<a href="{name}.ipynb" download>{name}.ipynb</a></p>'
    )
    return "\n\n".join([parts[0], download, *parts[1:]]) + "\n", pictures


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Runs the guides and writes their notebooks.")
    parser.add_argument("names", nargs="*", help="guides to run; all of them by default")
    parser.add_argument(
        "--quick", action="store_true", help="run them as the tests do, and write nothing"
    )
    options = parser.parse_args(arguments)
    known = [path.stem for path in sources()]
    for name in options.names:
        if name not in known:
            parser.error(f"There is no guide {name!r}. Known: {', '.join(known)}.")
    failed = 0
    for path in sources():
        if options.names and path.stem not in options.names:
            continue
        print(path.stem, flush=True)
        try:
            done = run(path, quick if options.quick else lambda source: source)
        except Exception:
            traceback.print_exc()
            failed += 1
            continue
        if not options.quick:
            path.with_suffix(".ipynb").write_text(as_notebook(done), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
