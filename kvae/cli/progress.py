"""Progress bars and lines of commands, which go to standard error."""

import contextlib
import time

from kvae.cli.common import tell
from kvae.utils.terminal import printable

__all__ = ["epochs", "progress"]

_SILENCE = 10.0  # Seconds between two lines of progress without figures.
# In columns: the time that remains with the gaps around it, and the lengths of a bar of progress.
_CLOCK, _SHORTEST, _LONGEST = 11, 4, 30
_NARROW = 50  # Columns. Below, progress has no bar.


@contextlib.contextmanager
def progress(text: str, total: int, unit: str = ""):
    """Gives a function that tells, on standard error, how many steps are done.

    On a terminal it moves a bar. Elsewhere it prints a line for each step that has figures, such as
    an epoch, and for others a line now and then.

    Args:
        text: str. What is done, e.g. `"evaluating conv_vae.mnist"`.
        total: int. The number of steps.
        unit: str. What a step is, e.g. `"epoch"`. Defaults to nothing.

    Yields:
        `update(done, figures=None)`. The figures are a text such as `"loss 98.123"`.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with (_bar if console.is_terminal else _lines)(console, text, total, unit) as update:
        yield update


def _count(done: int, total: int, unit: str) -> str:
    return f"{unit} {done:,}/{total:,}".lstrip()


@contextlib.contextmanager
def _lines(console, text: str, total: int, unit: str):
    told = time.monotonic()
    tell(text)

    def update(done: int, figures: str | None = None) -> None:
        nonlocal told
        if figures or time.monotonic() - told >= _SILENCE:
            told = time.monotonic()
            tell(
                f"{_count(done, total, unit) if figures else text}: "
                f"{figures or _count(done, total, unit)}"
            )

    yield update


@contextlib.contextmanager
def _bar(console, text: str, total: int, unit: str):
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar, words = BarColumn(), TextColumn("{task.fields[words]}", markup=False)
    # A narrow terminal has room for the count and the figures alone.
    between = () if console.width < _NARROW else (bar, TimeRemainingColumn())
    taken = 1 if console.width < _NARROW else _CLOCK + _SHORTEST
    count = TextColumn("{task.description}", markup=False)

    def fields(done: int, figures: str | None = None) -> dict:
        counted, told = _count(done, total, unit), printable(figures or text)
        room = console.width - len(counted) - taken
        if len(told) > room:
            told = f"{told[: max(room - 1, 0)]}…"
        bar.bar_width = min(_SHORTEST + room - len(told), _LONGEST)
        return {"completed": done, "description": counted, "words": told}

    with Progress(count, *between, words, console=console) as view:
        task = view.add_task(total=total, **fields(0))
        yield lambda done, figures=None: view.update(task, **fields(done, figures))


def epochs(update):
    """Returns a Keras callback that tells each epoch, and its losses, to `progress`."""
    import keras

    def told(epoch, logs):
        figures = f"loss {logs['loss']:.3f}"
        if "val_loss" in logs:
            figures += f", validation {logs['val_loss']:.3f}"
        update(epoch + 1, figures)

    return keras.callbacks.LambdaCallback(on_epoch_end=told)
