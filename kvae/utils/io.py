"""Files that are either whole or absent: atomic writes and content hashes."""

import contextlib
import errno
import hashlib
import math
import os
import pathlib
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator

from kvae.utils import locks

__all__ = [
    "DAMAGED",
    "atomic_directory",
    "atomic_weights",
    "atomic_write",
    "check_room",
    "check_writable",
    "disk_errors",
    "scratch_folder",
    "sha256_file",
    "utf8_path",
    "without_nan",
    "writable_folder",
]

# What readers of ZIP archives, `.npz` files among them, raise for one that is damaged.
DAMAGED = (
    EOFError,
    IndexError,
    KeyError,
    MemoryError,  # Of a length that was altered.
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_SCRATCH = re.compile(r"\..*\.tmp", re.DOTALL)
_OWNER = ".owner"


def writable_folder(path: str | os.PathLike, purpose: str | None = None) -> pathlib.Path:
    """Creates a folder where there is none, with an error that names the obstacle.

    To be called before the work whose results it gets.

    Args:
        path: str or path. The folder; its parents are created, too.
        purpose: str. What cannot be done without it. Defaults to `None`: the folder itself.

    Returns:
        The folder.

    Raises:
        NotADirectoryError: if it, or a parent of it, is a file.
        PermissionError: if it cannot be created or written.
    """
    folder = pathlib.Path(path)
    check_writable(folder, purpose)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_created(folder, error.strerror) from None
    return folder


def check_writable(path: str | os.PathLike, purpose: str | None = None) -> None:
    """Checks whether a folder can be written, or created, without creating it.

    Args:
        path: str or path. The folder.
        purpose: str. As for `writable_folder`.

    Raises:
        NotADirectoryError: if it, or a parent of it, is a file.
        PermissionError: if it, or the nearest parent that exists, cannot be written.
    """
    folder = pathlib.Path(path)
    place = next(place for place in (folder, *folder.parents) if place.exists())
    if not place.is_dir():
        raise NotADirectoryError(
            f"Cannot {purpose or f'write to {folder}'}: {place} is a file, not a folder. "
            "Choose another path."
        )
    if os.access(place, os.W_OK):
        return
    if place != folder:
        raise _not_created(folder, os.strerror(errno.EACCES))
    raise PermissionError(
        f"The folder {folder} is not writable. Choose another path or change its permissions."
    )


def _not_created(folder: pathlib.Path, problem: str) -> PermissionError:
    return PermissionError(
        f"Cannot create the folder {folder}: {problem}. Choose a folder that you may write to."
    )


@contextlib.contextmanager
def disk_errors(
    folder: str | os.PathLike, outcome: str, advice: str = "Free some space, or write elsewhere."
) -> Iterator[None]:
    """Says in one line that the disk is full, whichever library met it first.

    Args:
        folder: str or path. Where files are written, by the block and by those whom it calls.
        outcome: str. What became of them, e.g. `"nothing was written"`.
        advice: str. What to do. Defaults to freeing space or writing elsewhere.

    Raises:
        OSError: `ENOSPC` in place of an error of the block that says so in one way or another.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow's file system reports it as a status, with the C library's words in it.
        codes = (
            code
            for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            if getattr(error, "errno", None) == code or os.strerror(code) in str(error)
        )
        code = next(codes, None)
        if code is None:
            raise
        # A quota or a limit on the size of files ends the room before the disk does.
        cause = "" if code == errno.ENOSPC else f": {os.strerror(code)}"
        folder = pathlib.Path(folder).absolute()
        # TensorFlow and the converters write on their way in the folder for temporary files.
        places = (folder, *folder.parents), (pathlib.Path(tempfile.gettempdir()),)
        disks = [next(place for place in path if place.is_dir()) for path in places]
        free, disk = min((shutil.disk_usage(disk).free / 1e6, disk) for disk in disks)
        raise OSError(
            errno.ENOSPC,
            f"The disk of {disk} is full ({free:.0f} MB free{cause}), and {outcome}. {advice}",
        ) from error


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike, name: str) -> Iterator[pathlib.Path]:
    """Gives a hidden folder `.NAME.….tmp` in `parent`, which goes away at the end.

    What a process leaves there that is killed goes away when the next one writes in `parent`: a
    lock in the folder says whether its owner lives. In a folder, writers may open, replace or stat
    files as they like; and `mkdtemp` makes folders that only their owner may read, so that a child
    is to be renamed and not the folder itself.
    """
    parent = pathlib.Path(parent)
    _clear_away(parent)
    # Some bytes of the 255 that a name may have are needed for what makes it another one.
    prefix = os.fsdecode(os.fsencode(f".{name}")[:200]) + "."
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=parent))
        try:
            owned = locks.claim(folder / _OWNER)
        except OSError as error:
            if error.errno not in locks.UNSUPPORTED:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            owned = None
            break
        if owned is not None:
            break
        # Another process looked in this very moment whether the folder's owner lives.
        shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if owned is not None:
            locks.give_up(owned)


def _clear_away(parent: pathlib.Path) -> None:
    """Removes the scratch folders of processes that were killed."""
    with os.scandir(parent) as entries:
        found = [entry.path for entry in entries if _SCRATCH.fullmatch(entry.name)]
    for folder in found:
        if locks.is_abandoned(os.path.join(folder, _OWNER)):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path`, renamed to `path` when the block succeeds.

    The temporary file has the same suffixes as `path` (libraries choose a format by them). When
    the block raises, or the process dies, an older file at `path` stays as it was. A new file gets
    the permissions that the umask leaves; one that replaces an older file gets the older one's
    permissions, and its owner and group as far as this process may give them. Where `path` is a
    symbolic link, the file that it points to is written, and the link stays.

    Args:
        path: str or path. The file to write. Missing parent folders are created.

    Raises:
        FileNotFoundError: if `path` is a link into a folder that does not exist.
        IsADirectoryError: if `path` is a folder, or a link to one.
        NotADirectoryError: if a parent of `path` is a file.
        OSError: if the disk is full, or `path` is a device or another special file.
        PermissionError: if the folder cannot be created or written.

    Example:

    ```python
    with kvae.utils.io.atomic_write("report.json") as temporary:
        temporary.write_text("{}")
    ```
    """
    path = pathlib.Path(path)
    target = _target(path)
    parent = writable_folder(target.parent, f"write {path}")
    full = disk_errors(parent, f"{path} was not written")
    with full, scratch_folder(parent, target.name) as folder:
        temporary = folder / path.name
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        _give_permissions(temporary, target)
        os.replace(temporary, target)


def _target(path: pathlib.Path) -> pathlib.Path:
    """Returns the file that is to be written at `path`: where it is a link, what it points to."""
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {path}: it is a folder. Give a file name.")
    if path.exists() and not path.is_file():
        raise OSError(f"Cannot write {path}: it is a device, a pipe or a socket. Give a file name.")
    if not path.is_symlink():
        return path
    target = pathlib.Path(os.path.realpath(path))
    if target.is_symlink() or not target.parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write {path}: it is a link to {os.readlink(path)}, and there is no such "
            "folder. Create it, or remove the link."
        )
    return target


def _give_permissions(temporary: pathlib.Path, target: pathlib.Path) -> None:
    """Gives a new file the permissions of the one that it replaces, or those of the umask."""
    new = os.stat(temporary)
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = os.stat(temporary.parent / _OWNER)  # Made by this process, as open() makes files.
    mode = stat.S_IMODE(old.st_mode) & 0o777
    if new.st_gid != old.st_gid:
        try:
            os.chown(temporary, -1, old.st_gid)
        except PermissionError:  # What one group may do is not meant for another.
            mode = mode & ~0o070 | (mode & 0o007) << 3
    if new.st_uid != old.st_uid:
        with contextlib.suppress(PermissionError):
            os.chown(temporary, old.st_uid, -1)
    with contextlib.suppress(PermissionError):  # Of file systems that know no permissions.
        os.chmod(temporary, mode)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary folder beside `path`, renamed to `path` when the block succeeds.

    Raises:
        FileExistsError: if `path` exists: a finished folder is never overwritten.
        NotADirectoryError: if a parent of `path` is a file.
        OSError: if the disk is full. Nothing half-written is left.
        PermissionError: if the folder cannot be created or written.
    """
    path = pathlib.Path(path)
    parent = writable_folder(path.parent, f"write {path}")
    if os.path.lexists(path):  # A link that points nowhere, too.
        raise FileExistsError(f"{path} exists and is not overwritten. Choose another name.")
    full = disk_errors(parent, f"{path} was not written")
    with full, scratch_folder(parent, path.name) as folder:
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError:
            if path.exists():
                raise FileExistsError(f"{path} was made meanwhile and is kept.") from None
            raise


@contextlib.contextmanager
def utf8_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a path to the same file or folder that is UTF-8, as TensorFlow and others need it.

    It is `path` itself, unless its bytes are no UTF-8: then it is a link in a folder for temporary
    files, which goes away at the end.
    """
    path = pathlib.Path(os.path.abspath(path))
    with contextlib.ExitStack() as stack:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kvae-link-"))
            link = pathlib.Path(folder, f"link{path.suffix}")
            os.symlink(path, link)
            path = link
        yield path


def check_room(path: str | os.PathLike, size: int) -> None:
    """Checks that the disk has room for a file of `size` bytes beside `path`.

    For writers that a full disk takes down with the process, as it does HDF5.

    Raises:
        OSError: if it has not.
    """
    probe = pathlib.Path(path).with_name("room")
    try:
        with open(probe, "wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
    except OSError as error:
        text = f"{error.strerror}: there is no room for {size / 1e6:.1f} MB in {probe.parent}"
        raise OSError(error.errno, text) from None
    finally:
        probe.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_weights(path: str | os.PathLike, variables) -> Iterator[pathlib.Path]:
    """As `atomic_write`, for a file of variables, once the disk is seen to have room for them.

    Raises:
        OSError: if it has not.
    """
    # HDF5 needs some room of its own for each.
    size = sum(8 * math.prod(variable.shape) + 4096 for variable in variables)
    with atomic_write(path) as temporary:
        check_room(temporary, size)
        yield temporary


def sha256_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def without_nan(value):
    """Returns plain data with `None` for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
