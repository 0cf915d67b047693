"""Fixed ways to split data: the same examples on every machine and with every NumPy."""

import numpy as np

from kvae.datasets.dataset_info import SPLITS, DatasetInfo

__all__ = [
    "LAST_5000",
    "PERMUTED",
    "Arrays",
    "Splits",
    "fixed_permutation",
    "hold_out_the_last",
    "split_by_permutation",
]

Arrays = tuple[np.ndarray, np.ndarray | None]  # The examples and their labels.
Splits = dict[str, Arrays]

# The texts of `DatasetInfo.split_rule` for the two functions below.
LAST_5000 = "validation = the last 5,000 images of the official training files"
PERMUTED = "a fixed permutation (Philox bits, key 0), cut into train, validation, test"


def fixed_permutation(n: int, key: int = 0) -> np.ndarray:
    """Returns a permutation of `n` items that depends on `key` only, with any version of NumPy.

    NumPy promises the raw bits of Philox forever, but not those of `Generator.permutation`.
    """
    return np.argsort(np.random.Philox(key=key).random_raw(n), kind="stable")


def split_by_permutation(info: DatasetInfo, x: np.ndarray, labels: np.ndarray | None) -> Splits:
    """Splits a dataset that comes in one piece, by the fixed permutation.

    Raises:
        ValueError: when there are more or fewer examples than `info` says.
    """
    wanted = sum(info.splits.values())
    if len(x) != wanted:
        raise ValueError(
            f"{info.name} should hold {wanted} examples, but {len(x)} were found. "
            f"Replace {' '.join(info.files) or info.source}."
        )
    ends = np.cumsum([info.splits[split] for split in SPLITS])[:-1]
    parts = zip(SPLITS, np.split(fixed_permutation(len(x)), ends), strict=True)
    return {split: (x[rows], None if labels is None else labels[rows]) for split, rows in parts}


def hold_out_the_last(info: DatasetInfo, train: Arrays, test: Arrays) -> Splits:
    """Makes the validation split of the last examples of the official training files."""
    (x, labels), n = train, info.train
    return {"train": (x[:n], labels[:n]), "validation": (x[n:], labels[n:]), "test": test}
