"""SIGTERM as a request to stop at a point from which the training can go on."""

import signal
import threading

__all__ = ["Termination"]


class Termination:
    """Notes a SIGTERM instead of dying of it, until `release`.

    A second SIGTERM ends the process at once. Python lets the main thread alone handle signals; in
    others this does nothing.
    """

    def __init__(self):
        self.requested = False
        self._before = None

    def watch(self) -> None:
        """Takes the place of the present handler."""
        if self._before is None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def release(self) -> None:
        """Puts the former handler back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def obey(self) -> None:
        """Hands a noted SIGTERM to the former handler, which by default ends the process."""
        self.release()
        if self.requested:
            self.requested = False
            signal.raise_signal(signal.SIGTERM)

    def _note(self, number, frame):
        if self.requested:
            self.obey()
        self.requested = True
