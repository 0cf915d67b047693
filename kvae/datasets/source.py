"""Data at a path, in whichever form they are, and their division into splits."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from kvae.datasets import condition_arrays, kinds, tables
from kvae.datasets.arrays import from_array
from kvae.datasets.base_stream import Stream
from kvae.datasets.dataset import Dataset
from kvae.datasets.dataset_info import SPLITS
from kvae.datasets.folders import MEMORY, UNLABELLED, from_folder, image_files, image_shape_of
from kvae.datasets.image_folder import ImageFolder
from kvae.datasets.schema import Schema
from kvae.datasets.shards import INDEX, Shards, read_index
from kvae.utils import io, names

__all__ = ["Source", "from_path", "is_path"]

_FILES = (".npy", ".npz", *tables.SUFFIXES)
_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_HELD_OUT = 0.1  # The share that validation and test get each, where nothing says which they are.
_FEWEST = 10


def from_path(
    path: str | os.PathLike,
    split: str = "train",
    event_shape: Sequence[int] | None = None,
    *,
    fit: str = "stretch",
    columns: Mapping[str, str] | None = None,
    schema: Schema | None = None,
    binarize: str | None = None,
    seed: int = 0,
    missing: bool = False,
    unlabelled: bool = False,
) -> Dataset | Stream:
    """Reads a split of data at a path, as `--data PATH` of all commands does.

    | path | what becomes of it |
    |---|---|
    | a folder of PNG and JPEG files | images; if each lies in a subfolder, these are the classes |
    | a folder that `write_shards` wrote | what was written, read while a model trains |
    | a `.npy` file | the array `[n, *event]` |
    | a `.npz` file | its array `x` and its `labels`, or `x_train`, `y_train`, `x_test`, … |
    | beside them | arrays that `columns` calls conditions, such as `size`, or `size_train`, … |
    | a `.csv`, `.tsv` or `.parquet` file | rows of numbers; texts become categories |

    Subfolders `train`, `validation` and `test` are the splits, and so are files of these names. A
    split that is missing is held out of the training data, a tenth of it: chosen by the SHA-256 of
    the path of an image within its folder, or by a fixed random number for each number of a row.
    More images or rows therefore leave the others where they are. Images of folders, and rows of
    which some are held out, come in an order of chance, so that the first ones are of all classes.
    Of shards, the last one is held out for testing and the one before it for validation.

    Folders of images up to half a gigabyte of pixels are read into memory, larger ones while a
    model trains.

    Args:
        path: str or path.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"train"`.
        event_shape: sequence of int. The shape `(height, width, channels)` that images are brought
            to; arrays need to have it, or to lack its single channel. Defaults to `None`: that of
            the images, if all have one.
        fit: str. How images are brought to their size, as in `from_folder`. Defaults to
            `"stretch"`.
        columns: mapping from names of columns to what they hold: `"gaussian"`, `"bernoulli"`,
            `"categorical"`, `"label"`, `"condition"`, `"ignore"` or another of
            `kvae.datasets.tables.KINDS`; arrays beside x are `"condition"`. Defaults to `None`: as
            `kvae.datasets.tables.Cells.schema` finds them in the values.
        schema: `Schema` of the data that a model was trained on: `fit`, columns, categories and
            classes are those. Defaults to `None`: they are found in the data.
        binarize, seed: as of `Dataset`.
        missing: bool. Whether empty cells of a table (and NA, NaN, null, None and ?) and NaN in
            arrays stand for what was not observed, for a model with `missing`. Defaults to
            `False`: they are errors.
        unlabelled: bool. Whether labels may be unknown, which is -1: those of rows whose cell in
            the label column is empty (or says NA and the like), and of images in no subfolder or in
            one that is called `unlabelled`. Defaults to `False`: they are errors, and such a
            subfolder is a class.

    Returns:
        `Dataset`, or a `Stream` for shards and large folders; its `schema` names classes and
        columns.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ModuleNotFoundError: for a Parquet file, without `pyarrow`.
        ValueError: for an unknown split, data that cannot be read without a guess (images of
            several sizes, missing or broken cells; the message says what to do), and too few
            examples to hold some out.

    Example:

    ```python
    np.save("waves.npy", np.random.default_rng(0).normal(size=(100, 16)).astype("float32"))
    train, test = (kvae.datasets.from_path("waves.npy", split) for split in ("train", "test"))
    print(len(train) > len(test) > 0, train.event_shape)    # True (16,)
    ```
    """
    source = Source(
        path,
        event_shape,
        fit=fit,
        columns=columns,
        schema=schema,
        missing=missing,
        unlabelled=unlabelled,
    )
    return source.split(split, binarize=binarize, seed=seed)


class Source:
    """Data at a path, of which splits can be read. The arguments are those of `from_path`.

    Attributes:
        event_shape: tuple of int.
        schema: `Schema`.
        intensities: bool. Whether the data are bytes that stand for intensities.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        event_shape: Sequence[int] | None = None,
        *,
        fit: str = "stretch",
        columns: Mapping[str, str] | None = None,
        schema: Schema | None = None,
        missing: bool = False,
        unlabelled: bool = False,
    ):
        self.path = root = pathlib.Path(path)
        if not root.exists():
            raise FileNotFoundError(
                f"There is no {root}. Give a folder of images or shards, or a "
                f"{', '.join(_FILES[:-1])} or {_FILES[-1]} file."
            )
        places = _places(root)
        shape = None if event_shape is None else tuple(int(size) for size in event_shape)
        gaps = missing, unlabelled
        first = _opened(places["train"], "train", shape, fit, columns, schema, *gaps)
        if schema is None or not schema.name:
            name = root.resolve().name if root.is_dir() else root.stem
            first.schema = Schema(**{**vars(first.schema), "name": name})
        self._readers = {"train": first}
        for split in ("validation", "test"):
            if split in places:
                self._readers[split] = _opened(
                    places[split], split, first.event_shape, fit, None, first.schema, *gaps
                )
        self.event_shape, self.schema = first.event_shape, first.schema
        self.intensities = first.intensities

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples of each split."""
        return {split: reader.count(rows) for split, (reader, rows) in self._chosen.items()}

    def split(self, split: str, *, binarize: str | None = None, seed: int = 0) -> Dataset | Stream:
        """Reads a split; the arguments are those of `from_path`."""
        if split not in SPLITS:
            raise names.unknown_name("split", split, SPLITS)
        reader, rows = self._chosen[split]
        data = reader.read(rows, split=split, binarize=binarize, seed=seed)
        data.name, data.schema = self.schema.name, self.schema
        return data

    def everything(self) -> Dataset | Stream:
        """Reads all examples of the first place, in the order of the file."""
        data = self._readers["train"].read(None, split="all", binarize=None, seed=0)
        data.name, data.schema = self.schema.name, self.schema
        return data

    @functools.cached_property
    def _chosen(self) -> dict[str, tuple]:
        """The reader of each split, and the numbers of its examples; `None` for all."""
        held = [split for split in ("test", "validation") if split not in self._readers]
        first = self._readers["train"]
        rows = first.divided(held) if held else {"train": None}
        return {
            split: (first, rows[split]) if split in rows else (self._readers[split], None)
            for split in SPLITS
        }


def is_path(name: str) -> bool:
    """Checks whether a name is that of a file or folder, and not that of a named dataset."""
    return os.sep in name


def _places(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the folders or files of the splits; that of all examples is `"train"`."""
    if root.suffix.lower() == ".npz" and root.is_file():
        return {split: root for split in SPLITS if _own(_loaded(root), split)} or {"train": root}
    if not root.is_dir() or (root / INDEX).is_file():
        return {"train": root}
    found = {}
    for split, words in _NAMES.items():
        here = [root / word for word in words if (root / word).is_dir()]
        here += [
            root / f"{word}{suffix}"
            for word in words
            for suffix in _FILES
            if (root / f"{word}{suffix}").is_file()
        ]
        if len(here) > 1:
            raise ValueError(
                f"{root} holds {' and '.join(path.name for path in here)}, which both may be the "
                f"{split} split. Leave one of them."
            )
        if here:
            found[split] = here[0]
    return found if "train" in found else {"train": root}


def _opened(
    place: pathlib.Path,
    split: str,
    shape,
    fit: str,
    columns,
    schema: Schema | None,
    missing: bool,
    unlabelled: bool,
):
    """Returns the reader for what a folder or file holds."""
    suffix = place.suffix.lower()
    if columns and suffix not in (*tables.SUFFIXES, ".npz"):
        raise ValueError(f"--columns is for tables with named columns, and {place} is none.")
    if place.is_dir():
        if (place / INDEX).is_file():
            return _Shards(place, shape)
        inside = [path for path in sorted(place.iterdir()) if path.suffix.lower() in _FILES]
        if inside and not any(path.is_dir() for path in place.iterdir()):
            raise ValueError(
                f"{place} holds {names.shown_names(path.name for path in inside)}: give the path "
                "of one file, or name the files train and test."
            )
        return _Images(place, shape, fit, schema, unlabelled)
    if suffix in tables.SUFFIXES:
        return _Rows(place, shape, columns, schema, missing, unlabelled)
    if suffix in (".npy", ".npz"):
        return _Arrays(place, split, shape, columns or {}, schema, missing)
    raise ValueError(
        f"{place} is no file that can be read: give a folder of images or shards, or a "
        f"{', '.join(_FILES[:-1])} or {_FILES[-1]} file."
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

    def __init__(self, path, shape, columns, schema, missing, unlabelled):
        table = tables.Cells(path, missing, unlabelled)
        if schema is None:
            schema = table.schema(columns or {})
        elif not schema.columns:
            raise ValueError(
                f"{path} is a table with names for its columns, and the model was trained on data "
                "without: give data of the same kind."
            )
        told = table.told(schema)
        super().__init__(path, table.encoded(schema.columns), told, schema, shape, missing)


class _Arrays(_Held):
    def __init__(self, path, split, shape, columns, schema, missing):
        found = _loaded(path)
        classes = tuple(map(str, found.get("class_names", ())))
        found = {name: found[name] for name in found if name != "class_names"}
        told = condition_arrays.taken(path, found, _NAMES, split, columns, schema)
        x, labels = _own(found, split) or kinds.entries(found)
        if schema is None:
            schema = Schema(conditions=condition_arrays.described(path, told))
            if labels is not None and not told:
                classes = classes or tuple(map(str, range(int(np.max(labels)) + 1)))
                schema = Schema(class_names=classes)
        if schema.conditions:
            labels = condition_arrays.numbers(path, told, schema.conditions)
        super().__init__(path, x, labels, schema, shape, missing)


def _loaded(path: pathlib.Path) -> Mapping:
    """Returns the arrays of a file of NumPy by name; that of an .npy file is x."""
    try:
        found = np.load(path, allow_pickle=False)
        return dict(found) if isinstance(found, Mapping) else {"x": found}
    except io.DAMAGED as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{path} cannot be read as a file of NumPy ({error}).") from None


def _own(arrays: Mapping, split: str) -> tuple | None:
    """Returns x and the labels of a split that stand beside those of others: x_train, y_train."""
    for word in _NAMES[split]:
        for x, y in ((f"x_{word}", f"y_{word}"), (word, f"{word}_labels")):
            if x in arrays and (x.startswith("x_") or "train" in arrays):
                return arrays[x], arrays.get(y)
    return None


def _other_shape(path, found, wanted) -> ValueError:
    return ValueError(
        f"{path} holds examples of shape {tuple(found)}, and not {tuple(wanted)}. Give others, or "
        "resize them first; only image files are resized when they are read."
    )
