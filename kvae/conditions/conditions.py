"""All conditions of a model: the check of their values, and what networks see of them."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kvae import random
from kvae.conditions.condition import Condition, get
from kvae.datasets import kinds
from kvae.parts import Part
from kvae.utils import callers, names

__all__ = ["INPUTS_OF_SIGNATURES", "Conditions", "learn_conditions", "of_model"]

# The names of inputs in `export.signatures`, which conditions stand beside when a model is served;
# an input of image files ends in `_bytes`.
INPUTS_OF_SIGNATURES = (
    *("z", "z_start", "z_end", "image", "image_start", "image_end", "guess", "mask", "cells"),
    *("label", "seed", "temperature", "steps", "num_samples"),
)


@keras.saving.register_keras_serializable(package="kvae.conditions")
class Conditions(Part):
    """The named conditions of a model. Any value of an example may be left unknown.

    `kvae.VAE(conditions={"digit": 10, "thickness": "real"})` makes one. Values are a dict from
    names to arrays; a name that is left out, −1 for a class and NaN for numbers are unknown. A
    *record* holds the values of all conditions as one float32 tensor `[n, columns]`, in the order
    of the names: it is what a model carries beside x. Networks see `encode(record)`,
    `[n, size]`, with learned numbers in the place of what is unknown.

    Args:
        conditions: mapping from names to conditions or their short forms, see
            `kvae.conditions.get`.
        unknown_rate: float. The share of the values that are hidden in training, at random and each
            for itself, so that the model learns what to do without them even from complete data.
            Defaults to `0.0`.
        name: str. Defaults to `"conditions"`.

    Raises:
        ValueError: for no condition, a name that is no word, and a rate out of [0, 1).

    Warns:
        UserWarning: for the name of an input of exported signatures, such as `"seed"`.

    Example:

    ```python
    conditions = kvae.conditions.Conditions(
        {"digit": 10, "thickness": kvae.conditions.Real(2.0, 0.5)}, unknown_rate=0.1
    )
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, conditions=conditions)
    vae.sample(4, label={"digit": 7, "thickness": [1.0, 2.0, 3.0, np.nan]}, seed=1)
    ```

    Reference:
        - [Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
          Models](https://papers.nips.cc/paper/5775): conditional VAEs
        - [Ho & Salimans, Classifier-Free Diffusion Guidance](https://arxiv.org/abs/2207.12598): a
          condition that is hidden at random, with a learned "unknown"
    """

    def __init__(
        self, conditions: Mapping, unknown_rate: float = 0.0, name: str = "conditions", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        if not isinstance(conditions, Mapping) or not conditions:
            raise ValueError(
                "`conditions` is a dict from names to conditions, e.g. {'digit': 10, 'thickness': "
                f"'real', 'tags': ('multi', 5)}}, not {conditions!r}."
            )
        for key in conditions:
            if not (isinstance(key, str) and key.isidentifier()):
                raise ValueError(
                    f"A condition cannot be called {key!r}: take a word of letters, digits and _."
                )
            if key in kinds.RESERVED:
                raise ValueError(
                    f"A condition cannot be called {key!r}, which in a dict of data says what of x "
                    "was observed: take another name."
                )
            if key.removesuffix("_bytes") in INPUTS_OF_SIGNATURES:
                callers.warn(
                    f"The condition {key!r} has the name of an input of exported signatures, so "
                    "the model cannot be exported: give the condition another name."
                )
        if not 0.0 <= unknown_rate < 1.0:
            raise ValueError(f"`unknown_rate` is at least 0 and less than 1, not {unknown_rate}.")
        self.unknown_rate = float(unknown_rate)
        self.kinds: dict[str, Condition] = {}
        for key, value in conditions.items():
            self.kinds[key] = kind = get(value)
            kind.name = key  # The same in every process, unlike the names that Keras gives.
        self.columns = sum(kind.columns for kind in self.kinds.values())
        self.size = sum(kind.width for kind in self.kinds.values())

    def build(self, *_):
        if self.built:
            return
        for kind in self.kinds.values():
            kind.build(None)
        start = np.concatenate([kind.start() for kind in self.kinds.values()])
        self.unknown = self.add_weight(
            shape=(self.size,), initializer=lambda *_, **__: tf.constant(start), name="unknown"
        )
        self.built = True

    def record(self, values, rows=None, name: str = "label"):
        """Checks values; returns them as a float32 tensor `[n, columns]`.

        Args:
            values: mapping from names to arrays `[n]`, `[n, labels]` or single values, which hold
                for all rows; a frame with columns of these names; a record. For a single condition
                its bare values do as well.
            rows: int, scalar tensor or `None`. The number of rows that there have to be. Defaults
                to `None`: as many as the values have.
            name: str. How errors call the values.

        Raises:
            ValueError: for an unknown name, values that a condition does not have, and another
                number of rows.
        """
        found = {key: self.kinds[key].record(v, key) for key, v in self._named(values, name)}
        counts = {key: v.shape[0] for key, v in found.items() if v.shape.rank == 2}
        known = {count for count in counts.values() if count is not None}
        if isinstance(rows, int):
            wrong = [key for key, count in counts.items() if count not in (None, rows)]
            if wrong:
                raise ValueError(f"`{wrong[0]}` has {counts[wrong[0]]} rows for {rows} examples.")
        elif len(known) > 1:
            said = ", ".join(f"`{key}` has {count} rows" for key, count in counts.items())
            raise ValueError(f"Conditions have one value for each example, but {said}.")
        if rows is None:
            many = [value for value in found.values() if value.shape.rank == 2]
            rows = tf.shape(many[0])[0] if many else 1
        columns = []
        for key, kind in self.kinds.items():
            value = found.get(key, tf.constant([kind.unknown] * kind.columns, tf.float32))
            if value.shape.rank == 1:
                value = tf.tile(value[None], [rows, 1])
            columns.append(value)
        return tf.concat(columns, axis=-1)

    def _named(self, values, name: str) -> list[tuple]:
        """Returns pairs of the names and the values of conditions."""
        if hasattr(values, "columns") and hasattr(values, "to_numpy"):
            values = {column: values[column] for column in values.columns}
        if isinstance(values, Mapping):
            for key in values:
                if key not in self.kinds:
                    raise names.unknown_name("condition", key, self.kinds)
            return list(values.items())
        if len(self.kinds) == 1:
            return [(next(iter(self.kinds)), values)]
        if not tf.is_symbolic_tensor(values):
            if isinstance(values, (str, bytes)):
                values = np.array(values, object)
            values = kinds.as_array(values, name, only_numbers=False)
        shape = tf.TensorShape(values.shape)
        if shape.rank != 2 or shape[-1] != self.columns:
            example = ", ".join(f"{key!r}: …" for key in self.kinds)
            raise ValueError(
                f"`{name}` has shape {tuple(values.shape)}; it is a dict from the names of the "
                f"conditions to arrays, {{{example}}}."
            )
        return list(self.split(values).items())

    def entries(self, data: Mapping) -> dict:
        """Returns those entries of a dict of data that are conditions."""
        return {key: value for key, value in data.items() if key in self.kinds and key != "x"}

    def split(self, record) -> dict:
        """Returns the values of a record by name: `[..., columns]`, without the axis for one."""
        found, first = {}, 0
        for key, kind in self.kinds.items():
            part = record[..., first : first + kind.columns]
            found[key] = part[..., 0] if kind.columns == 1 else part
            first += kind.columns
        return found

    def fits(self, record):
        """Returns a bool tensor of the shape of a record, False for what is no value."""
        return self._concatenated(record, lambda kind, part: kind.fits(part))

    def encode(self, record):
        """Returns what networks see of a record `[..., columns]`: float32 `[..., size]`."""
        record = tf.convert_to_tensor(record, tf.float32)
        values = self._concatenated(record, lambda kind, part: kind.encode(part)[0])
        known = self._concatenated(record, lambda kind, part: kind.encode(part)[1])
        return tf.where(known, values, tf.convert_to_tensor(self.unknown))

    def hidden(self, record, seed):
        """Returns a record of which a share of `unknown_rate` of the values is unknown.

        Args:
            record: tensor `[n, columns]`.
            seed: int32 tensor `[2]`.
        """
        if not self.unknown_rate:
            return record
        draw = random.uniform((tf.shape(record)[0], len(self.kinds)), seed) < self.unknown_rate
        of = np.repeat(np.arange(len(self.kinds)), [kind.columns for kind in self.kinds.values()])
        return tf.where(tf.gather(draw, of, axis=1), self.unknown_record(1), record)

    def unknown_record(self, rows):
        """Returns the record of `rows` examples of which nothing is known."""
        one = [kind.unknown for kind in self.kinds.values() for _ in range(kind.columns)]
        return tf.tile(tf.constant([one], tf.float32), [rows, 1])

    def examples(self, rows: int, seed: int = 0):
        """Returns a record of made-up values, of which some are unknown, to try a model out."""
        generator = np.random.default_rng(seed)
        found = {key: kind.example(rows, generator) for key, kind in self.kinds.items()}
        for number, value in enumerate(found.values()):
            value[number + 1 :: 7] = np.nan
        return self.record(found, rows)

    @property
    def needs_data(self) -> bool:
        """Returns whether `adapt` still has to be called before the training."""
        return any(kind.needs_data for kind in self.kinds.values())

    def adapt(self, values) -> None:
        """Takes what conditions need from the values of a training set, as `record` takes them."""
        record = self.record(values).numpy()
        for key, part in self.split(record).items():
            if self.kinds[key].needs_data:
                self.kinds[key].adapt(part)

    def parse(self, text: str) -> dict:
        """Returns the values that a text stands for, as `record` takes them.

        Args:
            text: str. `"shape=heart,scale=0.8"`; labels of one condition are joined by `+`.

        Raises:
            ValueError: for a text of another form, an unknown name and a wrong value.
        """
        found = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = item.partition("=")
            if not equals:
                first = next(iter(self.kinds))
                raise ValueError(
                    f"{item!r} is no condition: conditions are given as NAME=VALUE, with commas "
                    f"between them, e.g. {first}=…."
                )
            if key not in self.kinds:
                raise names.unknown_name("condition", key, self.kinds)
            if key in found:
                raise ValueError(f"The condition {key!r} has two values in {text!r}: give one.")
            found[key] = self.kinds[key].parse(value, key)
        return found

    def cells(self, row) -> list[str]:
        """Returns the values of a row `[columns]` of a record as a table shows them.

        What is unknown is empty.
        """
        parts = {key: np.atleast_1d(part) for key, part in self.split(np.asarray(row)).items()}
        return [
            "" if self.kinds[key].is_unknown(part) else self.kinds[key].shown(part)
            for key, part in parts.items()
        ]

    def shown(self, row) -> str:
        """Returns a row `[columns]` of a record as a title shows it, without what is unknown."""
        cells = zip(self.kinds, self.cells(row), strict=True)
        return ", ".join(f"{key}={cell}" for key, cell in cells if cell)

    def facts(self) -> dict:
        """Returns what programs need that make records and encode them, as JSON takes it."""
        found = {key: kind.facts() for key, kind in self.kinds.items()}
        start = 0
        for kind in found.values():
            kind["unknown"] = [float(v) for v in self.unknown[start : start + kind["width"]]]
            start += kind["width"]
        return found

    def _concatenated(self, record, function):
        parts, first = [], 0
        for kind in self.kinds.values():
            parts.append(function(kind, record[..., first : first + kind.columns]))
            first += kind.columns
        return tf.concat(parts, axis=-1)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "conditions": {key: serialize(kind) for key, kind in self.kinds.items()},
            "unknown_rate": self.unknown_rate,
        }


def of_model(identifier) -> Conditions | None:
    """Returns the conditions that `kvae.VAE` is given, a dict or a config; `None` stands for none.

    Raises:
        ValueError, TypeError: for what names no conditions.
    """
    if identifier is None or isinstance(identifier, Conditions):
        return identifier
    if isinstance(identifier, Mapping) and "class_name" in identifier and "config" in identifier:
        return keras.saving.deserialize_keras_object(identifier)
    return Conditions(identifier)


def learn_conditions(vae, data) -> None:
    """Gives the conditions of a model, where it has some, what they need of the training data.

    Args:
        vae: `kvae.VAE`, built.
        data: what the model trains on, checked; `None` where it is not known as a whole.

    Raises:
        ValueError: where means are needed, and the data come batch by batch.
    """
    if vae.conditions is None or not vae.conditions.needs_data:
        return
    label = data[1] if isinstance(data, tuple) else getattr(data, "labels", None)
    if label is None:
        wanting = [key for key, kind in vae.conditions.kinds.items() if kind.needs_data]
        raise ValueError(
            f"The condition {wanting[0]!r} has no mean and no standard deviation of the data yet, "
            "and cannot take them from batches that may have no end. Give them, "
            f"{{{wanting[0]!r}: kvae.conditions.Real(mean, scale)}}, or call "
            f"model.conditions.adapt({{{wanting[0]!r}: values}}) before the training."
        )
    vae.conditions.adapt(label)
