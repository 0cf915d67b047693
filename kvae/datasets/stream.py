"""Opens a split of a folder of data that is read while a model trains."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from kvae.datasets.base_stream import Stream
from kvae.datasets.folders import image_files
from kvae.datasets.image_folder import ImageFolder
from kvae.datasets.shards import INDEX, Shards, read_index, write_shards
from kvae.datasets.splits import fixed_permutation
from kvae.utils import names

__all__ = ["ImageFolder", "Shards", "Stream", "is_path", "stream", "write_shards"]

_SPLITS = ("train", "validation", "test")
_HELD_OUT = 0.05  # The share of a folder without splits that validation and test get each.


def stream(
    path: str | os.PathLike,
    split: str = "train",
    image_shape: Sequence[int] | None = None,
    *,
    binarize: str | None = None,
    seed: int = 0,
) -> Stream:
    """Opens a split of a folder: of `Shards` or, for an `image_shape`, of image files.

    Subfolders `train`, `validation` and `test` are the splits. In a folder without them, a
    twentieth of the images, or one of the shards, is held out for validation, and as much for
    testing.

    Args:
        path: str or path. The folder.
        split: str. `"train"`, `"validation"` or `"test"`.
        image_shape: tuple `(height, width, channels)` that images are resized to. Defaults to
            `None`: the folder holds shards.
        binarize, seed: as for `Dataset`.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: for an unknown split, and when there is too little to hold out.
    """
    if split not in _SPLITS:
        raise names.unknown_name("split", split, _SPLITS)
    root = pathlib.Path(path)
    own = (root / "train").is_dir()
    folder = root / split if own else root
    options = {"split": split, "binarize": binarize, "seed": seed}
    if (folder / INDEX).is_file():
        numbers = None
        if not own:
            count = len(read_index(folder).get("shards", ()))
            if count < 3:
                raise ValueError(f"{folder} has {count} shards; three are needed to hold out two.")
            numbers = {"train": range(count - 2), "validation": [count - 2], "test": [count - 1]}
            numbers = numbers[split]
        return Shards(folder, only=numbers, **options)
    if image_shape is None:
        raise FileNotFoundError(
            f"{folder} holds no shards of kvae.datasets.write_shards. For image files give the "
            "shape that they are resized to (--event-shape 64 64 3)."
        )
    rows = None
    if not own:
        count = len(image_files(folder))
        held_out = int(_HELD_OUT * count)
        if not held_out:
            raise ValueError(f"{folder} has {count} images; twenty are needed to hold out two.")
        parts = np.split(fixed_permutation(count, 0), [held_out, 2 * held_out])
        rows = dict(zip(("test", "validation", "train"), parts, strict=True))[split]
    return ImageFolder(folder, image_shape, rows=rows, **options)


def is_path(name: str) -> bool:
    """Checks whether a name is that of a folder, and not that of a named dataset."""
    return os.sep in name
