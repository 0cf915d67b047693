"""The command line: `kvae COMMAND`, or `python -m kvae COMMAND`."""

import argparse
import importlib
import os
import sys

from kvae.utils.terminal import printable, say
from kvae.version import __version__

__all__ = ["main"]

# Command, one line of help, module. A command's module is imported when the command is used, and
# imports TensorFlow when it works, so that help and lists answer at once.
_COMMANDS = (
    ("list", "list the pretrained models", "listing"),
    ("info", "show a model's card", "info"),
    ("train", "train a model, or retrain a card's weights", "train"),
    ("sweep", "train for several β and sizes of z, and compare rates and distortions", "sweep"),
    ("evaluate", "measure a model: ELBO, importance-sampled log p(x)", "evaluate"),
    ("sample", "generate images from the prior, or from a density fitted to codes", "sample"),
    ("plot", "draw reconstructions, samples, the latent space, …", "plot"),
    ("export", "write a SavedModel, a model repository or a TFLite decoder", "export"),
    ("verify", "run an exported file elsewhere and compare", "verify"),
    ("serve", "answer REST and gRPC calls with TensorFlow Serving, or for development", "serve"),
    ("study", "answer a question about VAEs by experiment", "study"),
    ("demo", "train, evaluate, draw, load, export and verify in two minutes", "demo"),
)


class _Parser(argparse.ArgumentParser):
    intermixed = False  # Whether options may stand between the positional arguments.

    def parse_known_args(self, args=None, namespace=None):
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # The other one calls this function in its turn.
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True

    def error(self, message: str):
        """Says in one line, as all errors of the command line are, what was wrong."""
        text = printable(" ".join(message.split()))
        self.exit(2, f"kvae: error: {text} (see `{self.prog} --help`)\n")


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kvae",
        description="Variational autoencoders for Keras 3: train, evaluate, load, export.",
    )
    parser.add_argument("--version", action="version", version=f"kvae {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text, module in _COMMANDS:
        subparser = subparsers.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == command:
            implementation = importlib.import_module(f"kvae.cli.{module}")
            implementation.add_arguments(subparser)
            subparser.set_defaults(run=implementation.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0, or 1 for a failed check, or 2 for bad input."""
    argv = sys.argv[1:] if argv is None else argv
    if hasattr(sys.stdout, "reconfigure"):  # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    command = next((word for word in argv if not word.startswith("-")), None)
    arguments = _parser(command).parse_args(argv)
    arguments.argv = argv  # For processes that do the same.
    try:
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
