"""Where each named dataset comes from: scikit-learn, files, Keras's downloaders, or a formula.

A reader takes the dataset's facts and the folder of `KVAE_DATA_DIR` (or `None`), and returns
`{"train": (x, labels), "validation": ..., "test": ...}`. The split never depends on a seed.
"""

import contextlib
import os
import pathlib
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kvae.datasets.idx import read_idx
from kvae.utils import io, locks

if TYPE_CHECKING:
    from kvae.datasets.registry import DatasetInfo

__all__ = [
    "DATA_DIR",
    "read_breast_cancer",
    "read_cifar",
    "read_digits",
    "read_frey",
    "read_idx_folder",
    "read_signals",
    "read_sprites",
]

DATA_DIR = "KVAE_DATA_DIR"
_PATIENCE = 600.0  # Seconds to wait for another process's download.
_DOWNLOAD_TIMEOUT = 30.0  # seconds without a byte, not of the whole download

Arrays = tuple[np.ndarray, np.ndarray | None]
Splits = dict[str, Arrays]


def read_digits(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Reads scikit-learn's digits: 0..16 becomes 0..255, so that 255 is full ink as elsewhere."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return _shuffled(info, x, bunch.target)


def read_idx_folder(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Reads the four IDX files of `<root>/<name>`, or has Keras download the dataset."""
    local = _local_files(info, root)
    if local is None:
        return _held_out(info, *_download(info))
    height, width = info.shape[:2]
    n_train, n_test = info.train + info.validation, info.test
    train_x, train_y, test_x, test_y = local
    return _held_out(
        info,
        (_read_bytes(train_x, n_train, height, width), _read_bytes(train_y, n_train)),
        (_read_bytes(test_x, n_test, height, width), _read_bytes(test_y, n_test)),
    )


def _read_bytes(path: pathlib.Path, *shape: int) -> np.ndarray:
    return read_idx(path, shape, "uint8")


def read_cifar(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Reads `<root>/cifar10.npz`, or has Keras download the dataset."""
    local = _local_files(info, root)
    if local is None:
        return _held_out(info, *_download(info))
    train_x, train_y, test_x, test_y = _read_npz(
        local[0], ("x_train", "y_train", "x_test", "y_test")
    )
    return _held_out(info, (train_x, train_y), (test_x, test_y))


def read_frey(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Reads `<root>/frey_faces.npz`; there is no downloader for it."""
    local = _local_files(info, root)
    if local is None:
        raise _missing(info, root)
    (images,) = _read_npz(local[0], ("images",))
    return _shuffled(info, images, None)


def read_sprites(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Renders the first images of each split; the labels are the shapes."""
    from kvae.datasets.sprites import Sprites

    sprites = Sprites()
    factors = {split: sprites.factors(sprites.rows(split)[:n]) for split, n in info.splits.items()}
    return {split: (sprites.render(each), each[:, 0]) for split, each in factors.items()}


def read_breast_cancer(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Reads scikit-learn's table: 30 columns, standardised by the training rows, and the label."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    table = np.concatenate([bunch.data, bunch.target[:, None]], axis=1)
    splits = _shuffled(info, table, bunch.target)
    train = splits["train"][0][:, :-1]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    for x, _ in splits.values():
        x[:, :-1] = (x[:, :-1] - mean) / scale
    return {split: (x.astype(np.float32), labels) for split, (x, labels) in splits.items()}


def read_signals(info: "DatasetInfo", root: pathlib.Path | None) -> Splits:
    """Draws waves of three forms, of random period, phase and height, with noise of 0.05."""
    from scipy.special import ndtri

    n, steps = sum(info.splits.values()), info.shape[0]
    bits = np.random.Philox(key=0).random_raw(n * (steps + 4)).reshape(n, steps + 4)
    uniform = (bits >> np.uint64(11)) * 2.0**-53 + 2.0**-54  # Inside (0, 1).
    form = np.minimum((uniform[:, 0] * 3).astype(np.int64), 2)
    cycles = 1.5 + 3.0 * uniform[:, 1]
    turns = cycles[:, None] * np.arange(steps) / steps + uniform[:, 2, None]
    sine = np.sin(2 * np.pi * turns)
    waves = np.stack([sine, np.sign(sine), 2 * (turns % 1) - 1])[form, np.arange(n)]
    noise = 0.05 * ndtri(uniform[:, 4:])
    x = (0.5 + 0.5 * uniform[:, 3, None]) * waves + noise
    return _shuffled(info, x.astype(np.float32)[..., None], form)


def fixed_permutation(n: int, key: int = 0) -> np.ndarray:
    """Returns a permutation of `n` items that depends on `key` only, on any NumPy version.

    NumPy promises the raw bits of Philox forever, but not those of `Generator.permutation`.
    """
    return np.argsort(np.random.Philox(key=key).random_raw(n), kind="stable")


def _shuffled(info: "DatasetInfo", x: np.ndarray, labels: np.ndarray | None) -> Splits:
    """Splits a dataset that comes in one piece, by the fixed permutation."""
    if len(x) != info.train + info.validation + info.test:
        raise ValueError(
            f"{info.name} should hold {info.train + info.validation + info.test} images, "
            f"but {len(x)} were found. Replace {' '.join(info.files) or 'scikit-learn'}."
        )
    order = fixed_permutation(len(x))
    ends = {
        "train": order[: info.train],
        "validation": order[info.train : info.train + info.validation],
        "test": order[info.train + info.validation :],
    }
    return {
        split: (x[rows], None if labels is None else labels[rows]) for split, rows in ends.items()
    }


def _held_out(info: "DatasetInfo", train: Arrays, test: Arrays) -> Splits:
    """Makes the validation split of the last images of the official training files."""
    (x, labels), n = train, info.train
    return {"train": (x[:n], labels[:n]), "validation": (x[n:], labels[n:]), "test": test}


def _local_files(info: "DatasetInfo", root: pathlib.Path | None) -> list[pathlib.Path] | None:
    """Returns the paths of the dataset's files, or `None` where not one of them is there."""
    if root is None:
        return None
    paths = [root / name for name in info.files]
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


def _missing(
    info: "DatasetInfo", root: pathlib.Path | None, cause: str | None = None
) -> FileNotFoundError:
    """Makes the error for a dataset that is neither on this machine nor downloadable."""
    names = ", ".join(info.files)
    tried = f"its download failed ({cause})" if cause else "it has no downloader"
    if root is None:
        where = f"Set {DATA_DIR} to a folder that holds {names}"
    elif not root.is_dir():
        where = f"{DATA_DIR}={root} is not a folder: point it to one that holds {names}"
    else:
        where = f"Put {names} in {root} (the folder of {DATA_DIR})"
    return FileNotFoundError(
        f"{info.name} is not on this machine and {tried}. {where}. Source: {info.source}"
    )


def _download(info: "DatasetInfo") -> tuple[Arrays, Arrays]:
    """Has Keras download (or find in its cache) the official training and test arrays."""
    root = data_dir()
    try:
        # Keras writes the file in place: one process downloads, and others wait for it.
        place = pathlib.Path(tempfile.gettempdir(), f"kvae-{os.getuid()}-{info.name}")
        with _fails_fast(), locks.Lock(place, "a download", wait=_PATIENCE):
            import keras

            (x, labels), (test_x, test_labels) = getattr(keras.datasets, info.name).load_data()
            channels_first = keras.config.image_data_format() == "channels_first"
    except Exception as error:  # Keras raises a bare `Exception` when a URL cannot be fetched.
        cause = " ".join(str(error).split()) or type(error).__name__
        raise _missing(info, root, cause) from error
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


def _read_npz(path: pathlib.Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Reads arrays of an npz file, never unpickling."""
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


def data_dir() -> pathlib.Path | None:
    """Returns the folder of `KVAE_DATA_DIR`, or `None` where it is not set."""
    value = os.environ.get(DATA_DIR)
    return pathlib.Path(value).expanduser() if value else None
