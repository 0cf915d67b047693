"""Ctrl-C and SIGTERM as requests to stop at a point from which the training can go on."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

__all__ = ["Termination"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Termination:
    """Notes a SIGINT (Ctrl-C) or SIGTERM instead of obeying it at once, until `release`.

    A second one is obeyed at once, or as soon as what is `finished` is done. Python lets the main
    thread alone handle signals; in others this does nothing. Signals that are ignored, e.g. those
    of a program in the background, stay so.

    Args:
        notice: callable. Returns a line for standard error, which says what is waited for.
    """

    def __init__(self, notice: Callable[[], str]):
        self.requested = False
        self._notice = notice
        self._number = signal.SIGTERM
        self._before: dict = {}
        self._busy, self._waiting = False, False

    @contextlib.contextmanager
    def finished(self) -> Iterator[None]:
        """Lets what stands in it end before a second signal is obeyed."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._waiting:
            self._waiting = False
            self.obey()

    def watch(self) -> None:
        """Takes the place of the present handlers."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        """Puts the former handlers back."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def obey(self) -> None:
        """Hands a noted signal to its former handler, which by default ends the process."""
        self.release()
        if self.requested:
            self.requested = False
            signal.raise_signal(self._number)

    def _note(self, number, frame):
        self._number = number
        if self.requested and self._busy:
            self._waiting = True
            return
        if self.requested:
            self.obey()
        self.requested = True
        # Not `print`, which may be the very function that the signal has interrupted.
        os.write(2, f"\n{self._notice()}\n".encode())
