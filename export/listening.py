"""Whether a server may listen at an address, and what to say where it may not."""

import errno
import socket

__all__ = ["check", "refused"]


def check(host: str, port: int, option: str = "--port") -> None:
    """Opens a port for a moment. `0`, a free one, always is one.

    Raises:
        OSError: that says what to change, if it cannot be opened.
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise refused(error, host, port, option) from None


def refused(error: OSError, host: str, port: int, option: str = "--port") -> OSError:
    """The error of a port that could not be opened, with what to change at the command line."""
    if error.errno == errno.EADDRINUSE:
        text = f"Port {port} is taken. Choose another one with {option}."
    elif isinstance(error, PermissionError):
        text = f"This user may not open port {port}. Choose one from 1024 on with {option}."
    else:
        text = (
            f"Cannot listen at {host}:{port} ({error.strerror or error}). Give an address of this "
            "machine with --host, e.g. 127.0.0.1 or 0.0.0.0."
        )
    return OSError(error.errno, text)
