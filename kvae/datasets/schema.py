"""The names of classes and columns of data, which a model that was trained on them remembers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvae.utils.names import shown_names

__all__ = ["Column", "Schema"]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: str.
        kind: str. `"gaussian"` for real numbers, `"bernoulli"` for 0 and 1, `"categorical"`, or
            `"poisson"` for counts: the likelihood of its values.
        categories: tuple of str. The texts that the class numbers of a categorical column stand
            for, in order.
        whole: bool. Whether its numbers are whole ones, to which draws are rounded.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    whole: bool = False

    @property
    def description(self) -> tuple:
        """The column as `kvae.likelihoods.MixedTabular` takes it."""
        return (self.kind, len(self.categories)) if self.categories else (self.kind,)

    def text(self, value: float) -> str:
        """Returns a value of a sampled row as a table shows it."""
        if self.categories:
            return self.categories[round(float(value))]
        if self.whole or self.kind == "poisson":
            return str(round(float(value)))
        return f"{value:.6g}"


@dataclasses.dataclass(frozen=True)
class Schema:
    """The names of classes and columns of data, and the way in which their files are read.

    `kvae.datasets.from_path` finds it. A model that `kvae train` made keeps it (`vae.schema`), so
    that all commands read new files as the training did, and name classes and columns.

    Attributes:
        name: str. What the data are called: the name of a dataset, or of a folder or file.
        class_names: tuple of str. The class of each label, in order; empty without labels.
        label_column: str. The column of a table that holds the labels, or `""`.
        columns: tuple of `Column`. Those of x in a table that has names for them.
        fit: str. How images are brought to their size, as in `from_folder`.
        binarize: str or `None`. As of the `Dataset` of the training.
        noise: float. As of the `Dataset` of the training.

    Example:

    ```python
    data = kvae.datasets.from_path("photos", "train", (64, 64, 3))
    print(data.schema.class_names)    # ('cats', 'dogs')
    ```
    """

    name: str = ""
    class_names: tuple[str, ...] = ()
    label_column: str = ""
    columns: tuple[Column, ...] = ()
    fit: str = "stretch"
    binarize: str | None = None
    noise: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns what differs from the defaults, as JSON takes it."""
        given = dataclasses.asdict(self)
        blank = dataclasses.asdict(Schema())
        return {key: _listed(value) for key, value in given.items() if value != blank[key]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Schema":
        """Returns the schema of `to_dict()`."""
        values = dict(values)
        columns = [
            Column(**{**column, "categories": tuple(column.get("categories", ()))})
            for column in values.pop("columns", ())
        ]
        names = tuple(values.pop("class_names", ()))
        return cls(**values, class_names=names, columns=tuple(columns))

    def class_number(self, text: str, num_classes: int) -> int:
        """Returns the label that a name or a number of a class stands for.

        Raises:
            ValueError: for a class that there is not; the message names those that there are.
        """
        if text in self.class_names:
            return self.class_names.index(text)
        if text.isdecimal() and int(text) < num_classes:
            return int(text)
        known = f"one of {shown_names(self.class_names)} or " if self.class_names else ""
        raise ValueError(f"There is no class {text!r}: it is {known}0 to {num_classes - 1}.")

    def rows(self, x: np.ndarray) -> list[list[str]]:
        """Returns rows `[n, columns]` of numbers as the texts of a table's cells."""
        columns = self.columns or [Column("", "gaussian")] * x.shape[1]
        return [
            [column.text(value) for column, value in zip(columns, row, strict=True)] for row in x
        ]


def _listed(value):
    """Returns a value with lists for tuples, as JSON gives it back."""
    if isinstance(value, (tuple, list)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
