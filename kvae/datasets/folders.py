"""Folders of PNG and JPEG images."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets import decoding
from kvae.datasets.dataset import Dataset
from kvae.datasets.schema import Schema
from kvae.utils import callers
from kvae.utils.names import shown_names, unknown_name

__all__ = ["MEMORY", "folder_classes", "from_folder", "image_files", "image_shape_of"]

_SUFFIXES = (".png", ".jpg", ".jpeg")
_OTHERS = (".avif", ".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")
_LABELS = ("none", "folders", "some")
UNLABELLED = "unlabelled"  # The subfolder of images whose class is not known.
MEMORY = 2**29  # Bytes of pixels of a folder that are kept in memory.
_FILES = 32  # That are read at once.
_LOOKED_AT = 500  # Files at least, for the size of the images.
_LARGE = 256  # Pixels along a side: larger images are brought to a size that is asked for.
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
_ORIENTATION = 0x0112  # Of Exif: from 5 on, height and width change places.


def from_folder(
    path: str | os.PathLike,
    image_shape: tuple[int, int, int],
    labels: str = "none",
    *,
    fit: str = "stretch",
    rows: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
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
            subfolder in `folder_classes(path)`; or `"some"`, with which it is -1 (not known) for
            images in no subfolder, or in one that is called `unlabelled`. Defaults to `"none"`.
        fit: str. `"stretch"` resizes height and width separately; `"crop"` keeps proportions and
            cuts what sticks out, evenly on both sides. Defaults to `"stretch"`.
        rows: optional int array. Which of the files, in their order. Defaults to `None`: all.
        class_names: optional sequence of str. The subfolders that there may be, in the order of
            their labels, for folders that lack some. Defaults to `None`: `folder_classes(path)`.
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
    numbers, names = None, ()
    if labels != "none":
        numbers, names = labels_of(root, files, class_names, labels == "some")
    if rows is not None:
        chosen = np.asarray(rows)
        files = [files[row] for row in chosen]
        numbers = None if numbers is None else numbers[chosen]
    x = np.empty((len(files), height, width, channels), np.uint8)
    for start in range(0, len(files), _FILES):
        some = slice(start, start + _FILES)
        x[some] = decoding.read_images(files[some], x.shape[1:], fit)
    data = Dataset(
        x,
        numbers,
        name=root.resolve().name if name is None else name,
        split=split,
        binarize=binarize,
        seed=seed,
    )
    data.schema = Schema(data.name, class_names=names, fit=fit)
    return data


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
    found, others = [], []
    for folder, subfolders, files in os.walk(root):
        # Hidden files are thumbnails and notes of file managers, such as macOS's ._photo.jpg.
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            pathlib.Path(folder, name)
            for name in files
            if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
        ]
        others += [name for name in files if name.lower().endswith(_OTHERS)]
    if not found:
        advice = f" It has {_counted(others)} of other kinds: save them as PNG or JPEG."
        raise ValueError(
            f"{root} holds no image: there is no {', '.join(_SUFFIXES)} file in it or below it."
            + (advice if others else "")
        )
    if others:
        callers.warn(
            f"{root} has {_counted(others)} of other kinds, which are left out: save them as PNG "
            "or JPEG to have them, too.",
        )
    return sorted(found, key=lambda file: file.relative_to(root).parts)


def image_shape_of(root: pathlib.Path, files: list[pathlib.Path]) -> tuple[int, int, int]:
    """Returns the shape that all images of a folder have, with 1 channel if none has colours.

    Of many files some are looked at, from all over the folder.

    Raises:
        ValueError: for images of several sizes, with a shape that could be asked for, and for a
            file that is none (it is named).
    """
    from PIL import Image

    sizes, colour = set(), False
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
                sizes.add(image.size if turned else image.size[::-1])
                colour = colour or image.mode not in _GREY
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{file} cannot be read as a PNG or JPEG image ({error}). Repair or remove it."
            ) from None
    channels = 3 if colour else 1
    if len(sizes) == 1 and max(*sizes) <= _LARGE:
        return (*sizes.pop(), channels)
    few, many = min(sizes), max(sizes)
    found = f"images of {few[0]} × {few[1]} pixels"
    if len(sizes) > 1:
        found = f"images of {len(sizes)} sizes, from {few[0]} × {few[1]} to {many[0]} × {many[1]}"
    raise ValueError(
        f"{root} holds {found}: say to which size they are brought, e.g. --event-shape 64 64 "
        f"{channels} (height, width, channels)."
    )


def _counted(names: list[str]) -> str:
    """Returns how many images there are, and with which endings."""
    endings = ", ".join(sorted({os.path.splitext(name)[1].lower() for name in names}))
    return f"{len(names)} image{'s' * (len(names) > 1)} ({endings})"


def labels_of(
    root: pathlib.Path,
    files: list[pathlib.Path],
    class_names: Sequence[str] | None = None,
    some: bool = False,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the labels of files, int64 `[n]`, and the names of the classes.

    With `some` the labels of images outside of classes are -1.
    """
    tops = [file.relative_to(root).parts for file in files]
    unknown = [some and (len(parts) == 1 or parts[0] == UNLABELLED) for parts in tops]
    for file, parts, gone in zip(files, tops, unknown, strict=True):
        if gone:
            continue
        if len(parts) == 1:
            raise ValueError(
                f'{file} is in no subfolder, so it has no label. Move it, or use labels="none".'
            )
        if class_names is not None and parts[0] not in class_names:
            raise ValueError(
                f"{file} is in the subfolder {parts[0]!r}, which is none of the classes "
                f"{shown_names(class_names)}. Move it into one of them."
            )
    labelled = {parts[0] for parts, gone in zip(tops, unknown, strict=True) if not gone}
    names = tuple(class_names or sorted(labelled))
    number = {name: i for i, name in enumerate(names)}
    pairs = zip(tops, unknown, strict=True)
    return np.array([-1 if gone else number[parts[0]] for parts, gone in pairs], np.int64), names
