"""Data in memory, and the order and the binarization in which a model sees it."""

import dataclasses
import hashlib
import math

import numpy as np

from kvae import names

__all__ = ["Batches", "Dataset", "ordered_batches", "ordered_blocks", "steady"]

_BINARIZE = (None, "static", "dynamic")


class Dataset:
    """Examples in memory, with batches that repeat bit for bit.

    The order of an epoch depends on `seed` and the number of the epoch alone, so a training that
    stops and resumes sees what it would have seen.

    Binarization draws each value of `x` (an intensity in [0, 1]) as 0 or 1 with that probability.
    `"static"` draws once, by `seed`; `"dynamic"` draws anew for every shuffled batch, which
    regularises training. Unshuffled batches and `images` hold one fixed draw in both cases, so an
    evaluation repeats. Figures for the two differ by about two nats on MNIST: never mix them.

    Args:
        x: array `[n, *event]`. uint8 stands for intensities of 0–255 and is divided by 255 (but see
            `intensities`); floats are taken as they are.
        labels: optional array `[n]` of class numbers. Only conditional models see them in `fit`.
        target: optional array of the shape of `x`: what to reconstruct, when it is not `x` itself
            (a denoising autoencoder).
        name: str. For messages and model cards.
        split: str. For messages and model cards.
        binarize: `None`, `"static"` or `"dynamic"`. Defaults to `None`.
        noise: float. Standard deviation of Gaussian noise on the inputs of the batches (clipped to
            [0, 1]), whose target is the clean `x`: a denoising autoencoder. Defaults to `0.0`.
        seed: int. Seed of the order and of the binarization. Defaults to `0`.
        intensities: bool. Whether uint8 is divided by 255. `False` takes its numbers as they are:
            the class numbers and counts that likelihoods over whole numbers need. Defaults to
            `True`.

    Raises:
        ValueError: for arrays of unequal length, or with `binarize` or `noise` for what are no
            intensities in [0, 1].

    Example:

    ```python
    data = kvae.datasets.Dataset(np.random.rand(100, 8, 8, 1), binarize="dynamic")
    vae.fit(data, epochs=3, batch_size=32)
    ```
    """

    def __init__(
        self,
        x,
        labels=None,
        *,
        target=None,
        name: str = "array",
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
        intensities: bool = True,
    ):
        if binarize not in _BINARIZE:
            raise names.unknown_name("binarization", binarize, ("static", "dynamic"))
        self.x = _as_stored(x)
        self.target = None if target is None else _as_stored(target)
        self.labels = None if labels is None else np.asarray(labels)
        for other, what in ((self.labels, "labels"), (self.target, "target")):
            if other is not None and len(other) != len(self.x):
                raise ValueError(f"`{what}` has {len(other)} rows, x has {len(self.x)}.")
        if self.target is not None and (binarize or noise):
            raise ValueError("`binarize` and `noise` apply to x; give no `target` with them.")
        if not intensities and (binarize or noise):
            raise ValueError("`binarize` and `noise` are for intensities, not for other numbers.")
        if binarize and self.x.dtype != np.uint8:
            low, high = self.x.min(), self.x.max()
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"Binarization needs intensities in [0, 1], not {low:g} to {high:g}."
                )
        self.name, self.split, self.binarize, self.seed = name, split, binarize, seed
        self.noise = noise
        self.intensities = intensities
        self._fixed_draw = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, split={self.split!r}, n={len(self)}, "
            f"event_shape={self.event_shape}, binarize={self.binarize!r}, seed={self.seed})"
        )

    def __getitem__(self, rows: slice) -> "Dataset":
        """A slice of rows, e.g. `data[:1000]`; a fixed draw is the slice of the whole's draw."""
        if not isinstance(rows, slice):
            raise TypeError("A Dataset is indexed by a slice, e.g. data[:100].")
        return self.take(rows)

    def take(self, rows, split: str | None = None) -> "Dataset":
        """Returns the examples `rows` (a slice or indices), with their labels, targets and draw.

        Args:
            rows: slice or int array.
            split: str. The new one's name of its split. Defaults to `None`: this one's.
        """
        part = Dataset(
            self.x[rows],
            None if self.labels is None else self.labels[rows],
            target=None if self.target is None else self.target[rows],
            name=self.name,
            split=self.split if split is None else split,
            binarize=self.binarize,
            noise=self.noise,
            seed=self.seed,
            intensities=self.intensities,
        )
        if self.binarize:
            part._fixed_draw = self._draw()[rows]
        return part

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x.shape[1:]

    @property
    def images(self) -> np.ndarray:
        """The examples as float32, `[n, *event]`; with `binarize`, their fixed draw."""
        return self._to_float(self._draw() if self.binarize else self.x, drawn=bool(self.binarize))

    def levels(self) -> np.ndarray:
        """The values that are to be reconstructed, as a likelihood's `check_support` takes them.

        Of bytes each value once, `[m, 1]`, unless columns differ (a table, `[n, columns]`).
        """
        stored = self.x if self.target is None else self.target
        if self.binarize:
            columns = self.x.shape[1] if self.x.ndim == 2 else 1
            return np.repeat(np.float32([[0.0], [1.0]]), columns, axis=1)
        if stored.dtype == np.uint8 and stored.ndim > 2:
            present = np.zeros(256, bool)
            for start in range(0, len(stored), 4096):  # Bounded memory.
                present[stored[start : start + 4096]] = True
            stored = np.flatnonzero(present).astype(np.uint8)[:, None]
        return self._to_float(stored)

    @property
    def sha256(self) -> str:
        """Hash of the stored examples (before any binarization), 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.x.dtype.str}{self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()

    def steps(self, batch_size: int) -> int:
        """The number of batches in an epoch."""
        return math.ceil(len(self) / batch_size)

    def batches(
        self,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        first_epoch: int = 0,
        repeat: bool = False,
        labels: bool = False,
    ):
        """Makes a `tf.data.Dataset` of float32 batches `x`, or `(x, target)` where they differ.

        Args:
            batch_size: int. The last batch of an epoch may be smaller.
            shuffle: bool. An order (and with `"dynamic"` a binarization) of each epoch's own.
            first_epoch: int. The number of the first epoch, for a training that resumes.
            repeat: bool. Endless epochs instead of one.
            labels: bool. Whether the label stands beside each `x`, as conditional models need:
                `((x, label),)` or `((x, label), target)`, labels int32.

        Raises:
            ValueError: when there are no `labels` to give.
        """
        if labels and self.labels is None:
            raise ValueError(f"{self!r} has no labels: make it with Dataset(x, labels).")
        batches = Batches.of(self, shuffle, labels)
        stored = batches.stored(self)
        return ordered_batches(
            len(self),
            batch_size,
            lambda rows, epoch_seed, step: batches.make(
                batches.gather(stored, rows), epoch_seed, step
            ),
            seed=self.seed,
            shuffle=shuffle,
            first_epoch=first_epoch,
            repeat=repeat,
        )

    def _draw(self) -> np.ndarray:
        """The fixed binary draw, uint8 of 0 and 1."""
        if self._fixed_draw is None:
            generator = np.random.Generator(np.random.Philox(self.seed))
            draw = np.empty(self.x.shape, np.uint8)
            for start in range(0, len(self), 4096):  # Bounded memory; the stream is the same.
                block = self._to_float(self.x[start : start + 4096])
                noise = generator.random(block.shape, np.float32)
                draw[start : start + 4096] = noise < block
            self._fixed_draw = draw
        return self._fixed_draw

    def _to_float(self, x, drawn: bool = False) -> np.ndarray:
        """Stored values as float32; `drawn` are 0 and 1."""
        scale = x.dtype == np.uint8 and self.intensities and not drawn
        return x.astype(np.float32) / 255.0 if scale else x.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Batches:
    """How rows of a `Dataset`'s stored examples become a batch, in a graph.

    It holds no data, so equal ones make the same graph.

    Attributes:
        event_shape: tuple.
        fixed: bool. Whether the fixed binary draw takes the place of the examples.
        redraw: bool. Whether each batch is binarized anew.
        scaled, target_scaled: bool. Whether stored values are divided by 255.
        noise: float. Standard deviation of the noise on the inputs.
        target, labels: bool. Whether there are such.
    """

    event_shape: tuple[int, ...]
    fixed: bool
    redraw: bool
    scaled: bool
    target_scaled: bool
    noise: float
    target: bool
    labels: bool

    @classmethod
    def of(cls, data: Dataset, shuffle: bool, labels: bool) -> "Batches":
        """Returns that of a `Dataset`; the arguments are those of `Dataset.batches`."""
        redraw = shuffle and data.binarize == "dynamic"
        fixed = bool(data.binarize) and not redraw
        target = data.target
        return cls(
            event_shape=tuple(data.event_shape),
            fixed=fixed,
            redraw=redraw,
            scaled=data.x.dtype == np.uint8 and data.intensities and not fixed,
            target_scaled=target is not None and target.dtype == np.uint8 and data.intensities,
            noise=float(data.noise),
            target=target is not None,
            labels=labels,
        )

    def stored(self, data: Dataset) -> dict:
        """Returns the tensors `[n, ...]` of a `Dataset`, uint8 where possible, by name."""
        import tensorflow as tf

        # Gathering from what is captured is faster than feeding batches from Python.
        stored = {"x": tf.constant(data._draw() if self.fixed else data.x)}
        if self.target:
            stored["target"] = tf.constant(data.target)
        if self.labels:
            stored["labels"] = tf.constant(data.labels, tf.int32)
        return stored

    def gather(self, stored: dict, rows) -> dict:
        """Returns the rows of each tensor."""
        import tensorflow as tf

        return {name: tf.gather(values, rows) for name, values in stored.items()}

    def make(self, gathered: dict, epoch_seed, step):
        """Returns the batch of gathered rows as models take it; see `Dataset.batches`."""
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
        if self.labels:
            x = x, gathered["labels"]
            return (x,) if clean is None else (x, clean)
        return x if clean is None else (x, clean)


def ordered_batches(
    n: int,
    batch_size: int,
    batch,
    *,
    seed: int,
    shuffle: bool,
    first_epoch: int = 0,
    repeat: bool = False,
    part: tuple[int, int] = (0, 1),
    parallel: int | None = None,
):
    """Makes a `tf.data.Dataset` of batches of `n` examples, in an order that repeats.

    Args:
        n, batch_size: int. The last batch of an epoch may be smaller.
        batch: callable. From the numbers of the examples `[batch]`, the seed of the epoch and the
            number of the step, all of them tensors, to the batch.
        seed, shuffle, first_epoch, repeat: see `Dataset.batches`.
        part: pair of int. `(i, k)` gives piece i of k of each batch, which may be empty.
        parallel: int. Batches made at the same time. Defaults to `None`: one by one.
    """
    import tensorflow as tf

    if batch_size < 1:
        raise ValueError(f"`batch_size` is at least 1, not {batch_size}.")
    count = math.ceil(n / batch_size)
    piece = math.ceil(batch_size / part[1])

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
):
    """Makes a `tf.data.Dataset` that names, without end, the rows of `steps` batches at a time.

    The last block of an epoch has what is left. An element is `(rows, epoch_seed, first)`: the
    numbers of the examples, the seed of the epoch and the number of the block's first step, with
    which `ordered_batches` calls its `batch`.
    """
    import tensorflow as tf

    calls = math.ceil(math.ceil(n / batch_size) / steps)

    def epoch_blocks(epoch):
        order, epoch_seed = _order(n, seed, epoch, shuffle)
        size = steps * batch_size
        return tf.data.Dataset.range(calls, output_type=tf.int32).map(
            lambda call: (
                order[call * size : tf.minimum((call + 1) * size, n)],
                tf.cast(epoch_seed, tf.int32),  # As `random` takes it.
                call * steps,
            )
        )

    epochs = tf.data.Dataset.range(first_epoch, 2**31 - 1)
    return steady(epochs.flat_map(epoch_blocks))


def _order(n: int, seed: int, epoch, shuffle: bool):
    """The order of an epoch, int32 `[n]`, and its seed."""
    import tensorflow as tf

    from kvae import random

    epoch_seed = random.fold_in(random.as_seed(seed), epoch)
    order = tf.range(n)
    if shuffle:
        order = tf.random.experimental.stateless_shuffle(order, epoch_seed, alg="philox")
    return order, epoch_seed


def steady(batches):
    """Returns a `tf.data.Dataset` of batches, made ahead, without surprises."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False  # Its thread can stall the end of every epoch.
    # Of several workers each makes a batch whole and takes its part of it.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.prefetch(2).with_options(options)


def _as_stored(x) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"Data has the shape [n, *event] with n > 0, not {x.shape}.")
    if x.dtype == np.uint8 or x.dtype == np.float32:
        return x
    if x.dtype == bool or np.issubdtype(x.dtype, np.number):
        return x.astype(np.float32)
    raise ValueError(f"Data holds numbers, not {x.dtype}.")


def _to_float(x, scaled: bool):
    """The tensor as float32, divided by 255 where `scaled`."""
    import tensorflow as tf

    x = tf.cast(x, tf.float32)
    return x / 255.0 if scaled else x
