"""Locks on folders and files: they name their holder, and the kernel frees them when it dies."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shlex
import socket
import sys
import threading
import time

from kvae.utils import callers

__all__ = ["UNSUPPORTED", "Lock", "claim", "give_up", "is_abandoned"]

# What file systems without locks answer.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_DAY = 24 * 3600.0  # After which what nobody can ask about is taken to be abandoned.
_LONGEST = 120  # Characters of the holder's command in a message.

_guard = threading.Lock()
_descriptors: set[int] = set()  # Of all locks of this process.
_held: dict[str, "_Held"] = {}


class _Held:
    """A lock of this process, which the thread that holds it may take again."""

    def __init__(self, descriptor: int | None):
        self.descriptor, self.thread, self.count = descriptor, threading.get_ident(), 1


class Lock:
    """Says that one process alone writes to a folder or a file.

    The lock is the kernel's, on a small file in the folder (`.lock`) or beside the file
    (`.NAME.lock`) that names the host, the process, the time and the command of its holder. The
    kernel frees it when the holder ends, however it ends, so that nothing has to be cleaned up by
    hand: a file that a dead process left is taken over. A thread may take a lock that it holds
    again; another thread of the same process is refused like another process.

    On a network file system the lock holds between hosts where the file system passes locks on
    (NFS from version 4 on does, unless it is mounted with `nolock` or `local_lock`). The server
    frees the lock of a host that has crashed after a while, 90 seconds by default. Where there are
    no locks at all, a warning says so and the work goes on.

    Args:
        path: str or path. The folder, which must exist, or the file, which need not.
        purpose: str. What the holder does, for the message that others get, e.g. `"training"`.
        wait: float. Seconds to wait for another holder. Defaults to `0.0`.

    Example:

    ```python
    with kvae.utils.locks.Lock("runs/mine", "training"):
        ...
    ```
    """

    def __init__(self, path: str | os.PathLike, purpose: str, wait: float = 0.0):
        self.path, self.purpose, self.wait = pathlib.Path(path), purpose, wait
        self._taken: list[str] = []

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            BlockingIOError: if another process or thread holds it; the message names it.
            OSError: if the lock's file cannot be made.
        """
        path = pathlib.Path(os.path.realpath(self.path))
        folder = path.is_dir()
        place = str(path / ".lock" if folder else path.with_name(f".{path.name}.lock"))
        deadline = time.monotonic() + self.wait
        while True:
            with _guard:
                held = _held.get(place)
                if held is not None and held.thread == threading.get_ident():
                    held.count += 1
                    self._taken.append(place)
                    return
                descriptor, taken = self._claim(place) if held is None else (None, False)
                if taken:
                    _held[place] = _Held(descriptor)
                    self._taken.append(place)
                    return
            if time.monotonic() >= deadline:
                raise BlockingIOError(
                    f"{self.path} is in use by {_holder(place)}. Wait until it has ended, or "
                    f"choose another {'folder' if folder else 'file'}."
                )
            time.sleep(0.02)

    def release(self) -> None:
        """Gives the lock back; does nothing where it is not held."""
        with _guard:
            if not self._taken:
                return
            place = self._taken.pop()
            held = _held.get(place)
            if held is None:  # In a forked child: the lock is its parent's.
                return
            held.count -= 1
            if held.count == 0:
                del _held[place]
                if held.descriptor is not None:
                    # Before it is free: whoever opened it meanwhile sees that it is gone.
                    with contextlib.suppress(OSError):
                        os.unlink(place)
                    give_up(held.descriptor)

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *_):
        self.release()

    def _claim(self, place: str) -> tuple[int | None, bool]:
        """Returns the descriptor, and whether the lock is taken (without one: unsupported)."""
        try:
            descriptor = claim(place, self.purpose)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            callers.warn(
                f"{self.path} cannot be locked ({error.strerror}): see to it that no other process "
                "writes there at the same time.",
            )
            return None, True
        return descriptor, descriptor is not None


def claim(path: str | os.PathLike, purpose: str = "") -> int | None:
    """Makes a file whose lock this process holds until `give_up`, or until it ends.

    Returns:
        A descriptor, or `None` where another one holds the lock.

    Raises:
        OSError: if the file cannot be made, or the file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(_myself(purpose)).encode(), 0)
                _descriptors.add(descriptor)
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        # Its last holder removed it after it was opened here.
        os.close(descriptor)


def give_up(descriptor: int) -> None:
    """Frees the lock of `claim`, and leaves its file."""
    _descriptors.discard(descriptor)
    os.close(descriptor)


def is_abandoned(path: str | os.PathLike) -> bool:
    """Checks whether the process that made a file by `claim` has died.

    The lock of a process on another host may not be seen here: such a file counts as abandoned
    when it has not been changed for a day.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if json.loads(os.pread(descriptor, 1 << 16, 0))["host"] == socket.gethostname():
            return True
    except BlockingIOError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        pass
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        return time.time() - os.stat(path).st_mtime > _DAY
    return False


def _is_at(descriptor: int, path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _myself(purpose: str) -> dict:
    return {
        "purpose": purpose,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": shlex.join(sys.orig_argv),
    }


def _holder(place: str) -> str:
    """Returns the words for who holds a lock, as far as its file says it."""
    try:
        facts = json.loads(pathlib.Path(place).read_text("utf-8"))
        text = (
            f"{facts['purpose']} in process {facts['pid']} on {facts['host']} since "
            f"{facts['since']} ({facts['command'][:_LONGEST]})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _forget() -> None:
    """Leaves the locks to the parent: a child that kept them open would hold them after it."""
    global _guard
    _guard = threading.Lock()
    _held.clear()
    while _descriptors:
        os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_forget)
