"""A table as a data set: from a frame to numbers, and from numbers to a frame."""

import copy
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvae.datasets.dataset import Dataset
from kvae.datasets.frames import make_frame
from kvae.datasets.schema import Schema
from kvae.datasets.tables import SUFFIXES, Cells
from kvae.likelihoods.mixed_tabular import MixedTabular

__all__ = ["Table", "frame"]


class Table(Dataset):
    """Rows of a table as a `kvae.datasets.Dataset`, with what their numbers stand for.

    `from_frame` and `from_file` make it. It goes wherever a `Dataset` goes. A model without a
    schema that `fit` trains on it keeps its `schema`, so that `frame`, `given`, the command line
    and exports know the columns.

    Constant columns and those without a value are no part of x, and come back in `inverse`. Every
    category is kept, however rare; texts of more than 1,000 kinds, or of more kinds than every
    other row, are refused. A value that later rows have and these do not is an error that names its
    row. What is missing is NaN in x, for a model with `missing`.

    x is float32, which keeps seven digits of a number. Times are days after the first one, so they
    come back to the second from a table of four months, and to 42 seconds from one of 36 years.

    Attributes:
        x: float32 array `[n, columns]`. Class numbers, days, counts and real numbers.
        schema: `kvae.datasets.Schema`. Its `columns` say the kind, the bounds, the categories and
            the type of each column.
        labels: int64 array `[n]` of a column of the kind `"label"`; a dict of arrays for columns of
            the kind `"condition"`, for a model with `conditions=table.schema.told`; else `None`.

    Example:

    ```python
    import pyarrow

    ages, jobs = [31.5, 47.0, 25.2, 62.9], ["clerk", "cook", "clerk", "baker"]
    columns = {"age": ages * 10, "job": jobs * 10, "planet": ["Earth"] * 40}
    people = pyarrow.table(columns)    # Or a frame of pandas or polars.
    table = kvae.tables.Table.from_frame(people)
    vae = zoo.build("tabular_vae", event_shape=table.event_shape, likelihood=table.likelihood())
    vae.compile("adam")
    vae.fit(table, epochs=2)
    print(table.inverse(vae.sample(5, output="sample", seed=1)))    # age, job and planet
    ```
    """

    def __init__(self, cells: Cells, schema: Schema, like: Any = None):
        super().__init__(
            cells.encoded(schema.columns), cells.told(schema), name=schema.name or "table"
        )
        self.schema, self._like = schema, like

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        kinds: Mapping[str, str] | None = None,
        schema: Schema | None = None,
        name: str = "table",
    ) -> "Table":
        """Reads a frame of pandas, polars, pyarrow or another library that narwhals knows.

        Args:
            frame: frame.
            kinds: mapping from the name of a column to what it holds, one of
                `kvae.datasets.tables.KINDS`, e.g. `{"id": "ignore", "age": "gaussian"}`. Defaults
                to `None`: as `kvae.datasets.tables.Cells.schema` finds them.
            schema: `kvae.datasets.Schema` of a table or a model, whose columns these are. Defaults
                to `None`: it is found.
            name: str. What the data are called. Defaults to `"table"`.

        Raises:
            ModuleNotFoundError: without `narwhals`.
            ValueError: for what is no frame, and as `kvae.datasets.from_path`.
        """
        cells = Cells(frame, missing=True)
        if schema is not None and kinds:
            raise ValueError("The schema says the kinds already: leave out `kinds`.")
        schema = cells.schema(kinds or {}, name) if schema is None else schema
        return cls(cells, schema, frame[:0])

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike,
        kinds: Mapping[str, str] | None = None,
        schema: Schema | None = None,
    ) -> "Table":
        """Reads all rows of a .csv, .tsv or .parquet file, in their order.

        `kvae.datasets.from_path` reads a part of them. The arguments and errors are those of
        `from_frame`; cells that are empty, or say NA, NaN, null, None or ?, are missing.
        """
        path = pathlib.Path(path)
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            what = "no table" if path.exists() else "not there"
            raise ValueError(f"{path} is {what}: give a {', '.join(SUFFIXES)} file.")
        cells = Cells(path, missing=True)
        if schema is not None and kinds:
            raise ValueError("The schema says the kinds already: leave out `kinds`.")
        return cls(cells, cells.schema(kinds or {}, path.stem) if schema is None else schema)

    @property
    def columns(self) -> list[tuple]:
        """The columns of x as `kvae.likelihoods.MixedTabular` takes them."""
        return [column.description for column in self.schema.columns]

    @property
    def has_missing(self) -> bool:
        """Whether something was not observed, for which a model needs `missing`."""
        return bool(np.isnan(self.x).any())

    def likelihood(self) -> MixedTabular:
        """Returns p(x|z) with a distribution that suits each column, standardized."""
        return MixedTabular(self.columns, standardize=True)

    def take(self, rows, split: str | None = None) -> "Table":
        part = copy.copy(self)
        vars(part).update(vars(super().take(rows, split)))
        return part

    def inverse(self, x: Any) -> Any:
        """Returns rows `[n, columns]` as a frame like the one that came in.

        Its columns have the same names, order and types; numbers are within the bounds of the
        table, and whole where all of its were; NaN is missing. A table of a file gives a frame of
        pandas, or of what `frame` is asked for.
        """
        return frame(self.schema, x, like=self._like)


def frame(schema: Schema, x: Any, backend: Any = None, like: Any = None) -> Any:
    """Returns rows of a model of a table as a frame.

    Args:
        schema: `kvae.datasets.Schema` with columns, as `vae.schema`.
        x: array `[n, columns]`.
        backend: str or module. `"pandas"`, `"polars"` or `"pyarrow"`. Defaults to `None`: the
            library of `like`, or pandas.
        like: frame or `None`. The columns get its very types. Defaults to `None`.

    Raises:
        ModuleNotFoundError: without `narwhals` or the library.
        ValueError: for a schema without columns, and for another number of columns.

    Example:

    ```python
    schema = kvae.datasets.info("breast_cancer").schema
    x = kvae.datasets.load("breast_cancer", "test").x
    print(kvae.tables.frame(schema, x, "pyarrow").num_rows)    # 57
    ```
    """
    if schema is None or not schema.columns:
        raise ValueError("The model knows no columns: it was not trained on a table with names.")
    return make_frame(schema, np.asarray(x), backend, like)
