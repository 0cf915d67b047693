"""Files of named datasets: below `KVAE_DATA_DIR`, or downloaded by Keras."""

import contextlib
import os
import pathlib
import socket
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.splits import Arrays
from kvae.utils import io, locks

__all__ = ["DATA_DIR", "data_dir", "download", "local_files", "missing", "read_npz"]

DATA_DIR = "KVAE_DATA_DIR"
_PATIENCE = 600.0  # Seconds to wait for another process's download.
_DOWNLOAD_TIMEOUT = 30.0  # Seconds without a byte, not of the whole download.


def data_dir() -> pathlib.Path | None:
    """Returns the folder of `KVAE_DATA_DIR`, or `None` where it is not set."""
    value = os.environ.get(DATA_DIR)
    return pathlib.Path(value).expanduser() if value else None


def local_files(info: DatasetInfo, folder: pathlib.Path | None) -> list[pathlib.Path] | None:
    """Returns the paths of the dataset's files below a folder, or `None` where there are none.

    Raises:
        FileNotFoundError: when some of the files are there and others are not.
    """
    if folder is None:
        return None
    paths = [folder / name for name in info.files]
    absent = [path for path in paths if not path.is_file()]
    if len(absent) == len(paths):
        return None
    if absent:
        # Downloading now would hide that the folder is only half copied.
        raise FileNotFoundError(
            f"{info.name} is incomplete in {paths[0].parent}: missing "
            f"{', '.join(path.name for path in absent)}. Add what is missing."
        )
    return paths


def missing(
    info: DatasetInfo, folder: pathlib.Path | None, cause: str | None = None
) -> FileNotFoundError:
    """Makes the error for a dataset that is neither on this machine nor can be downloaded."""
    names = ", ".join(info.files)
    tried = f"its download failed ({cause})" if cause else "it has no downloader"
    if folder is None:
        where = f"Set {DATA_DIR} to a folder that holds {names}"
    elif not folder.is_dir():
        where = f"{DATA_DIR}={folder} is not a folder: point it to one that holds {names}"
    else:
        where = f"Put {names} in {folder} (the folder of {DATA_DIR})"
    return FileNotFoundError(
        f"{info.name} is not on this machine and {tried}. {where}. Source: {info.source}"
    )


def download(info: DatasetInfo) -> tuple[Arrays, Arrays]:
    """Has Keras download (or find in its cache) the official training and test arrays.

    Raises:
        FileNotFoundError: when the download fails.
    """
    try:
        # Keras writes the file in place: one process downloads, and others wait for it.
        place = pathlib.Path(tempfile.gettempdir(), f"kvae-{os.getuid()}-{info.name}")
        with _fails_fast(), locks.Lock(place, "a download", wait=_PATIENCE):
            import keras

            (x, labels), (test_x, test_labels) = getattr(keras.datasets, info.name).load_data()
            channels_first = keras.config.image_data_format() == "channels_first"
    except Exception as error:  # Keras raises a bare `Exception` when a URL cannot be fetched.
        cause = " ".join(str(error).split()) or type(error).__name__
        raise missing(info, data_dir(), cause) from error
    if channels_first and x.ndim == 4:
        x, test_x = (np.moveaxis(array, 1, -1) for array in (x, test_x))
    return (x, labels), (test_x, test_labels)


@contextlib.contextmanager
def _fails_fast() -> Iterator[None]:
    """Gives sockets a time limit, and keeps progress bars off standard output (`--json`)."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def read_npz(path: pathlib.Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Reads arrays of an npz file, never unpickling.

    Raises:
        ValueError: for a file that is damaged or has not all of these arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            absent = [key for key in keys if key not in file]
            if absent:
                raise KeyError(
                    f"it has no array {' or '.join(map(repr, absent))}, only {sorted(file.files)}"
                )
            return [file[key] for key in keys]
    except (FileNotFoundError, PermissionError):
        raise
    except io.DAMAGED as error:
        cause = error.args[0] if error.args else type(error).__name__
        raise ValueError(
            f"{path} is not the npz file that was expected: {cause}. Replace it by one with "
            f"{', '.join(keys)}."
        ) from error
