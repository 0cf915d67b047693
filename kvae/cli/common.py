"""Helpers that several commands share: quiet start-up, models by name, output, arguments."""

import argparse
import contextlib
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile

from kvae.cli import checks
from kvae.cli.help import Unset, wrapped
from kvae.utils import io, plugins
from kvae.utils.terminal import printable, say

__all__ = [
    "add_import",
    "add_json",
    "add_limit",
    "add_model",
    "add_seed",
    "card_of",
    "from_0",
    "guesses",
    "import_own",
    "load_model",
    "number_from_0",
    "positive",
    "positive_number",
    "print_json",
    "quiet_tensorflow",
    "stem",
    "table",
    "tell",
]

# Letters, in the first column of a table and in the others. Longer words, such as hashes, may be
# split.
_WHOLE = (40, 24)
_IMPORT = "--import"


def quiet_tensorflow(begin=None):
    """Imports TensorFlow and runs a first operation without the noise of its start-up.

    It says so first, on standard error, because that takes from five seconds to a minute.

    Its C++ side writes to file descriptor 2 before any log level applies; the descriptor points to
    a temporary file meanwhile, which is shown if the import fails.

    Args:
        begin: optional function, called in place of that operation, whose result is returned.
    """
    if "tensorflow" in sys.modules:
        return None if begin is None else begin()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tell("Loading TensorFlow …")
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


def tell(text: str) -> None:
    """Says at once, on standard error, what a command does."""
    say(text, file=sys.stderr, flush=True)


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


def add_report_folder(parser, files: str = "result.json and result.md") -> None:
    """Adds `--output`, the folder for the files of a result."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=checks.output_folder,
        default=Unset("no files"),
        help=f"Also write {files} into this folder.",
    )


def add_model(parser, *names: str) -> None:
    """Adds the model that a command works with, or several of these names."""
    for name in names or ("model",):
        parser.add_argument(
            name,
            metavar=name.upper(),
            type=checks.model,
            help="A name of `kvae list`, a .keras file, or hf://user/repo for the Hugging Face "
            "Hub.",
        )
    add_import(parser)


def add_import(parser) -> None:
    """Adds `--import`, for models with layers and parts of the user's own."""
    parser.add_argument(
        _IMPORT,
        dest="imports",
        metavar="MODULE",
        action="append",
        type=checks.module,
        default=[],
        help="Import this module of yours, or .py file, first, so that its architectures, parts, "
        "classes and functions are known. May be given several times.",
    )


def announce_own(words) -> None:
    """Announces what `--import` names in a command line, whose other words may name what it has.

    Args:
        words: list of str. The command line. What is wrong in it is left to the parser.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_import(parser)
    with contextlib.suppress(argparse.ArgumentError):
        for folder, name in parser.parse_known_args(words)[0].imports:
            sys.path.insert(0, folder)
            plugins.announce(name, _IMPORT)


def import_own(modules) -> None:
    """Imports modules that are announced, and makes what they define known to Keras, by its names.

    Args:
        modules: pairs of a folder and a name, as of `checks.module`.

    Raises:
        ImportError: for a module that raises an error.
    """
    quiet_tensorflow()
    import keras

    for _, name in modules:
        module = plugins.import_module(name, _IMPORT)
        defined = {
            key: value
            for key, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ and callable(value)
        }
        keras.saving.get_custom_objects().update(defined)


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
    checks.check_model(name)
    quiet_tensorflow()
    path = pathlib.Path(name)
    if path.suffix == ".keras" or path.exists():
        from kvae.models import VAE
        from kvae.models.loading import load_model as load_file

        model = load_file(path)
        if not isinstance(model, VAE):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a kvae.VAE.")
        return model
    import zoo

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


def guesses(arguments) -> bool:
    """Checks whether the options ask for an objective that guesses labels."""
    from kvae import objectives
    from zoo.building import ARCHITECTURES

    if getattr(arguments, "objective", None) is not None:
        return objectives.get(arguments.objective).takes_unknown_labels
    architecture = getattr(arguments, "architecture", None)
    if architecture is None:
        return False
    return ARCHITECTURES[architecture].part("objective", {}).takes_unknown_labels
