"""The interface of a condition: a property of an example that a model may be given."""

import numpy as np
import tensorflow as tf

from kvae.datasets import kinds
from kvae.parts import Part, PartRegister, resolve, to_write

__all__ = ["REGISTER", "Condition", "get", "names", "register"]


class Condition(Part):
    """A condition is a property of an example that a conditional model is given, if it is known.

    Its values stand in `columns` numbers of each row of a record, float32, where `unknown` stands
    for a value that is not known; networks see `width` numbers. A new condition gives these
    attributes, `checked`, `fits`, `encode` and `example`; `parse` and `shown` where its values have
    names.

    Attributes:
        columns: int. The numbers of a row in a record. Defaults to `1`.
        width: int. The numbers of a row that networks see. Where these are as many as `columns`,
            `encode` leaves known values as they are, since exports tell a record from what
            networks see by its width. Defaults to `1`.
        whole: bool. Whether its values are whole numbers. Defaults to `False`.
        unknown: float. What stands for an unknown value in a record. Defaults to NaN.
        wanted: str. What a value is, for errors.
    """

    columns: int = 1
    width: int = 1
    whole: bool = False
    unknown: float = float("nan")
    wanted: str = "a number"

    def record(self, values, name: str):
        """Returns values as a float32 tensor `[n, columns]`; that of a single value is `[columns]`.

        Args:
            values: array, list, series or tensor; a single value too. Symbolic tensors are checked
                by the model's guard (`fits`).
            name: str. How errors call the condition.

        Raises:
            ValueError: for values that it does not have.
        """
        if not tf.is_symbolic_tensor(values):
            if isinstance(values, (str, bytes)) or values is None:
                values = np.array(values, object)
            values = kinds.as_array(values, name, only_numbers=False)
            if values.dtype.kind in "OSU":
                values = self._of_texts(values, name)
            values = values.astype(np.float32) if values.dtype.kind == "b" else values
            if values.dtype.kind not in "uif":
                raise ValueError(f"`{name}` holds {values.dtype}; it is {self.wanted}.")
        one = self.columns == 1
        shape = tf.TensorShape(values.shape)
        ranks = (0, 1, 2) if one else (1, 2)
        if shape.rank not in ranks or (shape.rank == max(ranks) and shape[-1] != self.columns):
            rows = "[n]" if one else f"[n, {self.columns}]"
            raise ValueError(
                f"`{name}` has shape {tuple(values.shape)}; it is {rows}, for each example "
                f"{self.wanted}."
            )
        if isinstance(values, np.ndarray):
            self.checked(values, name)
            values = values.astype(np.float32)
            values = np.where(np.isnan(values), np.float32(self.unknown), values)
        values = tf.cast(values, tf.float32)
        return values[..., None] if one and shape.rank != 2 else values

    @to_write
    def checked(self, values: np.ndarray, name: str) -> None:
        """Refuses numbers that are no values of the condition, with a `ValueError`."""
        raise NotImplementedError

    @to_write
    def fits(self, record):
        """Returns a bool tensor of the shape of a record, False for what is no value."""
        raise NotImplementedError

    @to_write
    def encode(self, record):
        """Returns what networks see of a record `[..., columns]`, and which of it is known.

        Both are `[..., width]`, float32 without NaN, and bool.
        """
        raise NotImplementedError

    @to_write
    def example(self, rows: int, generator: np.random.Generator) -> np.ndarray:
        """Returns made-up values, float `[rows]` or `[rows, columns]`."""
        raise NotImplementedError

    def start(self) -> np.ndarray:
        """Returns what networks see of an unknown value before the training, `[width]`."""
        return np.zeros(self.width, np.float32)

    @property
    def needs_data(self) -> bool:
        """Returns whether `adapt` still has to be called before the training."""
        return False

    def adapt(self, record: np.ndarray) -> None:
        """Takes what it needs from the values `[n, columns]` of a training set."""

    def texts(self) -> tuple[str, ...]:
        """Returns the names of its values, or `()`."""
        return ()

    def _of_texts(self, values: np.ndarray, name: str) -> np.ndarray:
        """Returns an array of texts and missing values as numbers."""
        flat = [v.decode() if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        found = [
            self.parse(v, name)
            if isinstance(v, str)
            else self.unknown
            if v is None or type(v).__name__ in ("NAType", "NaTType")
            else v
            for v in flat
        ]
        try:
            if self.columns > 1 and any(isinstance(v, str) for v in flat):
                found = [np.broadcast_to(v, (self.columns,)) for v in found]
            found = np.array(found, np.float64)
            return found.reshape(values.shape + found.shape[1:])
        except (TypeError, ValueError):
            raise ValueError(f"`{name}` holds {flat[0]!r}; it is {self.wanted}.") from None

    def parse(self, text: str, name: str):
        """Returns the value that a text stands for, as on the command line.

        Raises:
            ValueError: for a text that is no value.
        """
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"`{name}` is {text!r}; it is {self.wanted}.") from None

    def shown(self, row: np.ndarray) -> str:
        """Returns the value of a row `[columns]` of a record, which is known, as a text."""
        return f"{float(row[0]):.6g}"

    def is_unknown(self, row: np.ndarray) -> bool:
        """Checks whether nothing of a row `[columns]` of a record is known."""
        return bool(np.isnan(row).all())

    def facts(self) -> dict:
        """Returns what reads and writes its values elsewhere, as JSON takes it."""
        return {"kind": type(self).__name__, "columns": self.columns, "width": self.width}


REGISTER = PartRegister("condition", Condition)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Condition:
    """Returns a condition from its short form, its name, its config or itself.

    | short form | condition |
    |---|---|
    | `10`, `["cat", "dog"]` | `Categorical`, with names |
    | `"real"` | `Real` |
    | `"periodic:360"` | `Periodic` |
    | `("multi", 5)`, `("multi", ["new", "sale"])` | `MultiLabel`, with names |

    Raises:
        ValueError: for an unknown name.
        TypeError: for an object of another kind.
    """
    if isinstance(identifier, (list, tuple)) and len(identifier) == 2:
        first, second = identifier
        if first == "multi" and not isinstance(second, str):
            return REGISTER["multi_label"](second)
    if isinstance(identifier, (list, tuple)) or _is_whole(identifier):
        return REGISTER["categorical"](identifier)
    return resolve(REGISTER, identifier, Condition)


def _is_whole(value) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, (bool, np.bool_))
