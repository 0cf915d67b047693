"""Batches: how rows become a batch, and the order in which a model sees them."""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvae.datasets.schema import Schema
from kvae.utils import arguments, forks, masks, names

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["BaseDataset", "Batches", "ordered_batches", "ordered_blocks", "steady"]


class BaseDataset:
    """The common base of a `Dataset` in memory and a `Stream` from disk.

    Args:
        name, split, binarize, noise, seed: as for `Dataset`.

    Raises:
        ValueError: for an unknown `binarize`.
    """

    kind = "dataset"  # The word for it in messages.
    schema: Schema | None = None  # Names of classes and columns, where the files have them.
    binarizations: tuple[str, ...] = ("static", "dynamic")

    def __init__(self, *, name: str, split: str, binarize: str | None, noise: float, seed: int):
        if binarize is not None and binarize not in self.binarizations:
            what = f"binarization of a {self.kind}"
            raise names.unknown_name(what, binarize, self.binarizations)
        self.name, self.split, self.binarize = name, split, binarize
        self.noise, self.seed = noise, seed

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, split={self.split!r}, n={len(self)}, "
            f"event_shape={self.event_shape}, binarize={self.binarize!r}, seed={self.seed})"
        )

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def has_labels(self) -> bool:
        """True if each example has a class number."""
        raise NotImplementedError

    def steps(self, batch_size: int, workers: int = 1) -> int:
        """Returns the number of batches in an epoch; `batch_size` counts all workers together."""
        return math.ceil(len(self) / arguments.whole("batch_size", batch_size))

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        first_epoch: int = 0,
        repeat: bool = False,
        labels: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> "tf.data.Dataset":
        """Makes a `tf.data.Dataset` of float32 batches `x`, or `(x, target)` where they differ.

        With weights the batches are `(x, target, weights)`.

        Args:
            batch_size: int. The last batch of an epoch may be smaller.
            shuffle: bool. Whether each epoch has an order (and with `"dynamic"` a binarization) of
                its own. Defaults to `False`.
            first_epoch: int. The number of the first epoch, for a training that resumes. Defaults
                to `0`.
            repeat: bool. Whether there are endless epochs instead of one. Defaults to `False`.
            labels: bool. Whether the label stands beside each `x`, as conditional models need:
                `((x, label),)` or `((x, label), target)`, labels int32, or a dict of conditions.
            part: pair of int. With `(i, k)` the batches hold the part of worker i of k, which is
                `batch_size / k` examples or fewer. Defaults to `(0, 1)`, whole batches.

        Raises:
            ValueError: when labels are asked for and there are none.
        """
        forks.check()
        if labels and not self.has_labels:
            raise ValueError(f"{self!r} has no labels.")
        batch_size = arguments.whole("batch_size", batch_size)
        return self._ordered(
            batch_size,
            self.maker(shuffle, labels),
            part,
            shuffle=shuffle,
            first_epoch=first_epoch,
            repeat=repeat,
        )

    def maker(self, shuffle: bool, labels: bool) -> "Batches":
        """Returns how rows become a batch; the arguments are those of `batches`."""
        raise NotImplementedError

    def _ordered(self, batch_size: int, maker: "Batches", part: tuple[int, int], **order):
        """Makes a `tf.data.Dataset` of the batches of `maker`, in this order."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Batches:
    """The making of a batch from stored rows, in a graph.

    It holds no data, so equal ones make the same graph.

    Attributes:
        event_shape: tuple.
        fixed: bool. Whether the fixed binary draw takes the place of the examples.
        redraw: bool. Whether each batch is binarized anew.
        scaled, target_scaled: bool. Whether stored values are divided by 255.
        noise: float. Standard deviation of the noise on the inputs.
        target, labels, weights: bool. Whether the batches have targets, labels and weights.
        mask: bool. Whether a mask says which values of x were observed; the others become NaN.
    """

    event_shape: tuple[int, ...]
    fixed: bool
    redraw: bool
    scaled: bool
    target_scaled: bool
    noise: float
    target: bool
    labels: bool
    weights: bool = False
    mask: bool = False

    def gather(self, stored: dict, rows: "tf.Tensor") -> dict:
        """Returns the rows of each tensor."""
        import tensorflow as tf

        return tf.nest.map_structure(lambda values: tf.gather(values, rows), stored)

    def make(
        self, gathered: dict, epoch_seed: "tf.Tensor", step: "tf.Tensor"
    ) -> "tf.Tensor | tuple":
        """Returns the batch of gathered rows as models take it; see `BaseDataset.batches`."""
        import tensorflow as tf

        from kvae import random

        x = _to_float(gathered["x"], self.scaled)
        if self.redraw:
            noise = random.uniform(tf.shape(x), random.fold_in(epoch_seed, step + 1))
            x = tf.cast(noise < x, tf.float32)
        x = tf.ensure_shape(x, (None, *self.event_shape))
        clean = _to_float(gathered["target"], self.target_scaled) if self.target else None
        if self.noise:
            noise = random.normal(tf.shape(x), random.fold_in(epoch_seed, -step - 1))
            x, clean = tf.clip_by_value(x + self.noise * noise, 0.0, 1.0), x
        if self.mask:
            x = masks.hide(x, gathered["mask"])
            if clean is not None and not self.target:
                clean = masks.hide(clean, gathered["mask"])
        if self.weights and clean is None:  # Weights stand behind a target.
            clean = x
        if self.labels:
            x = x, gathered["labels"]
        if self.weights:
            return x, clean, gathered["weights"]
        if clean is not None:
            return x, clean
        return (x,) if self.labels else x


def ordered_batches(
    n: int,
    batch_size: int,
    batch: Callable,
    *,
    seed: int,
    shuffle: bool,
    first_epoch: int = 0,
    repeat: bool = False,
    part: tuple[int, int] = (0, 1),
    parallel: int | None = None,
) -> "tf.data.Dataset":
    """Makes a `tf.data.Dataset` of batches of `n` examples, in an order that repeats.

    Args:
        n, batch_size: int. The last batch of an epoch may be smaller.
        batch: callable. Makes a batch from the numbers of its examples `[batch]`, the seed of the
            epoch and the number of the step, all of them tensors.
        seed, shuffle, first_epoch, repeat: see `BaseDataset.batches`.
        part: pair of int. `(i, k)` gives piece i of k of each batch, which may be empty.
        parallel: int. The number of batches made at once. Defaults to `None`: one by one.
    """
    import tensorflow as tf

    batch_size = arguments.whole("batch_size", batch_size)
    count = math.ceil(n / batch_size)
    piece = math.ceil(batch_size / part[1])

    @tf.autograph.experimental.do_not_convert
    def epoch_batches(epoch):
        order, epoch_seed = _order(n, seed, epoch, shuffle)
        steps = tf.data.Dataset.range(count, output_type=tf.int32)

        def one(step):
            rows = order[step * batch_size : tf.minimum((step + 1) * batch_size, n)]
            if part[1] > 1:
                rows = rows[part[0] * piece : (part[0] + 1) * piece]
            return batch(rows, epoch_seed, step)

        if parallel is None:
            return steps.map(one)
        return steps.map(one, num_parallel_calls=parallel, deterministic=True)

    epochs = tf.data.Dataset.range(first_epoch, 2**31 - 1 if repeat else first_epoch + 1)
    batches = epochs.flat_map(epoch_batches)
    if not repeat:
        batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    return steady(batches)


def ordered_blocks(
    n: int, batch_size: int, steps: int, *, seed: int, shuffle: bool, first_epoch: int = 0
) -> "tf.data.Dataset":
    """Makes an endless `tf.data.Dataset` of the rows of `steps` batches at a time.

    The last block of an epoch has the rows that are left. An element is `(rows, seed, first)`:
    the numbers of the examples, the seed of the epoch and the number of the block's first step,
    with which `ordered_batches` calls its `batch`.
    """
    import tensorflow as tf

    calls = math.ceil(math.ceil(n / batch_size) / steps)

    @tf.autograph.experimental.do_not_convert
    def epoch_blocks(epoch):
        order, epoch_seed = _order(n, seed, epoch, shuffle)
        size = steps * batch_size
        return tf.data.Dataset.range(calls, output_type=tf.int32).map(
            lambda call: (
                order[call * size : tf.minimum((call + 1) * size, n)],
                tf.cast(epoch_seed, tf.int32),  # The dtype that `random` takes.
                call * steps,
            )
        )

    epochs = tf.data.Dataset.range(first_epoch, 2**31 - 1)
    return steady(epochs.flat_map(epoch_blocks))


def _order(n: int, seed: int, epoch, shuffle: bool):
    """Returns the order of an epoch, int32 `[n]`, and its seed."""
    import tensorflow as tf

    from kvae import random

    epoch_seed = random.fold_in(random.as_seed(seed), epoch)
    order = tf.range(n)
    if shuffle:
        order = random.shuffled(order, epoch_seed)
    return order, epoch_seed


def steady(batches: "tf.data.Dataset") -> "tf.data.Dataset":
    """Returns a `tf.data.Dataset` of batches that are made ahead, with fixed options."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False  # Its thread can stall the end of every epoch.
    # Each of several workers makes the whole batch and takes its part of it.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.prefetch(2).with_options(options)


def _to_float(x, scaled: bool):
    """Returns the tensor as float32, divided by 255 when `scaled`."""
    import tensorflow as tf

    x = tf.cast(x, tf.float32)
    return x / 255.0 if scaled else x
