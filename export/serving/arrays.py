"""The arrays that a client sends, checked before they are sent."""

from collections.abc import Mapping

import numpy as np

from export.signatures import TensorInfo

__all__ = ["as_input", "as_rows", "seeds_of"]


def as_rows(value, rows: int) -> np.ndarray:
    """Returns one value for each row, of one for all or one for each."""
    return np.full(rows, value) if np.ndim(value) == 0 else np.asarray(value)


def as_input(name: str, value, tensor: TensorInfo) -> np.ndarray:
    """Returns the array that an input takes, or raises an error before anything is sent."""
    if tensor.dtype == "string":
        array = np.asarray(value, object)
        if not all(isinstance(item, bytes) for item in array.ravel()):
            raise ValueError(f"Input {name!r} takes bytes, e.g. a list of files' contents.")
    else:
        given = np.asarray(value)
        wanted = np.dtype(tensor.dtype)
        allowed = {"f": "iuf", "b": "b"}.get(wanted.kind, "iu")
        if given.dtype.kind not in allowed:
            raise ValueError(f"Input {name!r} takes {tensor.dtype}, not {given.dtype.name}.")
        with np.errstate(over="ignore"):
            array = given.astype(wanted)
        if not np.isfinite(array).all():
            raise ValueError(f"Input {name!r} holds numbers that are not finite.")
        if wanted.kind in "iu" and not np.array_equal(array, given):
            raise ValueError(f"Input {name!r} holds a number that {tensor.dtype} cannot hold.")
    fits = array.ndim == len(tensor.shape) and all(
        want in (None, have) for want, have in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits or not len(array):
        shape = ", ".join("rows" if size is None else str(size) for size in tensor.shape)
        raise ValueError(f"Input {name!r} has the shape {list(array.shape)}, not [{shape}].")
    return array


def seeds_of(seed, image) -> np.ndarray:
    """Returns a seed for each row; one integer stands for itself and its successors."""
    if np.ndim(seed) > 0:
        return np.asarray(seed)
    if isinstance(image, Mapping):
        given = (np.atleast_1d(one) for one in image.values() if one is not None)
        image = next(given, ())  # That there is none is said where modalities are checked.
    return seed + np.arange(1 if isinstance(image, bytes) else len(image))
