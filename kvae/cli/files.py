"""Arguments for the files that commands read whole and write."""

from kvae.cli import checks
from kvae.cli.help import Unset

__all__ = ["add_output", "add_whole_data", "check_endings"]


def add_whole_data(parser, text: str, kind=checks.named_or_data) -> None:
    """Adds `--data`, of which a command takes every row.

    Args:
        parser: `argparse.ArgumentParser`.
        text: str. What is done with the data.
        kind: one of `kvae.cli.checks`. Defaults to the name of a data set, or a path.
    """
    parser.add_argument("--data", metavar="PATH", type=kind, required=True, help=text)


def add_output(parser, text: str, default: str = "no file") -> None:
    """Adds `--output`, the file that a command writes."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=checks.output_file,
        default=Unset(default),
        help=text,
    )


def check_endings(arguments, **endings: str) -> None:
    """Checks the ends of files' names, where they are given.

    Args:
        arguments: `argparse.Namespace`.
        **endings: the end that the file of an option has, e.g. `output=".csv"`.

    Raises:
        ValueError: for another end.
    """
    for option, ending in endings.items():
        path = getattr(arguments, option)
        if path is not None and not path.endswith(ending):
            raise ValueError(f"--{option} ends in {ending}, not {path!r}.")
