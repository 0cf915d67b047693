"""Recognizes the kinds of data that users hand over, and turns them into arrays.

| what is given | what becomes of it |
|---|---|
| numpy and array-likes (`__array__`: xarray, h5py, torch on the CPU), lists | an array |
| pandas and polars frames and series | an array, in the order of the columns |
| scipy's sparse matrices, `tf.SparseTensor` | a dense array or tensor |
| masked arrays, `tf.RaggedTensor` | an array, if nothing is masked and all rows have one length |
| `Dataset`, `Stream`, `tf.data.Dataset`, `PyDataset`, generators | itself |
| dicts `{"image": …, "label": …}`, as TensorFlow Datasets gives them | `(x, label)` |
| dicts `{"x": …, "mask": …}`, with a mask that is True for observed values | x, NaN elsewhere |
| dicts `{"x": …, "lengths": …}` of padded sequences | x, NaN after the end of each sequence |

Everything else is refused with a `ValueError` that says how to give it.
"""

import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kvae.datasets.batches import BaseDataset
from kvae.datasets.number_frames import array_of_frame, as_numbers
from kvae.utils import masks

__all__ = [
    "RESERVED",
    "as_array",
    "batches",
    "blocks",
    "entries",
    "gives_batches",
    "hidden",
    "joined_labels",
    "labels_as_arrays",
    "read_once",
    "recognize",
    "rows_of_labels",
    "unpacked",
]

# The names under which TensorFlow Datasets and Hugging Face keep images and classes,
_EVENTS = ("x", "image", "images", "img", "pixel_values")
_LABELS = ("label", "labels")
# The name of what was observed of x, which is bool: other masks are those of a segmentation.
_MASK = "mask"
_LENGTHS = "lengths"  # Of sequences that are padded, whole numbers.
RESERVED = (_MASK, _LENGTHS)  # Nothing else may have these names in a dict of data.
# and the names of entries beside them that mean nothing to a model.
_IGNORED = (*_LABELS, "id", "idx", "index", "file_name", "filename", "image/filename")


def recognize(x: Any, name: str = "x") -> Any:
    """Returns data as an array, a tensor, or something that gives batches.

    Args:
        x: data of any kind.
        name: str. The name of the argument in errors.

    Raises:
        ValueError: for anything that is not data; the message says how to give it.
    """
    if (type(x) is np.ndarray and x.dtype.kind in "buif") or isinstance(x, BaseDataset):
        return x
    if gives_batches(x):
        return x
    return as_array(x, name) if _is_no_tensor(x) else _dense(x, name)


def gives_batches(x: Any) -> bool:
    """Checks whether `x` gives batches one after the other, and does not hold its values itself."""
    import keras
    import tensorflow as tf

    if isinstance(x, BaseDataset):
        return not hasattr(x, "x")  # A `Dataset` holds its arrays, a `Stream` does not.
    batched = (tf.data.Dataset, tf.distribute.DistributedDataset, keras.utils.PyDataset, Iterator)
    return isinstance(x, batched) or type(x).__name__ == "DataLoader"


def blocks(data: Any) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields arrays x `[batch, *event]` and labels (or `None`) of data of every kind.

    A list holds blocks. Arrays are cut, so that a file of HDF5 may be larger than the memory.
    """
    pair = isinstance(data, tuple) and len(data) == 2
    pair = pair and (isinstance(data[1], Mapping) or np.ndim(data[1]) == 1)
    if pair or isinstance(data, Mapping) or not (_holds_blocks(data) or gives_batches(data)):
        x, label = entries(data) if isinstance(data, Mapping) else data if pair else (data, None)
        x = x if type(x).__module__.startswith("h5py") else as_array(x)
        label = labels_as_arrays(label, "label", len(x))
        for start in range(0, len(x), 256):
            rows = slice(start, start + 256)
            yield as_array(x[rows]), rows_of_labels(label, rows)
        return
    for block in data if _holds_blocks(data) else batches(data):
        x, label, _ = unpacked(block)
        if isinstance(x, tuple) and len(x) == 2 and label is None:
            x, label = x
        if isinstance(x, Mapping):
            x, label = entries(x)
        yield as_array(x), labels_as_arrays(label, "label", None)


def labels_as_arrays(labels: Any, name: str, rows: int | None) -> Any:
    """Returns labels as an array, or as a dict of arrays where they are conditions by name.

    Args:
        labels: array-like, a mapping of such, or `None`, which stays.
        name: str. How errors call them.
        rows: int or `None`. The number of examples.

    Raises:
        ValueError: for what is no array, and for another number of rows.
    """
    if labels is None:
        return None
    if isinstance(labels, Mapping):
        return {str(key): labels_as_arrays(value, key, rows) for key, value in labels.items()}
    labels = as_array(labels, name, only_numbers=False)
    if rows is not None and (not labels.ndim or len(labels) != rows):
        found = len(labels) if labels.ndim else "no"
        raise ValueError(f"`{name}` has {found} rows, x has {rows}.")
    return labels


def joined_labels(parts: Sequence) -> Any:
    """Returns the labels of several blocks as those of all of them."""
    if isinstance(parts[0], Mapping):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return None if parts[0] is None else np.concatenate(parts)


def rows_of_labels(labels: Any, rows: Any) -> Any:
    """Returns some rows of labels, of each array where they are a dict of arrays."""
    if isinstance(labels, Mapping):
        return {key: value[rows] for key, value in labels.items()}
    return None if labels is None else labels[rows]


def _holds_blocks(data) -> bool:
    """Checks whether `data` is a list, or can be iterated over without being an array."""
    if isinstance(data, (str, bytes, BaseDataset)) or not hasattr(data, "__iter__"):
        return False
    return isinstance(data, (list, tuple)) or bool(_no_data(data))


def unpacked(batch: Any) -> tuple:
    """Returns x, y and weights of a batch, as `keras.utils.unpack_x_y_sample_weight` does.

    Keras takes every list for such a tuple; here a list of numbers or rows is an array.
    """
    import keras

    if isinstance(batch, list) and not all(hasattr(part, "shape") for part in batch):
        batch = (batch,)
    return keras.utils.unpack_x_y_sample_weight(batch)


def read_once(x: Any) -> bool:
    """Checks whether `x` is a generator or another iterator, whose batches come once."""
    return isinstance(x, Iterator)


def batches(x: Any) -> Iterable:
    """Returns one epoch of what `gives_batches`, but for a `Stream`, as an iterable of batches.

    Raises:
        ValueError: for data without an end.
    """
    import keras
    import tensorflow as tf

    endless, found = False, x
    if isinstance(x, tf.data.Dataset):
        endless = x.cardinality() == tf.data.INFINITE_CARDINALITY
    elif isinstance(x, keras.utils.PyDataset):
        endless = x.num_batches is None
        found = (x[index] for index in range(x.num_batches or 0))
    if endless:
        raise ValueError(
            f"A {type(x).__name__} without an end cannot be read as a whole: give a part of it, "
            "e.g. dataset.take(100)."
        )
    return found


def entries(data: Mapping, name: str = "x") -> tuple:
    """Returns `(x, label)` of a dict of arrays or tensors; the label is `None` where there is none.

    Raises:
        ValueError: when the names do not say which entry is x.
    """
    mask = data.get(_MASK)
    if mask is not None and _is_bool(mask):
        x, label = entries({key: value for key, value in data.items() if key != _MASK}, name)
        return hidden(x, mask, name), label
    lengths = data.get(_LENGTHS)
    if lengths is not None and len(data) > 1:
        x, label = entries({key: value for key, value in data.items() if key != _LENGTHS}, name)
        x = recognize(x, name)
        return masks.hide(x, masks.of_lengths(lengths, x, name), name), label
    found = [key for key in data if key in _EVENTS]
    if len(data) == 1:
        found = list(data)
    others = [key for key in data if key not in found and key not in _IGNORED]
    if len(found) != 1 or others:
        first = repr(found[0] if found else next(iter(data), "image"))
        asked = "say which of them is x,"
        if len(found) == 1:
            asked = (
                f"{', '.join(map(repr, others))} is none of label, labels, mask (of bools) and "
                "lengths, which may stand beside x. Name it so, or leave it out:"
            )
        raise ValueError(
            f"`{name}` has the entries {', '.join(map(repr, data))}: {asked} data[{first}], or "
            f"dataset.map(lambda batch: batch[{first}]) for a dataset of batches."
        )
    label = [data[key] for key in _LABELS if key in data and key not in found]
    return data[found[0]], label[0] if label else None


def _is_bool(values) -> bool:
    values = np.asarray(values) if isinstance(values, (list, tuple)) else values
    return getattr(getattr(values, "dtype", None), "name", "") == "bool"


def hidden(x: Any, mask: Any, name: str = "x") -> Any:
    """Returns x of any kind but batches as float32, with NaN where the mask is False.

    Raises:
        ValueError: for a mask of another type or shape; see `kvae.utils.masks.hide`.
    """
    mask = as_array(mask, "mask", only_numbers=False) if _is_no_tensor(mask) else mask
    return masks.hide(recognize(x, name), mask, name)


def as_array(values: Any, name: str = "x", only_numbers: bool = True) -> np.ndarray:
    """Returns what holds values as an array of numbers.

    Args:
        values: array-like, frame, sparse matrix, list, …: see the table of this module.
        name: str. How errors call it.
        only_numbers: bool. Whether values of other types, such as text, are refused. Defaults to
            `True`.

    Raises:
        ValueError: for masked and ragged values, text, and what holds no values at all.
    """
    array = _unchecked(values, name)
    if array.dtype.kind not in "buif" and only_numbers:
        raise ValueError(
            f"`{name}` holds {array.dtype}, not numbers. Turn the values into numbers first, or "
            "leave them out."
        )
    return array


def _unchecked(values, name: str) -> np.ndarray:
    """Returns `values` as an array of any type."""
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values, name)
    if isinstance(values, np.ndarray):
        return values
    advice = _no_data(values)
    if advice:
        raise ValueError(f"`{name}` is {_described(values)}; {advice}")
    if not _is_no_tensor(values):
        return np.asarray(_dense(values, name))
    if hasattr(values, "nnz") and hasattr(values, "toarray"):
        return values.toarray()
    if hasattr(values, "columns") and hasattr(values, "to_numpy"):
        return array_of_frame(values, name)
    if isinstance(values, (list, tuple)):
        if any(isinstance(value, np.ma.MaskedArray) for value in values):
            values = [_unmasked(value, name) for value in map(np.ma.asanyarray, values)]
    elif hasattr(values, "to_numpy"):
        column = np.asarray(values.to_numpy())
        found = as_numbers(column)
        return column if found is None else found
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"`{name}` is a {type(values).__name__} that does not hold equally shaped examples "
            f"({error}). Pad or cut them to one shape (sequences: kvae.datasets.padded(x), for a "
            "model with `missing`); a pair of data and labels is a tuple, (x, labels)."
        ) from None
    except (RuntimeError, TypeError) as error:  # These are torch's errors.
        raise ValueError(
            f"`{name}` is {_described(values)} that gives no array ({error}). A torch tensor is "
            "given as x.detach().cpu().numpy()."
        ) from None


def _no_data(values) -> str:
    """Returns what to give instead of something that holds no values; empty where it does."""
    if isinstance(values, (str, bytes, os.PathLike)):
        return (
            "give the data themselves, e.g. kvae.datasets.load('mnist'), or "
            "kvae.datasets.from_path(path) for files."
        )
    if isinstance(values, Mapping):
        return f"give one of its entries {', '.join(map(repr, values))}."
    if isinstance(values, BaseDataset):
        return "arrays are needed here: give its `images`, or of a Stream those of `dataset()`."
    if gives_batches(values):
        return (
            "it gives batches, and arrays are needed here: give one of them, next(iter(batches)), "
            "or all, numpy.concatenate(list(batches))."
        )
    if type(values).__name__ == "LazyFrame":
        return "give the frame that it stands for, x.collect()."
    known = ("__array__", "__array_interface__", "to_numpy", "nnz")
    if isinstance(values, (list, tuple, numbers.Number)) or any(hasattr(values, k) for k in known):
        return ""
    return (
        "give an array [n, *event], a kvae.datasets.Dataset or Stream, a tf.data.Dataset or a "
        "generator of batches."
    )


def _described(values) -> str:
    """Returns the type of a value in words, with the library that it comes from."""
    if values is None or isinstance(values, type):
        return repr(values)
    kind = type(values)
    module = kind.__module__.split(".")[0]
    return f"a {kind.__name__}" if module == "builtins" else f"a {module}.{kind.__name__}"


def _is_no_tensor(values) -> bool:
    import keras
    import tensorflow as tf

    composite = (tf.RaggedTensor, tf.SparseTensor, tf.IndexedSlices)
    return not (tf.is_tensor(values) or isinstance(values, (keras.KerasTensor, *composite)))


def _dense(values, name: str):
    """Returns a tensor that is neither sparse nor ragged."""
    import tensorflow as tf

    if isinstance(values, tf.SparseTensor):
        return tf.sparse.to_dense(values)
    if isinstance(values, tf.RaggedTensor):
        lengths = [] if tf.is_symbolic_tensor(values) else values.nested_row_lengths()
        if not len(lengths) or any(tf.reduce_min(n) != tf.reduce_max(n) for n in lengths):
            raise ValueError(
                f"`{name}` is a RaggedTensor of shape {tuple(values.shape)}, whose rows may differ "
                "in length. Pad or cut them, e.g. x.to_tensor(shape=(None, *event_shape)); a model "
                "with `missing` takes sequences (steps, channels) of different lengths."
            )
        values = values.to_tensor()
    if isinstance(values, tf.IndexedSlices):
        values = tf.convert_to_tensor(values)
    return tf.cast(values, tf.float32) if values.dtype == "bfloat16" else values


def _unmasked(values: np.ma.MaskedArray, name: str) -> np.ndarray:
    count = int(np.ma.count_masked(values))
    if count:
        raise ValueError(
            f"`{name}` is a masked array, and {count} of its {values.size} entries are masked. "
            "Fill them, e.g. with x.filled(x.mean()), leave their rows out, or make them NaN for a "
            "model with `missing`, x.astype('float32').filled(numpy.nan)."
        )
    return np.asarray(values.data)
