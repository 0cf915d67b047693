"""Records: the values of several modalities of each example as one tensor `[n, columns]`."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.datasets import kinds
from kvae.utils import masks, names

__all__ = ["Records"]


class Records:
    """The methods of `Modalities` that make records of modalities, and modalities of records.

    Attributes:
        likelihoods: dict of `Likelihood` by modality.
        shapes: dict of the shapes of one example's values, `()` for a single one.
        sizes: dict of the numbers of these values.
    """

    likelihoods: dict
    shapes: dict[str, tuple[int, ...]]
    sizes: dict[str, int]

    def record(self, values: Mapping, name: str = "x"):
        """Returns the values of modalities as one record.

        Args:
            values: mapping from names to arrays or tensors `[n, *shape]`; what is left out or
                `None` is absent. NaN stands for single values that were not observed. The entry
                `mask` is a mapping from names to bool arrays, `[n]` or of the shape of the values,
                True for observed.
            name: str. How errors call the values. Defaults to `"x"`.

        Returns:
            float32 array or tensor `[n, columns]`.

        Raises:
            ValueError: for another name, shape or number of rows, and for no modality at all.
        """
        values = dict(values)
        given_masks = self._masks(values.pop("mask", None))
        for key in [*values, *given_masks]:
            if key not in self.likelihoods:
                raise names.unknown_name("modality", str(key), self.likelihoods)
        found = {key: value for key, value in values.items() if value is not None}
        if not found:
            raise ValueError(
                f"`{name}` has none of the modalities {', '.join(map(repr, self.likelihoods))}: "
                "give at least one."
            )
        for key, value in found.items():
            found[key] = self._flat(key, value, given_masks.get(key), f"{name}[{key!r}]")
        counts = {key: value.shape[0] for key, value in found.items()}
        if len({count for count in counts.values() if count is not None}) > 1:
            said = ", ".join(f"{key!r} has {count} rows" for key, count in counts.items())
            raise ValueError(
                f"The modalities of `{name}` stand row by row beside one another, but {said}. "
                "Where an example lacks a modality, give NaN or mask={name: bool array [n]}."
            )
        first = next(iter(found.values()))
        eager = not any(tf.is_tensor(value) for value in found.values())
        rows = len(first) if eager else tf.shape(first)[0]

        def absent(size):
            fill = np.full if eager else tf.fill
            return fill([rows, size], np.float32(np.nan))

        parts = [found[key] if key in found else absent(size) for key, size in self.sizes.items()]
        return np.concatenate(parts, axis=1) if eager else tf.concat(parts, axis=1)

    def _masks(self, mask) -> Mapping:
        if mask is None or isinstance(mask, Mapping):
            return mask or {}
        example = ", ".join(f"{key!r}: …" for key in self.likelihoods)
        raise ValueError(
            "`mask` is a dict from the names of the modalities to bool arrays, True where an "
            f"example has the modality: mask={{{example}}}."
        )

    def _flat(self, key: str, value, mask, name: str):
        """Returns the values of one modality, float32 `[n, size]`."""
        value = kinds.recognize(value, name)
        if not hasattr(value, "dtype") or not hasattr(value, "shape"):
            raise ValueError(
                f"`{name}` is a {type(value).__name__}; a modality is an array, and data in "
                "batches are batches of dicts."
            )
        shape, part = self.shapes[key], self.likelihoods[key]
        single = self.sizes[key] == 1 and tuple(value.shape[1:]) in ((), (1,))
        if len(value.shape) == 0 or (not single and tuple(value.shape[1:]) != shape):
            taken = ", ".join(map(str, ("n", *shape))) + ("" if shape else ",")
            advice = ""
            if (*value.shape[1:], 1) == shape:
                advice = f" Add the channel axis: {name}[..., None]."
            elif tuple(value.shape) == shape:
                advice = f" Add the batch axis: {name}[None]."
            elif shape == () and value.shape[1:] == (getattr(part, "num_classes", None),):
                advice = f" Give class numbers in the place of one-hot vectors: {name}.argmax(-1)."
            raise ValueError(
                f"`{name}` has shape {tuple(value.shape)}; this modality takes ({taken}).{advice}"
            )
        if mask is not None:
            if not tf.is_tensor(mask):
                mask = kinds.as_array(mask, "mask", only_numbers=False)
            if len(mask.shape) == 1 < len(value.shape):
                mask = mask[(..., *[None] * (len(value.shape) - 1))] | np.zeros(
                    [1, *value.shape[1:]], bool
                )
            value = masks.hide(value, mask, name)
        if tf.is_tensor(value):
            return tf.reshape(tf.cast(value, tf.float32), [-1, self.sizes[key]])
        with np.errstate(over="ignore"):  # Reported by `check`.
            return value.astype(np.float32, copy=False).reshape(len(value), -1)

    def split(self, record) -> dict:
        """Returns the values of a record `[..., columns]` by modality, `[..., *shape]`."""
        found, start = {}, 0
        for key, size in self.sizes.items():
            part = record[..., start : start + size]
            lead = record.shape[:-1] if isinstance(record, np.ndarray) else ops.shape(part)[:-1]
            reshape = np.reshape if isinstance(record, np.ndarray) else tf.reshape
            found[key] = reshape(part, (*lead, *self.shapes[key]))
            start += size
        return found

    def present(self, record):
        """Returns which modalities a record has anything of, bool `[batch, modalities]`."""
        found, start = [], 0
        for size in self.sizes.values():
            part = masks.observed(record[..., start : start + size])
            found.append(tf.reduce_any(part, axis=-1))
            start += size
        return tf.stack(found, axis=-1)

    def kept(self, record, present):
        """Returns a record without the modalities that `present` is False for.

        Args:
            record: tensor `[batch, columns]`.
            present: bool tensor `[batch, modalities]`, or of 1 in the place of `batch`.
        """
        of = np.repeat(np.arange(len(self.sizes)), list(self.sizes.values()))
        return tf.where(tf.gather(present, of, axis=-1), record, np.float32(np.nan))
