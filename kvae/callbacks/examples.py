"""The examples that a callback looks at after each epoch."""

from typing import Any

import numpy as np

from kvae.datasets import Dataset, kinds
from kvae.datasets.batches import BaseDataset

__all__ = ["some_examples"]


def some_examples(data: Any, most: int, name: str) -> Dataset:
    """Returns examples at even distances, since data may be sorted, in memory.

    Args:
        data: array `[n, *event]`, `kvae.datasets.Dataset`, `Stream`, `tf.data.Dataset`, or a pair
            with labels.
        most: int. The number of examples at most.
        name: str. What errors call the callback.

    Raises:
        ValueError: for fewer than two examples.
    """
    if not isinstance(data, BaseDataset):
        data = _gathered(data)
    if len(data) < 2:
        raise ValueError(
            f"{name} takes an array [n, *event] or a kvae.datasets.Dataset, of at least two "
            f"examples, not {len(data)}."
        )
    return data.take(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int))


def _gathered(data) -> Dataset:
    """Reads arrays, frames or batches into memory, with the labels that stand beside them."""
    if isinstance(data, list):
        data = kinds.as_array(data)
    x, labels = zip(*kinds.blocks(data), strict=True)
    labels = kinds.joined_labels(labels)
    return Dataset(np.concatenate(x), labels, intensities=False)
