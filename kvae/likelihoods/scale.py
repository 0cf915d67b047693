"""The scale of the data: x as the encoder sees it, and statistics of a training set."""

import math
from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from kvae.datasets import kinds
from kvae.datasets.dataset import Dataset
from kvae.likelihoods.likelihood import Likelihood
from kvae.utils import callers, masks

__all__ = ["EncoderInput", "ScaledInput", "Standardized", "blocks", "learn_scale"]

_VALUES = 1 << 22  # Looked at together, to bound the memory.
_ROWS = 4096  # Looked at for the warning.
_FAR = 10.0  # Root mean square of a column, above which its scale is worth a warning.
_CLOSE = 0.01  # Largest standard deviation of all columns, below which it is.


@keras.saving.register_keras_serializable(package="kvae.likelihoods")
class EncoderInput(keras.layers.Layer):
    """A layer that turns x into what the encoder sees: `likelihood.encoder_input`.

    Args:
        likelihood: `Likelihood`.
        missing: `kvae.fills.Fill` or `None`. What the encoder sees in the place of NaN. Defaults to
            `None`: NaN means nothing.
        masks_steps: bool. Whether steps after the end of a sequence get Keras's mask. Defaults to
            `False`: what the fill knows of its model.
    """

    def __init__(
        self, likelihood, missing=None, masks_steps: bool = False, *, dtype="float32", **kwargs
    ):
        super().__init__(dtype=dtype, **kwargs)
        if isinstance(likelihood, dict):
            likelihood = keras.saving.deserialize_keras_object(likelihood)
        if isinstance(missing, dict):
            missing = keras.saving.deserialize_keras_object(missing)
        self.likelihood, self.missing = likelihood, missing
        if masks_steps:
            missing.masks_steps = True

    def build(self, input_shape):
        if isinstance(self.likelihood, Standardized):
            self.likelihood.ensure_built(input_shape[1:])
        self.built = True

    def call(self, x):
        if self.missing is None:
            return self.likelihood.encoder_input(x)
        return self.missing.seen(self.likelihood, x, masks.observed(x))

    def compute_output_shape(self, input_shape):
        if self.missing is None:
            return input_shape
        return (input_shape[0], *self.missing.input_shape(input_shape[1:]))

    def get_config(self):
        save = keras.saving.serialize_keras_object
        own = {} if self.missing is None else {"missing": save(self.missing)}
        if self.missing is not None and self.missing.masks_steps:
            own["masks_steps"] = True
        return {**super().get_config(), "likelihood": save(self.likelihood), **own}


class ScaledInput(Likelihood):
    """A likelihood whose encoder sees x on another scale, unless `scale_input=False`."""

    def __init__(self, scale_input: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.scale_input = _truth("scale_input", scale_input)

    @classmethod
    def from_config(cls, config):
        # Saved configurations without the argument belong to encoders that were trained on x.
        return super().from_config({"scale_input": False, **config})

    def get_config(self):
        return {**super().get_config(), "scale_input": self.scale_input}


class Standardized(Likelihood):
    """A likelihood that can take the location and the scale of its columns from training data.

    With `standardize=True` the encoder sees standardised values, and what the decoder returns is
    relative to the same statistics. Everything else stays in the units of the data: x, the
    parameters, means, draws and log p(x). A column is an entry of the last axis of x.

    `fit` takes the statistics from its data, unless there are some already; `adapt` takes them from
    any data. They are weights that no optimizer trains, saved and exported with the model.
    """

    def __init__(self, standardize: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.standardize = _truth("standardize", standardize)

    @property
    def needs_data(self):
        return self.standardize and not (self.built and bool(self.adapted.numpy()))

    def build(self, outputs_shape):
        if self.standardize:
            columns = (outputs_shape[-1] // self.num_parameters,)
            kept = {"trainable": False, "aggregation": "mean"}
            self.data_location = self.add_weight(
                shape=columns, initializer="zeros", name="data_location", **kept
            )
            self.data_scale = self.add_weight(
                shape=columns, initializer="ones", name="data_scale", **kept
            )
            self.adapted = self.add_weight(shape=(), initializer="zeros", name="adapted", **kept)
        self.built = True

    def encoder_input(self, x):
        if not self.standardize:
            return x
        self.ensure_built(x.shape[1:])
        return (ops.cast(x, self.dtype) - self.data_location) / self.data_scale

    def from_encoder_input(self, values):
        return values * self.data_scale + self.data_location if self.standardize else values

    def adapt(self, data):
        if not self.standardize:
            super().adapt(data)
        mean, deviation, _, event_shape = _moments(self, data)
        self.ensure_built(event_shape)
        self.set_statistics(mean, deviation)

    def ensure_built(self, event_shape) -> None:
        """Makes the weights before the first call, for callers that need the statistics earlier."""
        if not self.built:
            self.build((None, *self.output_shape(tuple(event_shape))))

    def set_statistics(self, mean, deviation) -> None:
        """Stores location and scale, given the columns' means and deviations, float64 `[c]`."""
        location, scale = self.location_and_scale(mean, deviation)
        self.data_location.assign(location)
        self.data_scale.assign(scale)
        self.adapted.assign(1.0)

    def location_and_scale(self, mean, deviation):
        """Returns the statistics of the columns, from their means and standard deviations."""
        # A column without spread has a location only; rounding in float32 leaves such deviations.
        return mean, np.where(deviation > 1e-7 * np.abs(mean), deviation, 1.0)

    def far_columns(self, mean, deviation, largest) -> np.ndarray:
        """Returns which columns have a scale that hinders a training, bool `[c]`."""
        if self.standardize:
            return np.zeros(mean.shape, bool)
        close = (deviation > 0) & (deviation.max() < _CLOSE)
        return (np.hypot(mean, deviation) > _FAR) | close

    def advice(self) -> str:
        """Returns what to do about such columns, for the warning."""
        return f"Standardise them, or use {type(self).__name__}(standardize=True)."

    def get_config(self):
        # Cards and checkpoints hold configurations without the argument, and are sealed.
        own = {"standardize": True} if self.standardize else {}
        return {**super().get_config(), **own}


def learn_scale(likelihood, data) -> None:
    """Prepares a likelihood for a training on `data`.

    A likelihood that standardizes takes the statistics that it does not have yet. For others, data
    in memory that are far from unit scale cause a warning.

    Args:
        likelihood: `Likelihood` of a built model.
        data: what the model trains on, checked: an array, `(x, label)`, a `Dataset` or batches;
            `None` where it is not known as a whole.

    Raises:
        ValueError: where there are no statistics, and the data come batch by batch.
    """
    x = data[0] if isinstance(data, tuple) else data
    in_memory = isinstance(x, (np.ndarray, Dataset))
    if likelihood.needs_data:
        if not in_memory and not hasattr(x, "batches"):
            raise ValueError(
                f"{type(likelihood).__name__}(standardize=True) has no statistics of the data yet, "
                "and cannot take them from batches that may have no end. Call "
                "model.likelihood.adapt(data) before the training, with an array, a Dataset, a "
                "Stream or a finite tf.data.Dataset."
            )
        likelihood.adapt(x)
    if in_memory and isinstance(likelihood, Standardized):
        _warn_of_scale(likelihood, x)


def _warn_of_scale(likelihood, x) -> None:
    x = next(blocks(x[:_ROWS]))
    mean, deviation, largest, _ = _moments(likelihood, x)
    far = likelihood.far_columns(mean, deviation, largest)
    if not far.any():
        return
    size = np.hypot(mean, deviation)
    column = int(np.argmax(np.where(far, size, -1.0)))
    outputs = np.zeros((len(x), *likelihood.output_shape(x.shape[1:])), np.float32)
    loss = -float(ops.mean(likelihood.log_prob(likelihood(outputs), x)))
    callers.warn(
        f"The data are far from unit scale: of {len(far)} columns (entries of the last axis) "
        f"{int(far.sum())} are, e.g. column {column} with mean {mean[column]:.4g} and standard "
        f"deviation {deviation[column]:.4g}. The first reconstruction loss is expected at about "
        f"{loss:.3g} nats. {likelihood.advice()}",
    )


def _moments(likelihood, data):
    """Returns mean, standard deviation and largest value of each column, and the event's shape.

    float64, `[c]`, in one pass over the data (Chan et al. 1983, Algorithms for Computing the Sample
    Variance).
    """
    count, mean, squares, largest = 0, 0.0, 0.0, -np.inf
    for block in blocks(data):
        shape = block.shape[1:]
        values = likelihood.check(block, support=False, missing=likelihood.takes_missing)
        values = values.reshape(-1, shape[-1]).astype(np.float64)
        there = masks.observed(values)
        if there.all():
            n, own = len(values), values.mean(axis=0)
            squares = squares + ((values - own) ** 2).sum(axis=0)
        else:  # A column without a value has the mean 0, and counts for nothing.
            n = there.sum(axis=0)
            own = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
            squares = squares + (np.where(there, values - own, 0.0) ** 2).sum(axis=0)
            values = np.where(there, values, -np.inf)
        distance, count = own - mean, count + n
        known = np.maximum(count, 1)
        squares = squares + distance**2 * (count - n) * n / known
        mean = mean + distance * n / known
        largest = np.maximum(largest, values.max(axis=0))
    if not np.any(count):
        raise ValueError("There are no data to take statistics of.")
    return mean, np.sqrt(squares / np.maximum(count, 1)), largest, shape


def blocks(data):
    """Yields arrays of examples, each of bounded size."""
    data = kinds.recognize(data)
    if kinds.gives_batches(data):
        stream = hasattr(data, "batches")
        for batch in data.batches(1024) if stream else kinds.batches(data):
            x = keras.utils.unpack_x_y_sample_weight(batch)[0]
            x = kinds.entries(x)[0] if isinstance(x, Mapping) else x
            yield np.asarray(x[0] if isinstance(x, tuple) else x)
        return
    held = isinstance(data, Dataset)
    rows = max(1, _VALUES // max(1, math.prod(data.event_shape if held else data.shape[1:])))
    for start in range(0, len(data), rows):
        block = data[start : start + rows]
        yield block.examples if held else np.asarray(block)


def _truth(name: str, value) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` is True or False, not {value!r}.")
    return bool(value)
