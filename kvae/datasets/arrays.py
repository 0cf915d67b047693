"""The user's own arrays, and the split of any dataset in two."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvae.datasets import kinds
from kvae.datasets.dataset import Dataset
from kvae.datasets.splits import fixed_permutation

__all__ = ["from_array", "train_validation_split"]

_BLOCK = 1 << 22  # elements checked at once, to bound the memory of the check


def from_array(
    x: Any,
    labels: Any = None,
    *,
    target: Any = None,
    add_channel: bool = False,
    name: str = "array",
    split: str = "all",
    binarize: str | None = None,
    seed: int = 0,
    intensities: bool = True,
    missing: bool = False,
) -> Dataset:
    """Makes a dataset of arrays, after checking them.

    Any event shape will do: tables `[n, d]`, signals `[n, t, c]`, images `[n, h, w]` or
    `[n, h, w, c]`. uint8 and float32 arrays are not copied, so do not change them afterwards;
    other numbers become float32.

    Values keep their range, with one exception: uint8 stands for intensities and is divided by 255
    when it is used, unless `intensities=False` says that it holds counts or categories.

    Args:
        x: array `[n, *event]`. The examples, numbers without NaN or infinities.
        labels: optional array `[n]` (or `[n, 1]`) of whole numbers, or a mapping from conditions to
            arrays. Defaults to `None`.
        target: optional array `[n, *event]`. What to reconstruct, where it is not `x` itself (as a
            denoising autoencoder does). Defaults to `None`.
        add_channel: bool. Makes images `[n, h, w]` `[n, h, w, 1]`, as convolutions need. Defaults
            to `False`.
        name: str. Name of the dataset. Defaults to `"array"`.
        split: str. Name of the split. Defaults to `"all"`.
        binarize: str or None. As in `load`; needs uint8, or floats in [0, 1]. Defaults to `None`.
        seed: int. As in `load`. Defaults to 0.
        intensities: bool. Whether uint8 is divided by 255. Defaults to `True`.
        missing: bool. Whether NaN in `x` stands for what was not observed, for a model with
            `missing`. Defaults to `False`: it is an error.

    Returns:
        A `Dataset` with uint8 or float32 `x`, read-only, and int64 labels `[n]` or `None`.

    Raises:
        ValueError: if an array is empty, 1-D, ragged, not of numbers, has a NaN or an infinity
            (its first index is named), `labels` do not fit, or `add_channel` is asked for another
            shape than `[n, h, w]`.

    Example:

    ```python
    table = np.random.default_rng(0).normal(size=(500, 12))
    train, validation = kvae.datasets.train_validation_split(kvae.datasets.from_array(table))
    ```
    """
    x = _checked_numbers("x", x, add_channel, missing)
    if labels is not None and not isinstance(labels, Mapping):  # A model checks its conditions.
        labels = _checked_labels(labels, len(x))
    return Dataset(
        x,
        labels,
        target=None if target is None else _checked_numbers("target", target, add_channel),
        name=name,
        split=split,
        binarize=binarize,
        seed=seed,
        intensities=intensities,
    )


def train_validation_split(
    dataset: Dataset, fraction: float = 0.1, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Splits a dataset at random into training and validation examples.

    The permutation depends on the number of examples and on `seed` only, on every machine. Labels,
    targets, name and binarization stay with their examples: a fixed binary draw is the same before
    and after the split.

    Args:
        dataset: Dataset. What to split.
        fraction: float. Share of the validation examples, in (0, 1). Defaults to 0.1.
        seed: int. Which split, 0 or more. Defaults to 0.

    Returns:
        `(train, validation)`, two `Dataset`s whose `split` is `"train"` and `"validation"`.

    Raises:
        ValueError: if `fraction` is not in (0, 1) or leaves one side empty, or `seed` is negative.

    Example:

    ```python
    digits = kvae.datasets.load("digits", "train")
    train, validation = kvae.datasets.train_validation_split(digits, 0.2, seed=1)
    ```
    """
    n = len(dataset)
    seed = operator.index(seed)
    if seed < 0:
        raise ValueError(f"The seed of a split must be 0 or more. Received: {seed}")
    if not 0 < fraction < 1:
        raise ValueError(f"The validation fraction must be between 0 and 1. Received: {fraction}")
    n_validation = round(fraction * n)
    if not 0 < n_validation < n:
        raise ValueError(
            f"A validation fraction of {fraction} of {n} examples leaves one side empty. Give "
            "another fraction or more examples."
        )
    order = fixed_permutation(n, seed)
    return (
        dataset.take(order[n_validation:], "train"),
        dataset.take(order[:n_validation], "validation"),
    )


def _checked_numbers(what: str, values, add_channel: bool, missing: bool = False) -> np.ndarray:
    """Returns `values` as a read-only uint8 or finite float32 array `[n, *event]`.

    With `missing` it may hold NaN.
    """
    given = kinds.as_array(values, what, only_numbers=False)
    if given.dtype.kind not in "buif":
        raise ValueError(f"{what} must hold real numbers, not {given.dtype}. Convert it first.")
    if given.ndim < 2:
        raise ValueError(
            f"{what} must have the shape [n, *event], not {given.shape}. For n single numbers give "
            f"{what}.reshape(-1, 1)."
        )
    if given.size == 0:
        raise ValueError(f"{what} is empty: its shape is {given.shape}.")
    if add_channel:
        if given.ndim != 3:
            raise ValueError(
                f"add_channel is for images [n, h, w], but {what} has the shape {given.shape}."
            )
        given = given[..., np.newaxis]
    array = given
    if given.dtype not in (np.uint8, np.float32):
        with np.errstate(over="ignore"):  # Reported below, with the place.
            array = given.astype(np.float32)
    _check_finite(what, array, given, missing)
    array = array.view()
    array.setflags(write=False)
    return array


def _check_finite(what: str, array: np.ndarray, given: np.ndarray, missing: bool) -> None:
    if array.dtype == np.uint8:
        return
    rows = max(1, _BLOCK // array[0].size)
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        bad = np.isinf(block) if missing else ~np.isfinite(block)
        if bad.any():
            first = np.unravel_index(np.argmax(bad), bad.shape)
            index = (start + int(first[0]), *map(int, first[1:]))
            place = f"{what}[{', '.join(map(str, index))}]"
            advice = (
                "is too large for float32. Rescale the data"
                if np.isfinite(given[index])
                else "is not finite. Remove or fill such values first"
            )
            if what == "x" and np.isnan(given[index]):
                advice += ", or say that they were not observed (missing=True, --missing)"
            raise ValueError(f"{place} = {given[index]} {advice}.")


def _checked_labels(labels, n: int) -> np.ndarray:
    labels = kinds.as_array(labels, "labels", only_numbers=False)
    if labels.dtype.kind not in "bui":
        raise ValueError(
            f"labels must be whole numbers, not {labels.dtype}. Number the classes with "
            "np.unique(labels, return_inverse=True)[1]."
        )
    if labels.shape not in ((n,), (n, 1)):
        raise ValueError(
            f"labels must have the shape ({n},), one per example. Received shape: {labels.shape}"
        )
    return labels.reshape(n).astype(np.int64)
