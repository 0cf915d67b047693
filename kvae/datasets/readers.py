"""Reads examples at a place: images, shards, the rows of a table, arrays in memory."""

import hashlib
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from kvae.datasets import condition_arrays, kinds, tables
from kvae.datasets.arrays import from_array
from kvae.datasets.dataset import Dataset
from kvae.datasets.folders import MEMORY, UNLABELLED, from_folder, image_files, image_shape_of
from kvae.datasets.image_folder import ImageFolder
from kvae.datasets.schema import Schema
from kvae.datasets.shards import INDEX, Shards, read_index
from kvae.utils import io, names

__all__ = ["FILES", "NAMES", "loaded", "opened", "own"]

FILES = (".npy", ".npz", *tables.SUFFIXES)
# What the folder, the file or the arrays of a split may be called.
NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_HELD_OUT = 0.1  # The share that validation and test get each, where nothing says which they are.
_FEWEST = 10


def opened(
    place: pathlib.Path,
    split: str,
    shape,
    fit: str,
    columns,
    schema: Schema | None,
    missing: bool,
    unlabelled: bool,
    held: list[str],
):
    """Returns the reader for what a folder or file holds.

    The splits `held` are held out of it, so that nothing is learned from their rows.
    """
    suffix = place.suffix.lower()
    if columns and suffix not in (*tables.SUFFIXES, ".npz"):
        raise ValueError(f"--columns is for tables with named columns, and {place} is none.")
    if place.is_dir():
        if (place / INDEX).is_file():
            return _Shards(place, shape)
        inside = [path for path in sorted(place.iterdir()) if path.suffix.lower() in FILES]
        if inside and not any(path.is_dir() for path in place.iterdir()):
            raise ValueError(
                f"{place} holds {names.shown_names(path.name for path in inside)}: give the path "
                "of one file, or name the files train and test."
            )
        return _Images(place, shape, fit, schema, unlabelled)
    if suffix in tables.SUFFIXES:
        return _Rows(place, shape, columns, schema, missing, unlabelled, held)
    if suffix in (".npy", ".npz"):
        return _Arrays(place, split, shape, columns or {}, schema, missing)
    raise ValueError(
        f"{place} is no file that can be read: give a folder of images or shards, or a "
        f"{', '.join(FILES[:-1])} or {FILES[-1]} file."
    )


class _Reader:
    """Reads examples at one place."""

    path: pathlib.Path
    schema: Schema
    event_shape: tuple[int, ...]
    intensities = False
    what = "examples"

    def __len__(self) -> int:
        raise NotImplementedError

    def count(self, rows) -> int:
        return len(self) if rows is None else len(rows)

    def chances(self) -> np.ndarray:
        """Returns a number in [0, 1) for each example, which more examples do not change."""
        return np.random.Philox(key=0).random_raw(len(self)) / 2.0**64

    def divided(self, held: list[str]) -> dict[str, np.ndarray]:
        """Returns the numbers of the examples of `"train"`, and of the splits that are held out.

        They are in an order of chance: files often hold one class after the other, and the first
        examples of a split are to be of all.
        """
        if len(self) < _FEWEST:
            raise ValueError(
                f"{self.path} holds {len(self)} {self.what}; {_FEWEST} are needed to hold out some "
                "for validation and testing."
            )
        chances = self.chances()
        bounds = {"test": (0.0, _HELD_OUT), "validation": (_HELD_OUT, 2 * _HELD_OUT)}
        order, free = np.argsort(chances, kind="stable"), np.ones(len(self), bool)
        found = {}
        for place, split in enumerate(held):
            low, high = bounds[split]
            rows = order[((chances >= low) & (chances < high) & free)[order]]
            # Few examples may have none in between: then it is one of the nearest.
            found[split] = rows if len(rows) else np.array([order[place]])
            free[found[split]] = False
        return {**found, "train": order[free[order]]}


class _Images(_Reader):
    intensities, what = True, "images"

    def __init__(self, path, shape, fit, schema, unlabelled):
        self.path, self.files = path, image_files(path)
        tops = {file.relative_to(path).parts[:-1][:1] for file in self.files}
        known = "folders"
        if unlabelled and tops & {(), (UNLABELLED,)}:
            known, tops = "some", tops - {(), (UNLABELLED,)}
        self.labels = known if len(tops) > 1 and () not in tops else "none"
        if schema is None:
            classes = sorted(top[0] for top in tops) if self.labels == known else ()
            schema = Schema(class_names=tuple(classes), fit=fit)
        elif not schema.class_names:
            self.labels = "none"
        elif tops != {()}:
            self.labels = known  # Of the known classes: an image outside of them is refused.
        self.schema = schema
        if shape is not None and len(shape) != 3:
            raise ValueError(f"{path} holds images, and no examples of shape {shape}.")
        self.event_shape = image_shape_of(path, self.files) if shape is None else shape

    def __len__(self) -> int:
        return len(self.files)

    def chances(self) -> np.ndarray:
        found = np.empty(len(self.files))
        for row, file in enumerate(self.files):
            name = os.fsencode(file.relative_to(self.path).as_posix())
            found[row] = int.from_bytes(hashlib.sha256(name).digest()[:6], "big") / 2.0**48
        return found

    def read(self, rows, **options):
        height, width, channels = self.event_shape
        if rows is None:  # The classes of a split's own folders are mixed, too.
            rows = np.argsort(self.chances(), kind="stable")
        small = self.count(rows) * height * width * channels <= MEMORY
        return (from_folder if small else ImageFolder)(
            self.path,
            (height, width, channels),
            self.labels,
            fit=self.schema.fit,
            rows=rows,
            class_names=self.schema.class_names or None,
            **options,
        )


class _Shards(_Reader):
    what = "shards"

    def __init__(self, path, shape):
        self.path, self._count = path, len(read_index(path).get("shards", ()))
        data = Shards(path, verify=False)
        self._sizes = data.counts
        self.schema, self.event_shape = data.schema or Schema(), data.event_shape
        self.intensities = data.dtype == np.uint8
        if shape is not None and shape != self.event_shape:
            raise _other_shape(path, self.event_shape, shape)

    def __len__(self) -> int:
        return self._count

    def count(self, rows) -> int:
        return sum(self._sizes if rows is None else (self._sizes[row] for row in rows))

    def divided(self, held):
        if self._count <= len(held):
            raise ValueError(
                f"{self.path} has {self._count} shards; {len(held) + 1} are needed to hold out "
                f"{len(held)}."
            )
        last = {split: np.array([self._count - 1 - i]) for i, split in enumerate(held)}
        return {**last, "train": np.arange(self._count - len(held))}

    def read(self, rows, **options):
        return Shards(self.path, only=rows, **options)


class _Held(_Reader):
    """Examples that are in memory: `x`, and `labels` or `None`."""

    def __init__(self, path, x, labels, schema, shape, missing):
        if x.dtype == np.uint8 and x.ndim == 3 and shape is None:
            shape = (*x.shape[1:], 1)  # Bytes are images, which may come without their channel.
        if shape is not None and shape != x.shape[1:]:
            if shape != (*x.shape[1:], 1):
                raise _other_shape(path, x.shape[1:], shape)
            x = x[..., np.newaxis]
        self.path, self.schema = path, schema
        try:
            self._data = from_array(x, labels, missing=missing)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        self.event_shape, self.intensities = self._data.event_shape, x.dtype == np.uint8

    def __len__(self) -> int:
        return len(self._data)

    def read(self, rows, *, split, binarize, seed):
        data = self._data
        rows = slice(None) if rows is None else rows
        labels = kinds.rows_of_labels(data.labels, rows)
        return Dataset(data.x[rows], labels, split=split, binarize=binarize, seed=seed)


class _Rows(_Held):
    what = "rows"

    def __init__(self, path, shape, columns, schema, missing, unlabelled, held):
        table = tables.Cells(path, missing, unlabelled)
        self.path, self._count = path, table.rows
        if schema is None:
            few = table.rows < _FEWEST  # Of which none can be held out.
            rows = None if few or not held else self.divided(held)["train"]
            schema = table.schema(columns or {}, rows=rows)
        elif not schema.columns:
            raise ValueError(
                f"{path} is a table with names for its columns, and the model was trained on data "
                "without: give data of the same kind."
            )
        told = table.told(schema)
        super().__init__(path, table.encoded(schema.columns), told, schema, shape, missing)

    def __len__(self) -> int:
        return self._count


class _Arrays(_Held):
    def __init__(self, path, split, shape, columns, schema, missing):
        found = loaded(path)
        classes = tuple(map(str, found.get("class_names", ())))
        found = {name: found[name] for name in found if name != "class_names"}
        told = condition_arrays.taken(path, found, NAMES, split, columns, schema)
        x, labels = own(found, split) or kinds.entries(found)
        if schema is None:
            schema = Schema(conditions=condition_arrays.described(path, told))
            if labels is not None and not told:
                classes = classes or tuple(map(str, range(int(np.max(labels)) + 1)))
                schema = Schema(class_names=classes)
        if schema.conditions:
            labels = condition_arrays.numbers(path, told, schema.conditions)
        super().__init__(path, x, labels, schema, shape, missing)


def loaded(path: pathlib.Path) -> Mapping:
    """Returns the arrays of a file of NumPy by name; that of an .npy file is x."""
    try:
        found = np.load(path, allow_pickle=False)
        return dict(found) if isinstance(found, Mapping) else {"x": found}
    except io.DAMAGED as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} cannot be read as a file of NumPy ({error}).") from None


def own(arrays: Mapping, split: str) -> tuple | None:
    """Returns x and the labels of a split that stand beside those of others: x_train, y_train."""
    for word in NAMES[split]:
        for x, y in ((f"x_{word}", f"y_{word}"), (word, f"{word}_labels")):
            if x in arrays and (x.startswith("x_") or "train" in arrays):
                return arrays[x], arrays.get(y)
    return None


def _other_shape(path, found, wanted) -> ValueError:
    return ValueError(
        f"{path} holds examples of shape {tuple(found)}, and not {tuple(wanted)}. Give others, or "
        "resize them first; only image files are resized when they are read."
    )
