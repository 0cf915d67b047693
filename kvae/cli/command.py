"""The class of commands, and the register of all of them."""

import argparse
import dataclasses
import inspect
from collections.abc import Callable

from kvae.utils.register import Register

__all__ = ["COMMANDS", "Command", "command"]

COMMANDS = Register("command", group="kvae.commands")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        name: str. What users type.
        run: callable. Takes the parsed arguments and returns the exit status: 0, 1 for a check that
            failed, or `None` for 0. Its docstring is the text of `--help`.
        add_arguments: callable. Adds the command's arguments to an `argparse.ArgumentParser`.
        examples: tuple of str. Command lines that users can copy.
    """

    name: str
    run: Callable[[argparse.Namespace], int | None]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    examples: tuple[str, ...]

    @property
    def __wrapped__(self):
        return self.run  # By which the register knows a definition that is run again.

    @property
    def description(self) -> str:
        """The whole text that `kvae COMMAND --help` shows above the arguments."""
        return inspect.cleandoc(self.run.__doc__ or "")

    @property
    def summary(self) -> str:
        """The first sentence of the description, for the list of all commands."""
        return " ".join(self.description.partition("\n\n")[0].split())

    @property
    def epilog(self) -> str:
        """The examples, as `kvae COMMAND --help` shows them below the arguments."""
        return "\n".join(("examples:", *(f"  {example}" for example in self.examples)))


def command(
    name: str, add_arguments: Callable[[argparse.ArgumentParser], None], *examples: str
) -> Callable:
    """Returns a decorator that registers a function as a command.

    Args:
        name: str. What users type.
        add_arguments: callable. Adds the command's arguments to an `argparse.ArgumentParser`.
        *examples: str. One command line or more that users can copy.

    Raises:
        ValueError: without an example, and when another command has the name.

    Example:

    ```python
    from kvae.cli import main
    from kvae.cli.command import command

    def add_arguments(parser):
        parser.add_argument("--name", default="you", help="Whom to greet.")

    @command("hello", add_arguments, "kvae hello --name Ada")
    def run(arguments):
        "Greets somebody."
        print(f"Hello, {arguments.name}.")

    main(["hello", "--name", "Ada"])   # Hello, Ada.
    ```
    """
    if not examples:
        raise ValueError(f"The command {name!r} needs an example of its use.")

    def decorate(run):
        COMMANDS.add(name, Command(name, run, add_arguments, examples))
        return run

    return decorate
