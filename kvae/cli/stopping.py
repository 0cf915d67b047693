"""Ctrl-C and SIGTERM in commands that keep what they have done."""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator

from kvae.utils.terminal import say

__all__ = ["Stop", "command_line", "say_how_to_go_on", "stoppable"]


class Stop:
    """Which signal has ended a command.

    Attributes:
        number: int. The signal's number.
    """

    number = int(signal.SIGINT)

    @property
    def status(self) -> int:
        """The exit status that shells know of a program that the signal has ended."""
        return 128 + self.number


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Lets SIGTERM raise `KeyboardInterrupt`, as Ctrl-C does."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def end(number, frame):
        stop.number = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def command_line(words) -> str:
    """Returns a command of kvae as it is typed."""
    return shlex.join(["kvae", *words])


def say_how_to_go_on(what: str, words) -> None:
    """Says on standard error what has happened, and the command that goes on from there."""
    say(f"kvae: {what}\n  {command_line(words)}", file=sys.stderr, flush=True)
