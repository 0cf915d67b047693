"""The named datasets: `register`, and what finds, loads and checks what has been registered."""

import functools
import pathlib
from collections.abc import Callable

import numpy as np

from kvae.datasets import files, kinds
from kvae.datasets.dataset import Dataset
from kvae.datasets.dataset_info import SPLITS, DatasetInfo
from kvae.datasets.splits import Splits
from kvae.utils.names import unknown_name
from kvae.utils.register import Register

__all__ = ["info", "load", "names", "register"]

Reader = Callable[[DatasetInfo, pathlib.Path | None], Splits]


class _Named:
    """The facts and the reader of a named dataset."""

    def __init__(self, facts: DatasetInfo, read: Reader):
        self.facts, self.read = facts, read
        self.__wrapped__ = read  # Its definition is the reader's, see `Register.add`.


_DATASETS = Register("dataset", group="kvae.datasets")


def register(name: str, **facts) -> Callable[[Reader], Reader]:
    """Returns a decorator that makes the data of a function a named dataset.

    `load(name, split)`, `kvae train --dataset NAME` and recipes then know it. Code outside of this
    library is imported by your program, or announces itself as a plugin, see `kvae.utils.plugins`.

    The decorated function takes the dataset's `DatasetInfo` and the folder of the environment
    variable `KVAE_DATA_DIR` (or `None` where it is not set), and returns a dict from `"train"`,
    `"validation"` and `"test"` to pairs `(x, labels)`: an array `[n, *event_shape]` (grey images
    may come without their channel axis) and whole numbers `[n]`, or `None`, or a dict of arrays for
    `conditions`. It is called once in a process.

    Args:
        name: str. The name of the dataset.
        **facts: the other attributes of `DatasetInfo`, of which `event_shape`, `train`,
            `validation` and `test` are required.

    Raises:
        ValueError: when another function has registered a dataset of this name.

    Example:

    ```python
    @kvae.datasets.register(
        "noise", event_shape=(12,), train=80, validation=10, test=10, dtype="float32"
    )
    def read_noise(info, folder):
        generator = np.random.default_rng(0)
        return {
            split: (generator.normal(size=(n, *info.event_shape)).astype("float32"), None)
            for split, n in info.splits.items()
        }

    train = kvae.datasets.load("noise", "train")
    ```
    """

    def decorate(read: Reader) -> Reader:
        _DATASETS.add(name, _Named(DatasetInfo(name, **facts), read))
        return read

    return decorate


def names() -> list[str]:
    """Returns the names that `load` knows, in alphabetical order."""
    return list(_DATASETS)


def info(name: str) -> DatasetInfo:
    """Returns the facts of a named dataset, without loading it.

    Raises:
        ValueError: if `name` is unknown, with the nearest names.

    Example:

    ```python
    kvae.datasets.info("mnist").splits  # {"train": 55000, "validation": 5000, "test": 10000}
    ```
    """
    return _DATASETS[name].facts


def load(
    name: str = "digits",
    split: str = "train",
    binarize: str | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads one split of a named dataset.

    `mnist`, `fashion_mnist`, `cifar10`, `frey_faces` and `binarized_mnist` (MNIST by a published
    draw) are read from the folder in the environment variable `KVAE_DATA_DIR`, where
    `info(name).files` are expected; the first three are otherwise downloaded by Keras into its own
    cache. `digits`, `breast_cancer` and `wine` (tables) come with scikit-learn, `signals` (waves)
    are computed, and `sprites` is rendered (labels are its shapes; `sprite_factors` has all factors
    of the same images as conditions).

    The splits are fixed and never depend on `seed`: see `info(name).split_rule`. Papers that train
    on all 60,000 images of MNIST train on `train` and `validation` together.

    Binarization, for Bernoulli likelihoods, draws every pixel as 1 with the probability of its
    intensity:

    - `"static"`: one draw, by `seed`, used in every epoch and every evaluation.
    - `"dynamic"`: training sees a new draw in each epoch.

    The two make different tasks: on MNIST their test log-likelihoods differ by about 2 nats (the
    dynamic figure looks better). Never put figures of one beside figures of the other, nor beside
    those of images that were not binarized or were thresholded. Our static draw is a fresh sample
    of the distribution behind the published fixed file of Larochelle & Murray, not that file, which
    is `binarized_mnist` and needs no `binarize`.

    Args:
        name: str. One of `names()`. Defaults to `"digits"`.
        split: str. `"train"`, `"validation"` or `"test"`. Defaults to `"train"`.
        binarize: str or None. `None` (intensities in [0, 1]), `"static"` or `"dynamic"`. Defaults
            to `None`.
        seed: int. The seed of the binarization (equal seeds give equal bits) and of the order of
            the batches. Defaults to `0`.

    Returns:
        A `Dataset` whose `x` is a read-only array `[n, *event_shape]`, uint8 for images and
        float32 for tables and `signals`, and whose `labels` are int64 `[n]`, a dict of
        arrays for `sprite_factors`, or `None` for `frey_faces`. The arrays are
        cached: a second call costs nothing.

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

    References:
        - H. Larochelle, I. Murray, The neural autoregressive distribution estimator, AISTATS 2011
          (static binarization of MNIST).
        - Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, ICLR 2016
          (dynamic binarization).
        - `info(name).reference` for each dataset.
    """
    named = _DATASETS[name]
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    x, labels = _arrays(named, files.data_dir())[split]
    # Views of read-only arrays: NumPy refuses to make them writeable again.
    data = Dataset(
        x.view(),
        kinds.rows_of_labels(labels, slice(None)),  # Views.
        name=name,
        split=split,
        binarize=binarize,
        seed=seed,
    )
    data.schema = named.facts.schema
    return data


@functools.cache
def _arrays(named: _Named, folder: pathlib.Path | None) -> Splits:
    """Reads all splits of a dataset, checks them against its facts, and freezes them."""
    found, splits = named.read(named.facts, folder), {}
    for split in SPLITS:
        x, labels = found[split]
        x = _checked_examples(named.facts, split, x)
        if labels is not None:
            check = _checked_labels if named.facts.conditions is None else _checked_conditions
            labels = check(named.facts, split, labels)
        splits[split] = (x, labels)
    return splits


def _checked_examples(facts: DatasetInfo, split: str, x: np.ndarray) -> np.ndarray:
    shape = (facts.splits[split], *facts.event_shape)
    # Grey images come without their channel axis.
    if x.shape not in (shape, shape[:-1] if facts.event_shape[-1] == 1 else shape):
        raise ValueError(
            f"The {split} split of {facts.name} should have the shape {shape}, but {_giver(facts)} "
            f"{x.shape}. {_advice(facts)}"
        )
    if x.dtype != facts.dtype:
        raise ValueError(
            f"The data of {facts.name} should be {facts.dtype}, but {_giver(facts)} {x.dtype}. "
            f"{_advice(facts)}"
        )
    return _frozen(np.ascontiguousarray(x.reshape(shape)))


def _checked_labels(facts: DatasetInfo, split: str, labels: np.ndarray) -> np.ndarray:
    # CIFAR-10 comes with a column of labels.
    if labels.size != facts.splits[split] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"The {split} split of {facts.name} should have {facts.splits[split]} whole-number "
            f"labels, but {_giver(facts)} {labels.dtype} of shape {labels.shape}. {_advice(facts)}"
        )
    labels = labels.reshape(-1).astype(np.int64)
    if labels.min() < 0 or labels.max() >= facts.classes:
        raise ValueError(
            f"The labels of {facts.name} should be 0 to {facts.classes - 1}, but its {split} split "
            f"has {labels.min()} to {labels.max()}. {_advice(facts)}"
        )
    return _frozen(labels)


def _checked_conditions(facts: DatasetInfo, split: str, labels: dict) -> dict[str, np.ndarray]:
    counts = {name: len(values) for name, values in labels.items()}
    if list(labels) != list(facts.conditions) or {*counts.values()} != {facts.splits[split]}:
        raise ValueError(
            f"The {split} split of {facts.name} should have {facts.splits[split]} values of "
            f"{', '.join(facts.conditions)}, but {_giver(facts)} {counts}. {_advice(facts)}"
        )
    return {name: _frozen(values) for name, values in labels.items()}


def _frozen(array: np.ndarray) -> np.ndarray:
    """Makes an array and the memory it is a view of read-only: the cache hands it out again."""
    array.setflags(write=False)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    owner.setflags(write=False)
    return array


def _giver(facts: DatasetInfo) -> str:
    return "its files give" if facts.files else "its reader gives"


def _advice(facts: DatasetInfo) -> str:
    if facts.files:
        return f"Replace {', '.join(facts.files)} by the originals of {facts.source}"
    return "Mend the function that was registered for it, or its facts."
