"""The command line: `kvae COMMAND`, or `python -m kvae COMMAND`."""

import argparse
import difflib
import io
import os
import sys
import warnings

from kvae.cli import common
from kvae.cli.command import COMMANDS
from kvae.cli.help import HelpFormatter, without_unset
from kvae.utils.register import import_modules
from kvae.utils.terminal import printable, say
from kvae.version import __version__

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    intermixed = False  # True where options may stand between the positional arguments.

    def __init__(self, *arguments, **options):
        # Read as abbreviations, options that a command lacks would be taken for others of it.
        options |= {"allow_abbrev": False, "add_help": False, "formatter_class": HelpFormatter}
        super().__init__(*arguments, **options)
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")

    def parse_known_args(self, args=None, namespace=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.intermixed:
            self.intermixed = False  # The other method calls this one in its turn.
            try:
                found, rest = self.parse_known_intermixed_args(args, namespace)
            finally:
                self.intermixed = True
        else:
            found, rest = super().parse_known_args(args, namespace)
        return without_unset(found), rest

    def unrecognized(self, words: list[str]) -> None:
        """Refuses words that the command does not know, with the option that is nearest."""
        word = next((word.partition("=")[0] for word in words if word.startswith("--")), "")
        near = difflib.get_close_matches(word, self._option_string_actions, n=1)
        hint = f". Did you mean {near[0]}?" if near else ""
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")

    def error(self, message: str):
        """Prints one line that says what was wrong, as all errors of the command line do."""
        text = printable(" ".join(message.split()))
        self.exit(2, f"kvae: error: {text} (see `{self.prog} --help`)\n")


def _parser(chosen: str | None) -> _Parser:
    """Returns the parser, which knows the arguments of the chosen command alone."""
    import_modules("kvae.cli.commands")
    parser = _Parser(
        prog="kvae",
        description="Trains, evaluates, loads and exports variational autoencoders.",
        epilog="`kvae COMMAND --help` explains a command and shows examples of its use.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"kvae {__version__}",
        help="Show the version and exit.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.description,
            epilog=command.epilog,
        )
        if name == chosen:
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run, unrecognized=subparser.unrecognized)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: list of str. The words of the command line. Defaults to those of the process. Without
            any, the help is shown.

    Returns:
        The exit status: 0, or 1 for a check that failed, or 2 for bad input.

    Raises:
        SystemExit: for `--help`, and for a command line that is wrong.
    """
    argv = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if isinstance(sys.stdout, io.TextIOWrapper):  # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = next((word for word in argv if not word.startswith("-")), None)
    shown = warnings.formatwarning
    warnings.formatwarning = _warning
    try:
        common.announce_own(argv)
        arguments, rest = _parser(chosen).parse_known_args(argv)
        if rest:
            arguments.unrecognized(rest)
        arguments.argv = argv  # For processes that do the same.
        if imports := getattr(arguments, "imports", None):
            common.import_own(imports)
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        say("kvae: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, e.g. `kvae list | head -1`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ArithmeticError, OSError, ImportError) as error:
        if os.environ.get("KVAE_DEBUG"):
            raise
        text = str(error)
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        say(f"kvae: error: {' '.join(text.split())}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = shown


def _warning(message, *_) -> str:
    """A warning as the command line shows it: in one line, without the code that gave it."""
    return f"kvae: warning: {printable(' '.join(str(message).split()))}\n"
