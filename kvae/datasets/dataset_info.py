"""The facts of a named dataset, and the names of its splits."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from kvae.datasets.schema import Column, Schema

__all__ = ["SPLITS", "DatasetInfo"]

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of a named dataset.

    Attributes:
        name: str. The name for `kvae.datasets.load`.
        event_shape: tuple of int. The shape of an example, `(height, width, channels)` of an image.
        train: int. The number of training examples.
        validation: int. The number of validation examples.
        test: int. The number of test examples.
        title: str. One line for tables.
        classes: int. The number of labels, which are `0..classes - 1`; 0 where there are none.
        split_rule: str. How the three splits are made.
        license: str. The terms of the data.
        source: str. The address of the original.
        reference: str. What to cite.
        files: tuple of str. The files below `KVAE_DATA_DIR`; empty where none are needed.
        downloadable: bool. Whether Keras can download the files.
        class_names: tuple of str. What the labels stand for, where they are not digits.
        columns: tuple of `kvae.datasets.Column`. Those of a table.
        dtype: str. How the examples are stored: `"uint8"` for intensities, `"float32"` for other
            numbers.
        factors: callable or `None`. Makes the examples by the factors that they were made of, as
            `kvae.datasets.Sprites` does, for measures of disentanglement; `None` where the factors
            are not known.
        conditions: mapping or `None`. The conditions that the labels are values of, as
            `kvae.VAE(conditions=…)` takes them; `None` where labels are classes.
    """

    name: str
    event_shape: tuple[int, ...]
    train: int
    validation: int
    test: int
    title: str = ""
    classes: int = 0
    split_rule: str = "not stated"
    license: str = "not stated"
    source: str = "not stated"
    reference: str = "not stated"
    files: tuple[str, ...] = ()
    downloadable: bool = False
    class_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    dtype: str = "uint8"
    factors: Callable[[], Any] | None = None
    conditions: Mapping[str, Any] | None = None

    @property
    def schema(self) -> Schema | None:
        """The names of the classes and the columns, or `None` where there are none."""
        if not (self.class_names or self.columns):
            return None
        return Schema(self.name, class_names=self.class_names, columns=self.columns)

    @property
    def splits(self) -> dict[str, int]:
        """The number of examples of each split, in the order train, validation, test."""
        return {split: getattr(self, split) for split in SPLITS}
