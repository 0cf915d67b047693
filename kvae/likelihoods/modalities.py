"""A likelihood for examples of several modalities, such as an image and its label."""

import math
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.datasets import kinds
from kvae.likelihoods import likelihood as base
from kvae.likelihoods.likelihood import Likelihood, register
from kvae.utils import masks, names

__all__ = ["Modalities"]

# Names that stand for something else where modalities are given by name.
_RESERVED = ("mask", "to", "output", "seed", "batch_size")


@register()
class Modalities(Likelihood):
    """`p(x|z)` = Π p(x_m|z) over the modalities m of an example, each with a likelihood of its own.

    `kvae.VAE(encoders={…}, decoders={…}, likelihood={…})` makes one. What a model computes with is
    a *record*: the values of all modalities as one tensor `[n, columns]`, in the order of the
    names, each flattened. A modality that is absent is NaN throughout, which is what `missing`
    means by a value that was not observed. So log p(x|z) is that of the modalities that are there,
    and nothing else in the library has to know of several.

    Args:
        likelihoods: mapping from names to likelihoods or their names.
        shapes: mapping from the same names to the shapes of one example's values. `()` stands for
            a single value, such as a class number.

    Decoder output: `[batch, width]`, the outputs of all decoders, flattened and joined.

    Parameters are named `modality/parameter`, as `image/logits`.

    Raises:
        ValueError: for no modality, names that do not agree or are no words, and a likelihood
            that is not the sum of its values' log-probabilities.

    Example:

    ```python
    likelihood = kvae.likelihoods.Modalities(
        {"image": "bernoulli", "label": "categorical:10"}, {"image": (8, 8, 1), "label": ()}
    )
    record = likelihood.record({"image": np.zeros((2, 8, 8, 1)), "label": [3, 7]})     # (2, 65)
    likelihood.split(record)["label"]                                                  # [3, 7]
    ```

    Reference:
        - [Wu & Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning,
          eq. 2](https://arxiv.org/abs/1802.05335): modalities that are independent given z
    """

    decoder_outputs = None  # Each decoder's ending is looked at when the model is made.

    def __init__(self, likelihoods: Mapping, shapes: Mapping, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(likelihoods, Mapping) or not likelihoods:
            raise ValueError(
                "`likelihoods` is a dict from the names of the modalities to their likelihoods, "
                f"e.g. {{'image': 'bernoulli', 'label': 'categorical:10'}}, not {likelihoods!r}."
            )
        check_names(likelihoods)
        if set(shapes) != set(likelihoods):
            raise ValueError(
                f"`shapes` has the modalities {', '.join(map(repr, shapes))}, `likelihoods` "
                f"{', '.join(map(repr, likelihoods))}: give each of them both."
            )
        self.likelihoods: dict[str, Likelihood] = {}
        for key, value in likelihoods.items():
            self.likelihoods[key] = part = base.get(value)
            part.name = key  # The same in every process, unlike the names that Keras gives.
            if not part.adds_values:
                raise ValueError(
                    f"{type(part).__name__} has a `log_prob` of whole events, which does not say "
                    f"what is missing of the modality {key!r}: choose another likelihood."
                )
        self.shapes = {key: tuple(int(n) for n in shapes[key]) for key in self.likelihoods}
        self.sizes = {key: math.prod(shape) for key, shape in self.shapes.items()}
        self.columns = sum(self.sizes.values())
        self.widths = {
            key: math.prod(part.output_shape(self._event(key)))
            for key, part in self.likelihoods.items()
        }

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.likelihoods)

    @property
    def discrete(self):
        found: list[bool] = []  # Of all values of a record, since a modality may be a table.
        for key, part in self.likelihoods.items():
            own = part.discrete
            found += own if isinstance(own, tuple) else (bool(own),) * self.sizes[key]
        return found[0] if len(set(found)) == 1 else tuple(found)

    # Records.

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

    # The likelihood, modality by modality.

    def _event(self, key: str) -> tuple[int, ...]:
        return self.shapes[key] or (1,)

    def _parts(self, record):
        """Yields each modality's likelihood and values, `[..., *event]`."""
        start = 0
        for key, part in self.likelihoods.items():
            values = record[..., start : start + self.sizes[key]]
            lead = ops.shape(values)[:-1]
            yield part, ops.reshape(values, (*lead, *self._event(key)))
            start += self.sizes[key]

    def _own(self, params):
        """Yields each modality's likelihood and parameters."""
        for key, part in self.likelihoods.items():
            start = f"{key}/"
            yield (
                part,
                {k.removeprefix(start): v for k, v in params.items() if k.startswith(start)},
            )

    def _joined(self, values):
        """Joins values of all modalities, `[..., *event]`, to a record `[..., columns]`."""
        flat = []
        for (key, size), value in zip(self.sizes.items(), values, strict=True):
            lead = ops.shape(value)[: len(value.shape) - len(self._event(key))]
            flat.append(ops.reshape(value, (*lead, size)))
        return ops.concatenate(flat, axis=-1)

    def _of_params(self, function, params):
        return self._joined(function(part, own) for part, own in self._own(params))

    def _of_values(self, function, record):
        return self._joined(function(part, own) for part, own in self._parts(record))

    def output_shape(self, event_shape):
        if tuple(event_shape) != (self.columns,):
            raise ValueError(
                f"A record of {', '.join(map(repr, self.likelihoods))} has {self.columns} values, "
                f"so events have the shape {(self.columns,)}, not {tuple(event_shape)}."
            )
        return (sum(self.widths.values()),)

    def build(self, outputs_shape):
        for key, part in self.likelihoods.items():
            if not part.built:
                part.build((None, *part.output_shape(self._event(key))))
        self.built = True

    def call(self, outputs, training=False):
        found, start = {}, 0
        for key, part in self.likelihoods.items():
            own = outputs[..., start : start + self.widths[key]]
            own = ops.reshape(own, (-1, *part.output_shape(self._event(key))))
            options = {"training": training} if part.autoregressive else {}
            found |= {f"{key}/{name}": value for name, value in part(own, **options).items()}
            start += self.widths[key]
        return found

    def element_log_prob(self, params, x):
        pairs = zip(self._own(params), self._parts(x), strict=True)
        return self._joined(
            part.element_log_prob(own, values) for (part, own), (_, values) in pairs
        )

    def log_prob_of_values(self, params, x):
        x = ops.cast(x, self.dtype)
        pairs = zip(self._own(params), self._parts(x), strict=True)
        return self._joined(
            part.log_prob_of_values(own, values) for (part, own), (_, values) in pairs
        )

    def log_prob_by_modality(self, params, x):
        """Returns log p(x_m|z) of each modality in nats, `[..., batch, modalities]`.

        It is 0 for a modality that is absent.
        """
        each = self.log_prob_of_values(params, x)
        ends = np.cumsum(list(self.sizes.values())).tolist()
        starts = [0, *ends[:-1]]
        sums = [ops.sum(each[..., a:b], axis=-1) for a, b in zip(starts, ends, strict=True)]
        return ops.stack(sums, axis=-1)

    def mean(self, params):
        return self._of_params(lambda part, own: part.mean(own), params)

    def mode(self, params):
        return self._of_params(lambda part, own: part.mode(own), params)

    def sample(self, params, seed):
        return self._joined(
            part.sample(own, random.fold_in(seed, number))
            for number, (part, own) in enumerate(self._own(params))
        )

    def averaged(self, params):
        return {
            f"{key}/{name}": value
            for key, (part, own) in zip(self.likelihoods, self._own(params), strict=True)
            for name, value in part.averaged(own).items()
        }

    def point(self, averages):
        return self._of_params(lambda part, own: part.point(own), averages)

    def completed(self, params, x, seed):
        for key, part in self.likelihoods.items():
            if part.autoregressive:
                raise ValueError(
                    f"The modality {key!r} is written value by value, and cannot be imputed beside "
                    "others: use translate(…, seed=1, output='sample')."
                )
        return super().completed(params, x, seed)

    def filled(self, x, observed=None):
        x = ops.cast(x, self.dtype)
        observed = ops.logical_not(ops.isnan(x)) if observed is None else observed
        pairs = zip(self._parts(x), self._parts(observed), strict=True)
        return self._joined(part.filled(own, there) for (part, own), (_, there) in pairs)

    # The data.

    def encoder_input(self, x):
        parts = list(self._parts(ops.cast(x, self.dtype)))
        seen = [part.encoder_input(own) for part, own in parts]
        if all(new is old for new, (_, old) in zip(seen, parts, strict=True)):
            return x
        return self._joined(ops.cast(values, self.dtype) for values in seen)

    def from_encoder_input(self, values):
        return self._of_values(lambda part, own: part.from_encoder_input(own), values)

    @property
    def needs_data(self):
        return any(part.needs_data for part in self.likelihoods.values())

    def adapt(self, data):
        if not self.needs_data:
            super().adapt(data)
        if isinstance(data, Mapping):
            data = self.record(data)
        data = getattr(data, "examples", data)
        if not isinstance(data, np.ndarray):
            raise ValueError(
                "A modality takes its statistics from arrays: call model.likelihood.adapt({name: "
                "array, …}) before a training on batches."
            )
        parts = zip(self.likelihoods.values(), self.split(data).values(), strict=True)
        for part, values in parts:
            if part.needs_data:
                part.adapt(values)

    def take_missing(self):
        for part in self.likelihoods.values():
            part.take_missing()
        self.takes_missing = True

    def support(self):
        """Returns the widest range of any modality; `check` checks each by its own range."""
        ranges = [part.support() for part in self.likelihoods.values()]
        return min(r[0] for r in ranges), max(r[1] for r in ranges), "See the modalities."

    def element_in_support(self, x):
        return self._of_values(lambda part, own: part.element_in_support(own), x)

    def check_support(self, x, name="x"):
        if x.ndim != 2 or x.shape[1] != self.columns:
            raise ValueError(f"`{name}` has shape {x.shape}; a record has (n, {self.columns}).")
        for (key, values), part in zip(
            self.split(np.asarray(x)).items(), self.likelihoods.values(), strict=True
        ):
            part.check_support(values.reshape(len(values), *self._event(key)), f"{name}[{key!r}]")

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "likelihoods": {key: serialize(part) for key, part in self.likelihoods.items()},
            "shapes": {key: list(shape) for key, shape in self.shapes.items()},
        }


def check_names(modalities: Mapping) -> None:
    """Refuses names that modalities cannot have.

    Raises:
        ValueError: for what is no word, and for words that mean something else beside modalities.
    """
    for key in modalities:
        if not (isinstance(key, str) and key.isidentifier()) or key in _RESERVED:
            raise ValueError(
                f"A modality cannot be called {key!r}: take a word of letters, digits and _, but "
                f"for {', '.join(_RESERVED)}."
            )
