"""The JSON files of the benchmarks, which a run that is stopped leaves whole."""

import argparse
import json
import pathlib

__all__ = ["read_run", "write_json"]

_OF_A_RUN = ("machine", "command", "minutes", "training", "inference")


def write_json(path, found) -> None:
    """Writes what was found beside `path`, and puts it there once it is whole."""
    from kvae.utils import io  # kvae sets variables that other libraries' processes must not get.

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read_run(path: str) -> dict:
    """Reads the file that `python -m benchmarks run --json` has written, for a command line.

    Raises:
        argparse.ArgumentTypeError: for a file that cannot be read, and for another one.
    """
    try:
        found = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or any(key not in found for key in _OF_A_RUN):
        raise argparse.ArgumentTypeError(
            f"{path} is no file of `python -m benchmarks run --json`: give one."
        )
    return found
