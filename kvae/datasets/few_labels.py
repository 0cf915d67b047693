"""Data of which a few labels are known, for models that guess the others."""

import numpy as np

from kvae.datasets.dataset import Dataset
from kvae.utils import arguments

__all__ = ["few_labels"]


def few_labels(data: Dataset, per_class: int, *, seed: int = 0, repeat: int | None = 1) -> Dataset:
    """Returns data of which the labels of a few examples of each class are known, and others -1.

    Args:
        data: `Dataset` with labels.
        per_class: int. How many labels of each class are known; they are drawn by chance.
        seed: int. The same seed draws the same examples. Defaults to `0`.
        repeat: int. How many times the labelled examples stand in the data, each time with a weight
            of `1 / repeat`: most batches then hold some of them, and the mean loss of an epoch is
            as before. With `None` they are about a tenth of the rows, if they were fewer. Defaults
            to `1`.

    Raises:
        ValueError: without labels, and where a class has fewer examples.

    Example:

    ```python
    train = kvae.datasets.load("digits", "train")
    few = kvae.datasets.few_labels(train, 10, seed=0)
    print(np.sum(few.labels >= 0))     # 100
    ```
    """
    from kvae import random  # With TensorFlow, which help texts do not load.

    per_class = arguments.whole("per_class", per_class)
    repeat = arguments.whole_or_none("repeat", repeat)
    if data.labels is None:
        raise ValueError(f"{data!r} has no labels of which a few could be known.")
    labels = np.asarray(data.labels)
    order = np.argsort(random.uniform([len(labels)], random.as_seed(seed)), kind="stable")
    known = []
    for one in np.unique(labels[labels >= 0]):
        rows = order[labels[order] == one][:per_class]
        if len(rows) < per_class:
            raise ValueError(
                f"Class {one} has {len(rows)} examples in {data.name} {data.split}, of which "
                f"{per_class} cannot be labelled."
            )
        known.append(rows)
    known = np.sort(np.concatenate(known))
    few = np.full(len(labels), -1)
    few[known] = labels[known]
    found = data.labelled(few)
    repeat = max(1, round(len(labels) / (10 * len(known)))) if repeat is None else repeat
    if repeat == 1:
        return found
    rows = np.concatenate([np.arange(len(labels)), np.tile(known, repeat - 1)])
    weights = np.ones(len(labels), np.float32) if data.weights is None else data.weights
    weights = weights / np.where(few >= 0, repeat, 1)
    found = found.take(rows)
    return found.weighted(weights[rows])
