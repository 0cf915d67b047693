"""Folders of PNG and JPEG images."""

import os
import pathlib

import numpy as np

from kvae.datasets import decoding
from kvae.datasets.dataset import Dataset
from kvae.utils.names import unknown_name

__all__ = ["folder_classes", "from_folder"]

_SUFFIXES = (".png", ".jpg", ".jpeg")
_LABELS = ("none", "folders")
_FILES = 32  # That are read at once.


def from_folder(
    path: str | os.PathLike,
    image_shape: tuple[int, int, int],
    labels: str = "none",
    *,
    fit: str = "stretch",
    name: str | None = None,
    split: str = "all",
    binarize: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Makes a dataset of all PNG and JPEG files below a folder.

    Files are taken in the order of their relative paths, so the dataset is the same on every
    machine; names that start with a dot are skipped, and links to folders are not followed. Each
    image is turned upright by its Exif orientation, laid on white where it is transparent (unless 4
    channels are asked for), resized with antialiasing, and kept as uint8: the memory needed is
    `n * height * width * channels` bytes. An export with `preprocessing="png"` and the same `fit`
    reads files in the same way, to the bit.

    Args:
        path: str or path. The folder.
        image_shape: tuple of int. `(height, width, channels)`; 1 channel makes grey images, 3 RGB,
            4 RGBA.
        labels: str. `"none"`, or `"folders"`: an image's label is the index of its top-level
            subfolder in `folder_classes(path)`. Defaults to `"none"`.
        fit: str. `"stretch"` resizes height and width separately; `"crop"` keeps proportions and
            cuts what sticks out, evenly on both sides. Defaults to `"stretch"`.
        name: str or None. Name of the dataset. Defaults to the folder's name.
        split: str. Name of the split. Defaults to `"all"`.
        binarize: str or None. As in `load`. Defaults to `None`.
        seed: int. As in `load`. Defaults to 0.

    Returns:
        A `Dataset` with uint8 `x` `[n, height, width, channels]` and int64 labels `[n]` or `None`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if an argument is unknown, the folder holds no image, a file cannot be read (it
            is named), or an image lies outside of any subfolder with `labels="folders"`.

    Example:

    ```python
    faces = kvae.datasets.from_folder("faces", (64, 64, 3), fit="crop")
    train, validation = kvae.datasets.train_validation_split(faces, 0.1)
    ```
    """
    height, width, channels = checked_shape(image_shape)
    check_choices(labels, fit)
    root = pathlib.Path(path)
    files = image_files(root)
    numbers = labels_of(root, files) if labels == "folders" else None
    x = np.empty((len(files), height, width, channels), np.uint8)
    for start in range(0, len(files), _FILES):
        rows = slice(start, start + _FILES)
        x[rows] = decoding.read_images(files[rows], x.shape[1:], fit)
    return Dataset(
        x,
        numbers,
        name=root.resolve().name if name is None else name,
        split=split,
        binarize=binarize,
        seed=seed,
    )


def folder_classes(path: str | os.PathLike) -> list[str]:
    """Returns the classes of `from_folder(path, labels="folders")`, sorted: class i has label i.

    A class is a subfolder of `path` with at least one PNG or JPEG file somewhere below it.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if the folder holds no image.
    """
    root = pathlib.Path(path)
    parts = (file.relative_to(root).parts for file in image_files(root))
    return sorted({part[0] for part in parts if len(part) > 1})


def check_choices(labels: str, fit: str) -> None:
    """Refuses unknown `labels` and `fit`; they are those of `from_folder`."""
    for value, known, what in ((labels, _LABELS, "labels"), (fit, decoding.FITS, "fit")):
        if value not in known:
            raise unknown_name(what, value, known)


def checked_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    shape = tuple(image_shape)
    if (
        len(shape) != 3
        or not all(isinstance(size, (int, np.integer)) and size > 0 for size in shape)
        or shape[2] not in decoding.MODES
    ):
        raise ValueError(
            "image_shape must be (height, width, channels) with positive whole sizes and 1, 3 or 4 "
            f"channels, e.g. (64, 64, 3). Received: {image_shape}"
        )
    return shape


def image_files(root: pathlib.Path) -> list[pathlib.Path]:
    """Lists the images below `root`, sorted by the parts of their relative paths."""
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}. Give a folder of PNG or JPEG files.")
    found = []
    for folder, subfolders, files in os.walk(root):
        # Hidden files are thumbnails and notes of file managers, such as macOS's ._photo.jpg.
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            pathlib.Path(folder, name)
            for name in files
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise ValueError(
            f"{root} holds no image: there is no {', '.join(_SUFFIXES)} file in it or below it."
        )
    return sorted(found, key=lambda file: file.relative_to(root).parts)


def labels_of(root: pathlib.Path, files: list[pathlib.Path]) -> np.ndarray:
    parts = [file.relative_to(root).parts for file in files]
    loose = [file for file, part in zip(files, parts, strict=True) if len(part) == 1]
    if loose:
        raise ValueError(
            f'{loose[0]} is in no subfolder, so it has no label. Move it, or use labels="none".'
        )
    number = {name: i for i, name in enumerate(sorted({part[0] for part in parts}))}
    return np.array([number[part[0]] for part in parts], np.int64)
