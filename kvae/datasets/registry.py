"""The named datasets: their facts, their splits, and `load`."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np

from kvae.datasets import sources
from kvae.datasets.dataset import Dataset
from kvae.utils.names import unknown_name

__all__ = ["SPLITS", "DatasetInfo", "info", "load", "names"]

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts of a named dataset.

    Attributes:
        name: str. The name for `load`.
        title: str. One line for tables.
        shape: tuple of int. Shape of one example: of an image `(height, width, channels)`.
        train: int. Images in the training split.
        validation: int. Images in the validation split.
        test: int. Images in the test split.
        classes: int. Number of labels, `0..classes - 1`; 0 when there are none.
        split_rule: str. How the three splits are made.
        license: str. Terms of the data.
        source: str. Address of the original.
        reference: str. What to cite.
        files: tuple of str. The files below `KVAE_DATA_DIR`; empty when the data is embedded.
        downloadable: bool. Whether Keras can download it.
        dtype: str. How it is stored: `"uint8"` for intensities, `"float32"` for other numbers.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    train: int
    validation: int
    test: int
    classes: int
    split_rule: str
    license: str
    source: str
    reference: str
    files: tuple[str, ...] = ()
    downloadable: bool = False
    dtype: str = "uint8"

    @property
    def splits(self) -> dict[str, int]:
        """Number of images of each split, in the order train, validation, test."""
        return {split: getattr(self, split) for split in SPLITS}


@dataclasses.dataclass(frozen=True)
class _Entry:
    info: DatasetInfo
    read: Callable[[DatasetInfo, pathlib.Path | None], sources.Splits]


def _idx_files(folder: str) -> tuple[str, ...]:
    return tuple(
        f"{folder}/{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )


_LAST = "validation = the last 5,000 images of the official training files"
_PERMUTED = "a fixed permutation (Philox bits, key 0), cut into train, validation, test"

_ENTRIES = (
    _Entry(
        DatasetInfo(
            name="digits",
            title="8 x 8 handwritten digits, embedded in scikit-learn",
            shape=(8, 8, 1),
            train=1437,
            validation=160,
            test=200,
            classes=10,
            split_rule=_PERMUTED,
            license="CC BY 4.0",
            source="https://archive.ics.uci.edu/dataset/80",
            reference="E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, "
            "UCI machine learning repository, 1998",
        ),
        sources.read_digits,
    ),
    _Entry(
        DatasetInfo(
            name="mnist",
            title="28 x 28 handwritten digits",
            shape=(28, 28, 1),
            train=55_000,
            validation=5_000,
            test=10_000,
            classes=10,
            split_rule=_LAST,
            license="CC BY-SA 3.0",
            source="http://yann.lecun.com/exdb/mnist/",
            reference="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied "
            "to document recognition, Proceedings of the IEEE 86(11), 1998",
            files=_idx_files("mnist"),
            downloadable=True,
        ),
        sources.read_idx_folder,
    ),
    _Entry(
        DatasetInfo(
            name="fashion_mnist",
            title="28 x 28 pictures of clothes",
            shape=(28, 28, 1),
            train=55_000,
            validation=5_000,
            test=10_000,
            classes=10,
            split_rule=_LAST,
            license="MIT",
            source="https://github.com/zalandoresearch/fashion-mnist",
            reference="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for "
            "benchmarking machine learning algorithms, arXiv:1708.07747, 2017",
            files=_idx_files("fashion_mnist"),
            downloadable=True,
        ),
        sources.read_idx_folder,
    ),
    _Entry(
        DatasetInfo(
            name="cifar10",
            title="32 x 32 colour photographs of 10 kinds of object",
            shape=(32, 32, 3),
            train=45_000,
            validation=5_000,
            test=10_000,
            classes=10,
            split_rule=_LAST,
            license="not stated by its author",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            reference="A. Krizhevsky, Learning multiple layers of features from tiny images, "
            "technical report, University of Toronto, 2009",
            files=("cifar10.npz",),
            downloadable=True,
        ),
        sources.read_cifar,
    ),
    _Entry(
        DatasetInfo(
            name="frey_faces",
            title="28 x 20 grey frames of one face in a video",
            shape=(28, 20, 1),
            train=1565,
            validation=200,
            test=200,
            classes=0,
            split_rule=_PERMUTED
            + "; neighbouring frames are alike, so test figures are optimistic",
            license="not stated by its author",
            source="https://cs.nyu.edu/~roweis/data.html",
            reference="S. Roweis, L. Saul, G. Hinton, Global coordination of local linear models, "
            "NIPS 14, 2002 (images by B. Frey)",
            files=("frey_faces.npz",),
        ),
        sources.read_frey,
    ),
    _Entry(
        DatasetInfo(
            name="sprites",
            title="64 x 64 binary squares, ellipses and hearts with known factors, rendered",
            shape=(64, 64, 1),
            train=50_000,
            validation=5_000,
            test=10_000,
            classes=3,
            split_rule="a fixed permutation of all 737,280 images (Philox bits, key 0): test, "
            "validation, and the first 50,000 of the 722,280 others, which Sprites.batches draws "
            "them all from; orientations 0 and 39 are equal, so 5% of the images have a twin",
            license="Apache-2.0",
            source="https://github.com/google-deepmind/dsprites-dataset",
            reference="L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, dSprites: disentanglement "
            "testing sprites dataset, 2017 (the factors; the images are this library's own)",
        ),
        sources.read_sprites,
    ),
    _Entry(
        DatasetInfo(
            name="breast_cancer",
            title="a table of 30 measurements of cell nuclei and the diagnosis (0 malignant)",
            shape=(31,),
            train=455,
            validation=57,
            test=57,
            classes=2,
            split_rule=_PERMUTED + "; measurements are standardised by the training rows",
            license="CC BY 4.0",
            source="https://archive.ics.uci.edu/dataset/17",
            reference="W. Wolberg, W. Street, O. Mangasarian, Breast cancer Wisconsin "
            "(diagnostic), UCI machine learning repository, 1995",
            dtype="float32",
        ),
        sources.read_breast_cancer,
    ),
    _Entry(
        DatasetInfo(
            name="signals",
            title="64 steps of sine, square and sawtooth waves with noise, synthetic",
            shape=(64, 1),
            train=5_000,
            validation=500,
            test=500,
            classes=3,
            split_rule=_PERMUTED,
            license="Apache-2.0",
            source="kvae.datasets",
            reference="this library",
            dtype="float32",
        ),
        sources.read_signals,
    ),
)
_BY_NAME = {entry.info.name: entry for entry in _ENTRIES}


def names() -> list[str]:
    """Returns the names that `load` knows, `"digits"` (embedded) first."""
    return list(_BY_NAME)


def info(name: str) -> DatasetInfo:
    """Returns the facts of a named dataset, without loading it.

    Raises:
        ValueError: if `name` is unknown, with the nearest names.

    Example:

    ```python
    kvae.datasets.info("mnist").splits  # {"train": 55000, "validation": 5000, "test": 10000}
    ```
    """
    return _entry(name).info


def load(
    name: str = "digits",
    split: str = "train",
    binarize: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads one split of a named dataset.

    `mnist`, `fashion_mnist`, `cifar10` and `frey_faces` are read from the folder in the
    environment variable `KVAE_DATA_DIR`, where `info(name).files` are expected; the first three
    are otherwise downloaded by Keras into its own cache. `digits` and `breast_cancer` (a table)
    come with scikit-learn, `signals` (waves) are computed, and `sprites` is rendered (labels are
    its shapes; the factors are `Sprites().factors(Sprites().rows(split)[:len(data)])`).

    The splits are fixed and never depend on `seed`: see `info(name).split_rule`. Papers that train
    on all 60,000 images of MNIST train on `train` and `validation` together.

    Binarization, for Bernoulli likelihoods, draws every pixel as 1 with the probability of its
    intensity:

    - `"static"`: one draw, by `seed`, used in every epoch and every evaluation.
    - `"dynamic"`: training sees a new draw in each epoch.

    The two make different tasks: on MNIST their test log-likelihoods differ by about 2 nats (the
    dynamic figure looks better). Never put figures of one beside figures of the other, nor beside
    those of images that were not binarized or were thresholded. Our static draw is a fresh sample
    of the distribution behind the published fixed file of Larochelle & Murray, not that file.

    Args:
        name: str. One of `names()`. Defaults to `"digits"`.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"train"`.
        binarize: str or None. `None` (intensities in [0, 1]), `"static"` or `"dynamic"`. Defaults
            to `None`.
        seed: int. Seed of the binarization (equal seeds give equal bits) and of the order of the
            batches. Defaults to 0.

    Returns:
        A `Dataset` whose `x` is a read-only array `[n, *info(name).shape]`, uint8 for images and
        float32 for `breast_cancer` and `signals`, and whose `labels` are int64 `[n]`, or `None` for
        `frey_faces`. The arrays are cached: a second call costs nothing.

    Raises:
        ValueError: if `name`, `split` or `binarize` is unknown, or a file is truncated, corrupt or
            of another dataset.
        FileNotFoundError: if the files are not there and cannot be downloaded. It names the
            variable, the folder and the files.

    Example:

    ```python
    train = kvae.datasets.load("digits", "train", binarize="dynamic")
    test = kvae.datasets.load("digits", "test", binarize="static", seed=1)
    print(len(train), train.event_shape)  # 1437 (8, 8, 1)
    ```

    #### References
    - H. Larochelle, I. Murray, The neural autoregressive distribution estimator, AISTATS 2011
      (static binarization of MNIST).
    - Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, ICLR 2016
      (dynamic binarization).
    - `info(name).reference` for each dataset.
    """
    _entry(name)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    x, labels = _arrays(name, sources.data_dir())[split]
    # Views of read-only arrays: NumPy refuses to make them writeable again.
    return Dataset(
        x.view(),
        None if labels is None else labels.view(),
        name=name,
        split=split,
        binarize=binarize,
        seed=seed,
    )


def _entry(name: str) -> _Entry:
    if name not in _BY_NAME:
        raise unknown_name("dataset", name, _BY_NAME)
    return _BY_NAME[name]


@functools.lru_cache(maxsize=len(_ENTRIES))
def _arrays(name: str, root: pathlib.Path | None) -> sources.Splits:
    """Reads all splits of a dataset, checks them against its facts, and freezes them."""
    entry = _BY_NAME[name]
    splits = {}
    for split, (x, labels) in entry.read(entry.info, root).items():
        x = _checked_images(entry.info, split, x)
        if labels is not None:
            labels = _checked_labels(entry.info, split, labels)
        splits[split] = (x, labels)
    return splits


def _checked_images(facts: DatasetInfo, split: str, x: np.ndarray) -> np.ndarray:
    shape = (facts.splits[split], *facts.shape)
    # Grey images come without their channel axis.
    if x.shape not in (shape, shape[:-1] if facts.shape[-1] == 1 else shape):
        raise ValueError(
            f"The {split} split of {facts.name} should have the shape {shape}, but its files give "
            f"{x.shape}. {_refetch(facts)}"
        )
    if x.dtype != facts.dtype:
        raise ValueError(
            f"The data of {facts.name} should be {facts.dtype}, but its files give {x.dtype}. "
            f"{_refetch(facts)}"
        )
    return _frozen(np.ascontiguousarray(x.reshape(shape)))


def _checked_labels(facts: DatasetInfo, split: str, labels: np.ndarray) -> np.ndarray:
    # CIFAR-10 comes with a column of labels.
    if labels.size != facts.splits[split] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"The {split} split of {facts.name} should have {facts.splits[split]} whole-number "
            f"labels, but its files give {labels.dtype} of shape {labels.shape}. {_refetch(facts)}"
        )
    labels = labels.reshape(-1).astype(np.int64)
    if labels.min() < 0 or labels.max() >= facts.classes:
        raise ValueError(
            f"The labels of {facts.name} should be 0 to {facts.classes - 1}, but its {split} split "
            f"has {labels.min()} to {labels.max()}. {_refetch(facts)}"
        )
    return _frozen(labels)


def _frozen(array: np.ndarray) -> np.ndarray:
    """Makes an array and the memory it is a view of read-only: the cache hands it out again."""
    array.setflags(write=False)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    owner.setflags(write=False)
    return array


def _refetch(facts: DatasetInfo) -> str:
    return f"Replace {', '.join(facts.files)} by the originals of {facts.source}"
