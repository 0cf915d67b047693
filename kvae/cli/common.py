"""Helpers that several commands share: quiet start-up, models by name, output, arguments."""

import contextlib
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile

from kvae.cli.help import Unset, wrapped
from kvae.utils import io
from kvae.utils.terminal import printable, say

__all__ = [
    "add_json",
    "add_limit",
    "add_model",
    "add_seed",
    "card_of",
    "from_0",
    "load_model",
    "number_from_0",
    "positive",
    "positive_number",
    "print_json",
    "progress",
    "quiet_tensorflow",
    "stem",
    "table",
]

# Letters, in the first column of a table and in the others. Longer words, such as hashes, may be
# split.
_WHOLE = (40, 24)


def quiet_tensorflow(begin=None):
    """Imports TensorFlow and runs a first operation without the noise of its start-up.

    Its C++ side writes to file descriptor 2 before any log level applies; the descriptor points to
    a temporary file meanwhile, which is shown if the import fails.

    Args:
        begin: optional function, called in place of that operation, whose result is returned.
    """
    if "tensorflow" in sys.modules:
        return None if begin is None else begin()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        failed = True
        try:
            import tensorflow as tf

            result = tf.zeros([1]) + 1.0 if begin is None else begin()
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace"))
    return result


def positive(text: str) -> int:
    """An argument that is an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def from_0(text: str) -> int:
    """An argument that is an integer of at least 0."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


positive.__name__ = "positive integer"  # What argparse calls it in its error.
from_0.__name__ = "integer from 0 on"


def _number(text: str, least: float, allowed: bool) -> float:
    value = float(text)
    if not math.isfinite(value) or value < least or (value == least and not allowed):
        raise ValueError
    return value


def positive_number(text: str) -> float:
    """An argument that is a finite number above 0."""
    return _number(text, 0.0, allowed=False)


def number_from_0(text: str) -> float:
    """An argument that is a finite number of at least 0."""
    return _number(text, 0.0, allowed=True)


positive_number.__name__ = "positive number"
number_from_0.__name__ = "number from 0 on"


def add_json(parser) -> None:
    """Adds `--json`, for programs that read the output."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def add_model(parser) -> None:
    """Adds the model that a command works with."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="A name of `kvae list`, a .keras file, or hf://user/repo for the Hugging Face Hub.",
    )


def add_limit(parser) -> None:
    """Adds `--limit`, for a quick look."""
    parser.add_argument(
        "--limit",
        type=positive,
        default=Unset("all"),
        help="Use only the first examples, this many of them.",
    )


def add_seed(parser, default: int | None) -> None:
    """Adds `--seed`; without a default it is the card's."""
    shown = Unset("the card's, or 0") if default is None else default
    parser.add_argument("--seed", type=from_0, default=shown, help="Draw by this seed.")


def stem(model: str) -> str:
    """Returns what a model is called, by its zoo name, its address or its file."""
    return model.rsplit("/", 1)[-1].removesuffix(".keras")


def load_model(name: str):
    """Loads a zoo model by its name, or a `.keras` file by its path."""
    quiet_tensorflow()
    path = pathlib.Path(name)
    if path.suffix == ".keras" or path.exists():
        from kvae.models import VAE
        from kvae.models.loading import load_model as load_file

        if path.is_dir():
            raise ValueError(
                f"{path} is a folder, not a model: give a .keras file or a name of `kvae list`."
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no model file {path}. Give the path of a .keras file, or a name of "
                "`kvae list`."
            )
        model = load_file(path)
        if not isinstance(model, VAE):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a kvae.VAE.")
        return model
    import zoo
    from zoo import hub

    if os.sep in name and not hub.is_address(name):
        raise FileNotFoundError(
            f"There is no {name}. Give the path of a .keras file, or a name of `kvae list`."
        )
    return zoo.load(name)


def card_of(name: str):
    """The card of a zoo model, here or on the Hub; `None` for a file."""
    import zoo
    from zoo import hub

    return zoo.card(name) if hub.is_address(name) or name in zoo.list_models() else None


def print_json(value) -> None:
    """Prints an object as JSON, with `null` for what is no number."""
    print(json.dumps(io.without_nan(value), indent=2))


def show(result, folder, facts: dict | None) -> None:
    """Prints a `Result`, and writes it into a folder.

    Printing comes first: what was measured for hours is not lost where it cannot be written.

    Args:
        result: `kvae.evaluation.Result`.
        folder: str, path or `None`, for no files.
        facts: dict or `None`. What JSON says beside the figures; `None` prints a table.
    """
    if facts is None:
        say(result, flush=True)
    else:
        print_json({**facts, **result})
    for path in [] if folder is None else result.write(folder):
        if facts is None:
            say(f"wrote {path}")


def table(title: str, columns, rows) -> None:
    """Prints a table; numbers are right-aligned.

    Where it would have to split names to fit into the terminal, it prints a list instead.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    cells = [["" if cell is None else printable(cell) for cell in row] for row in rows]
    needed = [
        min(max(len(word) for text in column for word in text.split() or [""]), _WHOLE[index > 0])
        for index, column in enumerate(zip(columns, *cells, strict=True))
    ]
    # A pipe has no width: give it enough that no cell wraps.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    console = Console(width=width, highlight=False)
    console.print(f"[bold]{escape(printable(title))}[/bold]")
    if sum(needed) + 3 * len(needed) > width:
        for name, *values in cells:
            texts = [f"{name}: {values[0]}"]
            if len(values) > 1:
                console.print(f"\n[bold]{escape(name)}[/bold]", soft_wrap=True)
                pairs = zip(columns[1:], values, strict=True)
                texts = [f"{key}: {value}" if key else value for key, value in pairs if value]
            for line in (line for text in texts for line in wrapped(text, width - 2)):
                console.print(line, markup=False, soft_wrap=True)
        return
    view = Table(box=box.SIMPLE_HEAD)
    for index, (column, least) in enumerate(zip(columns, needed, strict=True)):
        numeric = rows and all(isinstance(row[index], (int, float)) for row in rows)
        justify = "right" if numeric else "left"
        view.add_column(column, justify=justify, overflow="fold", min_width=least)
    for row in cells:
        view.add_row(*map(escape, row))
    console.print(view)


@contextlib.contextmanager
def progress(text: str, total: int):
    """Gives a function that moves a progress bar (on standard error) to a number of steps."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(printable(text), total=total)

        def update(done: int, description: str | None = None) -> None:
            bar.update(task, completed=done, description=description and printable(description))

        yield update
