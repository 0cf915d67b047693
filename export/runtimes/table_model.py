"""A TFLite or ONNX file of a table that is asked with the cells of rows: its own are numbers."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from export.runtimes import litert, onnx_runtime
from export.signatures import OUTPUT_SUFFIX
from kvae.datasets.frames import is_frame, make_frame, with_observed
from kvae.datasets.schema import Schema
from kvae.datasets.tables import Cells

__all__ = ["TableModel"]

_OPENED = {".tflite": litert, ".onnx": onnx_runtime}


class TableModel:
    """A TFLite or ONNX file of a model of a table, which takes and returns the table's own cells.

    The formats hold no texts, so the cells become numbers here, before the file is asked, and its
    numbers become cells. What is needed for that stands in the file. Neither TensorFlow nor the
    model is. A SavedModel does the same in its graph (`encode_table`, `impute_table`).

    Args:
        path: str or path. A `.tflite` or `.onnx` file of a model whose `schema` has columns.

    Attributes:
        schema: `kvae.datasets.Schema`. The columns of the table.
        signatures: as of the file.

    Raises:
        ModuleNotFoundError: without LiteRT or ONNX Runtime.
        ValueError: for another kind of file, and one that knows no columns.

    Example:

    ```python
    vae = zoo.load("tabular_vae.wine")
    export.tflite(vae, "wine.tflite")
    wine = export.TableModel("wine.tflite")
    rows = wine.run("serving_default", z=np.zeros((1, vae.latent_dim), "float32"))["cells"]
    print(dict(zip([column.name for column in wine.schema.all_columns], rows[0])))
    ```
    """

    def __init__(self, path: str | os.PathLike):
        path = pathlib.Path(path)
        if path.suffix not in _OPENED:
            raise ValueError(f"{path} is no .tflite or .onnx file.")
        runtime = _OPENED[path.suffix]
        runtime.require()
        self._model = runtime.Model(path)
        self.signatures = self._model.signatures
        self.schema = Schema.from_dict(self._model.metadata.get("schema", {}))
        if not self.schema.columns:
            raise ValueError(
                f"{path} knows no columns: its model was not trained on a table with names."
            )

    def inputs(self, signature: str, rows) -> dict[str, np.ndarray]:
        """Returns the inputs `image` and `mask`, as far as a signature has them, of rows.

        Args:
            signature: str. As `run`.
            rows: as `run`.
        """
        if is_frame(rows):
            x = Cells(rows, missing=True).encoded(self.schema.columns)
        else:
            x = self.schema.numbers(rows)
        wanted = self.signatures[signature]["inputs"]
        if "mask" not in wanted:
            return {"image": x}
        mask = ~np.isnan(x)
        return {
            "image": np.where(mask, x, np.float32(0)),
            "mask": mask.astype(wanted["mask"]["dtype"]),
        }

    def run(self, signature: str, rows: Sequence[Sequence] | None = None, **inputs) -> dict:
        """Asks a signature of the file.

        Args:
            signature: str. One of `signatures`.
            rows: a frame, or rows of texts, numbers or `None` in the order of the table's columns,
                for a signature that takes an `image`. What is empty, or says NA, NaN, null, None or
                ?, is missing. Defaults to `None`.
            **inputs: arrays of its other inputs: `z`, `noise`, `label`.

        Returns:
            dict: the outputs of the signature, with `cells` in the place of `image`: a frame like
            the one that was given, or else lists of texts. Those of `impute` that were observed
            come back as they were.

        Raises:
            ValueError: for an unknown signature, inputs of other names, and cells that their column
                does not have.
        """
        if signature not in self.signatures:
            known = ", ".join(self.signatures)
            raise ValueError(f"The file has no signature {signature!r}. It has: {known}.")
        given = {} if rows is None else self.inputs(signature, rows)
        found = self._model.run(signature, {**given, **inputs})
        # No two names of an ONNX file are the same.
        found = {name.removesuffix(OUTPUT_SUFFIX): value for name, value in found.items()}
        if "image" not in found:
            return found
        x = found.pop("image")
        imputed = signature == "impute" and rows is not None
        if is_frame(rows):
            cells = make_frame(self.schema, x, like=rows)
            if imputed:
                each = zip(self.schema.columns, given["mask"].T.astype(bool), strict=True)
                cells = with_observed(cells, rows, {column.name: mask for column, mask in each})
            return {"cells": cells, **found}
        cells = self.schema.rows(x)
        if imputed:
            cells = [self._filled(*pair) for pair in zip(rows, cells, strict=True)]
        return {"cells": cells, **found}

    def _filled(self, row, imputed: list[str]) -> list[str]:
        """Returns a row with the imputed cells where its own say nothing."""
        each = zip(self.schema.all_columns, row, imputed, strict=True)
        return [new if column.says_nothing(old) else str(old) for column, old, new in each]
