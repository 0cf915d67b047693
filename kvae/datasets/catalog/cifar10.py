"""CIFAR-10."""

import pathlib

from kvae.datasets import files
from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import LAST_5000, Splits, hold_out_the_last


@register(
    "cifar10",
    title="32 x 32 colour photographs of 10 kinds of object",
    event_shape=(32, 32, 3),
    train=45_000,
    validation=5_000,
    test=10_000,
    classes=10,
    split_rule=LAST_5000,
    license="not stated by its author",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    reference="A. Krizhevsky, Learning multiple layers of features from tiny images, "
    "technical report, University of Toronto, 2009",
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    files=("cifar10.npz",),
    downloadable=True,
)
def read_cifar10(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads `<folder>/cifar10.npz`, or has Keras download the dataset."""
    local = files.local_files(info, folder)
    if local is None:
        return hold_out_the_last(info, *files.download(info))
    train_x, train_y, test_x, test_y = files.read_npz(
        local[0], ("x_train", "y_train", "x_test", "y_test")
    )
    return hold_out_the_last(info, (train_x, train_y), (test_x, test_y))
