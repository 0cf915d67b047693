"""MNIST, and Fashion-MNIST, which has the same four files."""

import pathlib

from kvae.datasets import files
from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.idx import read_idx
from kvae.datasets.registry import register
from kvae.datasets.splits import LAST_5000, Splits, hold_out_the_last


def _files(folder: str) -> tuple[str, ...]:
    return tuple(
        f"{folder}/{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )


@register(
    "mnist",
    title="28 x 28 handwritten digits",
    event_shape=(28, 28, 1),
    train=55_000,
    validation=5_000,
    test=10_000,
    classes=10,
    split_rule=LAST_5000,
    license="CC BY-SA 3.0",
    source="http://yann.lecun.com/exdb/mnist/",
    reference="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied "
    "to document recognition, Proceedings of the IEEE 86(11), 1998",
    files=_files("mnist"),
    downloadable=True,
)
@register(
    "fashion_mnist",
    title="28 x 28 pictures of clothes",
    event_shape=(28, 28, 1),
    train=55_000,
    validation=5_000,
    test=10_000,
    classes=10,
    split_rule=LAST_5000,
    license="MIT",
    source="https://github.com/zalandoresearch/fashion-mnist",
    reference="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for "
    "benchmarking machine learning algorithms, arXiv:1708.07747, 2017",
    class_names=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    files=_files("fashion_mnist"),
    downloadable=True,
)
def read_idx_folder(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Reads the four IDX files of `<folder>/<name>`, or has Keras download the dataset."""
    local = files.local_files(info, folder)
    if local is None:
        return hold_out_the_last(info, *files.download(info))
    height, width = info.event_shape[:2]
    n_train, n_test = info.train + info.validation, info.test
    shapes = ((n_train, height, width), (n_train,), (n_test, height, width), (n_test,))
    train_x, train_y, test_x, test_y = (
        read_idx(path, shape, "uint8") for path, shape in zip(local, shapes, strict=True)
    )
    return hold_out_the_last(info, (train_x, train_y), (test_x, test_y))
