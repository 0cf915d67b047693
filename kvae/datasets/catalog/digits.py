"""The handwritten digits that come with scikit-learn."""

import pathlib

import numpy as np

from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation


@register(
    "digits",
    title="8 x 8 handwritten digits, embedded in scikit-learn",
    event_shape=(8, 8, 1),
    train=1437,
    validation=160,
    test=200,
    classes=10,
    split_rule=PERMUTED,
    license="CC BY 4.0",
    source="https://archive.ics.uci.edu/dataset/80",
    reference="E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, "
    "UCI machine learning repository, 1998",
)
def read_digits(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads scikit-learn's digits: 0..16 becomes 0..255, so that 255 is full ink as elsewhere."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return split_by_permutation(info, x, bunch.target)
