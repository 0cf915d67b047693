"""A likelihood for examples of several modalities, such as an image and its label."""

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from kvae import random
from kvae.likelihoods import likelihood as base
from kvae.likelihoods.likelihood import Likelihood, register
from kvae.likelihoods.records import Records

__all__ = ["Modalities"]

# Names that stand for something else where modalities are given by name.
_RESERVED = ("mask", "to", "output", "seed", "batch_size")


@register()
class Modalities(Records, Likelihood):
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
