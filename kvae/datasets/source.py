"""Data at a path, in whichever form they are, and their division into splits."""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

from kvae.datasets.base_stream import Stream
from kvae.datasets.dataset import Dataset
from kvae.datasets.dataset_info import SPLITS
from kvae.datasets.readers import FILES, NAMES, loaded, opened, own
from kvae.datasets.schema import Schema
from kvae.datasets.shards import INDEX
from kvae.utils import names

__all__ = ["Source", "from_path", "is_path"]


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
                f"{', '.join(FILES[:-1])} or {FILES[-1]} file."
            )
        places = _places(root)
        shape = None if event_shape is None else tuple(int(size) for size in event_shape)
        gaps = missing, unlabelled
        held = [split for split in ("test", "validation") if split not in places]
        first = opened(places["train"], "train", shape, fit, columns, schema, *gaps, held)
        if schema is None or not schema.name:
            name = root.resolve().name if root.is_dir() else root.stem
            first.schema = Schema(**{**vars(first.schema), "name": name})
        self._readers = {"train": first}
        for split in ("validation", "test"):
            if split in places:
                self._readers[split] = opened(
                    places[split], split, first.event_shape, fit, None, first.schema, *gaps, []
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
        return {split: root for split in SPLITS if own(loaded(root), split)} or {"train": root}
    if not root.is_dir() or (root / INDEX).is_file():
        return {"train": root}
    found = {}
    for split, words in NAMES.items():
        here = [root / word for word in words if (root / word).is_dir()]
        here += [
            root / f"{word}{suffix}"
            for word in words
            for suffix in FILES
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
