"""Data in memory, and its binarization."""

import copy
import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.datasets import kinds, weighting
from kvae.datasets.batches import BaseDataset, Batches, ordered_batches
from kvae.utils import masks

__all__ = ["Dataset"]


class Dataset(BaseDataset):
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
        labels: optional array `[n]` of class numbers, or a dict of arrays `[n, …]`, the conditions
            of a model by name. Only conditional models see them in `fit`. Defaults to `None`.
        target: optional array of the shape of `x`. What to reconstruct, when it is not `x` itself
            (for a denoising autoencoder). Defaults to `None`.
        mask: optional bool array of the shape of `x`, or with 1 in the place of its last axis: True
            where a value of x was observed. The others become NaN in batches and `examples`, for a
            model with `missing`; NaN in x says the same. Defaults to `None`.
        weights: optional array `[n]` of how much each example counts in the averages of `fit`,
            `validation_data` and `kvae.VAE.evaluate`: finite, and not negative. Defaults to `None`.
        name: str. The name in messages and model cards. Defaults to `"array"`.
        split: str. The name of the split in messages and model cards. Defaults to `"all"`.
        binarize: `None`, `"static"` or `"dynamic"`. Defaults to `None`.
        noise: float. Standard deviation of Gaussian noise on the inputs of the batches (clipped to
            [0, 1]), whose target is the clean `x`: a denoising autoencoder. Defaults to `0.0`.
        seed: int. The seed of the order and of the binarization. Defaults to `0`.
        intensities: bool. Whether uint8 is divided by 255. `False` takes its numbers as they are:
            the class numbers and counts that likelihoods over whole numbers need. Defaults to
            `True`.

    Raises:
        ValueError: when the arrays differ in length, and when `binarize` or `noise` is given for
            values that are not intensities in [0, 1].

    Example:

    ```python
    data = kvae.datasets.Dataset(np.random.rand(100, 8, 8, 1), binarize="dynamic")
    vae.fit(data, epochs=3, batch_size=32)
    ```
    """

    def __init__(
        self,
        x: Any,
        labels: Any = None,
        *,
        target: Any = None,
        mask: Any = None,
        weights: ArrayLike | None = None,
        name: str = "array",
        split: str = "all",
        binarize: str | None = None,
        noise: float = 0.0,
        seed: int = 0,
        intensities: bool = True,
    ):
        super().__init__(name=name, split=split, binarize=binarize, noise=noise, seed=seed)
        self.x = _as_stored(x, "x")
        self.target = None if target is None else _as_stored(target, "target")
        self.labels = kinds.labels_as_arrays(labels, "labels", len(self.x))
        self.weights = None
        if weights is not None:
            self.weights = weighting.checked(weights, len(self.x), "weights")
        if self.target is not None and len(self.target) != len(self.x):
            raise ValueError(f"`target` has {len(self.target)} rows, x has {len(self.x)}.")
        if noise and mask is None and self.x.dtype != np.uint8 and np.isnan(self.x).any():
            mask = masks.observed(self.x)
        self.mask = None
        if mask is not None:
            self._hide(masks.checked(mask, self.x))
        if self.target is not None and (binarize or noise):
            raise ValueError("`binarize` and `noise` apply to x; give no `target` with them.")
        if not intensities and (binarize or noise):
            raise ValueError("`binarize` and `noise` are for intensities, not for other numbers.")
        if binarize and self.x.dtype != np.uint8:
            low, high = self.x.min(), self.x.max()
            if not (low >= 0 and high <= 1):
                advice = " Give a `mask` of what was observed." if np.isnan(low) else ""
                raise ValueError(
                    f"Binarization needs intensities in [0, 1], not {low:g} to {high:g}.{advice}"
                )
        self.intensities = intensities
        self._fixed_draw = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> "Dataset":
        """Returns a slice of the examples, e.g. `data[:1000]`, with their part of a fixed draw."""
        if not isinstance(rows, slice):
            raise TypeError("A Dataset is indexed by a slice, e.g. data[:100].")
        return self.take(rows)

    def take(self, rows: slice | ArrayLike, split: str | None = None) -> "Dataset":
        """Returns the examples `rows` (a slice or indices), with their labels, targets and draw.

        Args:
            rows: slice or int array. The examples to take.
            split: str. The name of the new dataset's split. Defaults to `None`: this one's.
        """
        part = Dataset(
            self.x[rows],
            kinds.rows_of_labels(self.labels, rows),
            target=None if self.target is None else self.target[rows],
            mask=None if self.mask is None else self.mask[rows],
            name=self.name,
            split=self.split if split is None else split,
            binarize=self.binarize,
            noise=self.noise,
            seed=self.seed,
            intensities=self.intensities,
        )
        if self.binarize:
            part._fixed_draw = self._draw()[rows]
        part.schema = self.schema
        if self.weights is not None:  # They may all be zero, in a part.
            part.weights = self.weights[rows]
        return part

    def joined(self, other: "Dataset", split: str | None = None) -> "Dataset":
        """Returns the examples of both datasets, those of `other` last, with their draws.

        Args:
            other: `Dataset` with the same settings, and with labels, targets, a mask or weights
                where this one has them.
            split: str. The name of the new dataset's split. Defaults to `None`: this one's.

        Raises:
            ValueError: where one of them has what the other has not, or another shape.

        Example:

        ```python
        train, validation = (kvae.datasets.load("digits", s) for s in ("train", "validation"))
        vae.fit(train.joined(validation), epochs=3)
        ```
        """
        both = copy.copy(self)
        for name in ("event_shape", "binarize", "noise", "intensities"):
            own, its = getattr(self, name), getattr(other, name)
            if own != its:
                raise ValueError(f"The datasets to join have different {name}: {own} and {its}.")
        for name in ("x", "labels", "target", "mask", "weights"):
            own, its = getattr(self, name), getattr(other, name)
            if (own is None) != (its is None):
                raise ValueError(f"Of the datasets to join only one has {name}.")
            setattr(both, name, None if own is None else np.concatenate([own, its]))
        if self.binarize:
            both._fixed_draw = np.concatenate([self._draw(), other._draw()])
        both.split = self.split if split is None else split
        return both

    def weighted(self, weights: ArrayLike) -> "Dataset":
        """Returns the same examples with these weights, an array `[n]`."""
        part = self.take(slice(None))
        part.weights = weighting.checked(weights, len(self))
        return part

    def labelled(self, labels: Any) -> "Dataset":
        """Returns the same examples with other labels, as in the constructor, or none."""
        part = self.take(slice(None))
        part.labels = kinds.labels_as_arrays(labels, "labels", len(self))
        return part

    def masked(self, mask: ArrayLike) -> "Dataset":
        """Returns the same examples, of which the mask is True where something was observed."""
        part = self.take(slice(None))
        part._hide(masks.checked(mask, self.x))
        return part

    def _hide(self, mask: np.ndarray) -> None:
        """Makes values NaN, or keeps the mask that does so to bytes, draws and noisy values."""
        if self.x.dtype == np.uint8 or self.binarize or self.noise:
            self.mask = mask if self.mask is None else mask & self.mask
            # What is drawn from, and what gets noise, is a number.
            self.x = np.where(self.mask, self.x, self.x.dtype.type(0))
        else:
            self.x = masks.hide(self.x, mask)

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x.shape[1:]

    @property
    def examples(self) -> np.ndarray:
        """The examples as float32, `[n, *event]`; with `binarize`, their fixed draw.

        What was not observed is NaN.
        """
        x = self._to_float(self._draw() if self.binarize else self.x, drawn=bool(self.binarize))
        return x if self.mask is None else masks.hide(x, self.mask)

    def levels(self) -> np.ndarray:
        """Returns the values to be reconstructed, as a likelihood's `check_support` takes them.

        Bytes give each value once, `[m, 1]`, unless columns differ (a table, `[n, columns]`), which
        are NaN where nothing was observed.
        """
        stored = self.x if self.target is None else self.target
        if self.binarize:
            columns = self.x.shape[1] if self.x.ndim == 2 else 1
            return np.repeat(np.float32([[0.0], [1.0]]), columns, axis=1)
        mask = self.mask if self.target is None else None
        if stored.dtype == np.uint8 and stored.ndim > 2:
            present = np.zeros(256, bool)
            for start in range(0, len(stored), 4096):  # Bounded memory.
                block = stored[start : start + 4096]
                present[block if mask is None else block[mask[start : start + 4096]]] = True
            stored, mask = np.flatnonzero(present).astype(np.uint8)[:, None], None
        values = self._to_float(stored)
        return values if mask is None else masks.hide(values, mask)

    @property
    def sha256(self) -> str:
        """Hash of the stored examples (before any binarization), 64 hexadecimal digits."""
        digest = hashlib.sha256(f"{self.x.dtype.str}{self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x).data)
        if self.mask is not None:
            digest.update(self.mask.data)
        return digest.hexdigest()

    def maker(self, shuffle: bool, labels: bool) -> Batches:
        redraw = shuffle and self.binarize == "dynamic"
        fixed = bool(self.binarize) and not redraw
        target = self.target
        return Batches(
            event_shape=tuple(self.event_shape),
            fixed=fixed,
            redraw=redraw,
            scaled=self.x.dtype == np.uint8 and self.intensities and not fixed,
            target_scaled=target is not None and target.dtype == np.uint8 and self.intensities,
            noise=float(self.noise),
            target=target is not None,
            labels=labels,
            weights=self.weights is not None,
            mask=self.mask is not None,
        )

    def stored(self, maker: Batches) -> dict:
        """Returns the tensors `[n, ...]` that `maker` takes, uint8 where possible, by name."""
        import tensorflow as tf

        # Gathering from what is captured is faster than feeding batches from Python.
        stored = {"x": tf.constant(self._draw() if maker.fixed else self.x)}
        if maker.target:
            stored["target"] = tf.constant(self.target)
        if maker.labels:
            stored["labels"] = tf.nest.map_structure(_label_tensor, self.labels)
        if maker.weights:
            stored["weights"] = tf.constant(self.weights)
        if maker.mask:
            stored["mask"] = tf.constant(self.mask)
        return stored

    def _ordered(self, batch_size, maker, part, **order):
        stored = self.stored(maker)
        return ordered_batches(
            len(self),
            batch_size,
            lambda rows, epoch_seed, step: maker.make(maker.gather(stored, rows), epoch_seed, step),
            seed=self.seed,
            part=part,
            **order,
        )

    def _draw(self) -> np.ndarray:
        """Returns the fixed binary draw, uint8 of 0 and 1."""
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
        """Returns stored values as float32; `drawn` ones are 0 and 1 already."""
        scale = x.dtype == np.uint8 and self.intensities and not drawn
        return x.astype(np.float32) / 255.0 if scale else x.astype(np.float32)


def _as_stored(x, name: str) -> np.ndarray:
    x = kinds.as_array(x, name)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"Data has the shape [n, *event] with n > 0, not {x.shape}.")
    if x.dtype == np.uint8 or x.dtype == np.float32:
        return x
    with np.errstate(over="ignore"):  # Reported here.
        stored = x.astype(np.float32)
    if np.isinf(stored).any() and np.isfinite(x).all():
        raise ValueError(
            f"`{name}` holds numbers too large for float32, in which models compute. Rescale the "
            "data."
        )
    return stored


def _label_tensor(labels: np.ndarray):
    import tensorflow as tf

    return tf.constant(labels, tf.int32 if labels.dtype.kind in "bui" else None)
