"""The table of breast cancer measurements that comes with scikit-learn."""

import pathlib

import numpy as np

from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.schema import Column
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation

_MEASURED = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
# The names of scikit-learn: each measurement has a mean, an error and a worst value.
_COLUMNS = (
    *(f"mean {name}" for name in _MEASURED),
    *(f"{name} error" for name in _MEASURED),
    *(f"worst {name}" for name in _MEASURED),
)


@register(
    "breast_cancer",
    title="a table of 30 measurements of cell nuclei and the diagnosis (0 malignant)",
    event_shape=(31,),
    train=455,
    validation=57,
    test=57,
    classes=2,
    split_rule=f"{PERMUTED}; measurements are standardised by the training rows",
    license="CC BY 4.0",
    source="https://archive.ics.uci.edu/dataset/17",
    reference="W. Wolberg, W. Street, O. Mangasarian, Breast cancer Wisconsin "
    "(diagnostic), UCI machine learning repository, 1995",
    class_names=("malignant", "benign"),
    columns=(*(Column(name, "gaussian") for name in _COLUMNS), Column("benign", "bernoulli")),
    dtype="float32",
)
def read_breast_cancer(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads scikit-learn's table: 30 columns, standardised by the training rows, and the label."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    table = np.concatenate([bunch.data, bunch.target[:, None]], axis=1)
    splits = split_by_permutation(info, table, bunch.target)
    train = splits["train"][0][:, :-1]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    for x, _ in splits.values():
        x[:, :-1] = (x[:, :-1] - mean) / scale
    return {split: (x.astype(np.float32), labels) for split, (x, labels) in splits.items()}
