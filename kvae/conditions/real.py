"""A condition that is a real number."""

import numpy as np
import tensorflow as tf

from kvae.conditions.condition import Condition, register

__all__ = ["Real"]


@register("real")
class Real(Condition):
    """A real number: an age, a thickness, a temperature.

    NaN is unknown. Networks see two numbers: the value, standardized, and 0; where it is unknown,
    a learned pair, which starts as 0 and 1. Mean and standard deviation are those of the values
    that are known in the first training (`kvae.VAE.fit`), unless both are given or
    `Conditions.adapt` has been called; they are saved with the model.

    Args:
        mean, scale: float or `None`. What is subtracted, and what is divided by. Default to `None`:
            the mean and the standard deviation of the training data.

    Raises:
        ValueError: when one of `mean` and `scale` is given alone, or `scale` is not positive.

    Example:

    ```python
    kvae.conditions.Conditions({"thickness": "real", "angle": kvae.conditions.Real(0.0, 0.5)})
    ```
    """

    width = 2
    wanted = "a finite number, or NaN where it is unknown"

    def __init__(self, mean: float | None = None, scale: float | None = None, **kwargs):
        super().__init__(**kwargs)
        if (mean is None) != (scale is None):
            raise ValueError("Real takes both `mean` and `scale`, or neither.")
        if scale is not None and not (scale > 0 and np.isfinite([mean, scale]).all()):
            raise ValueError(f"`scale` is positive, not {scale}, and both are finite.")
        self.mean, self.scale = mean, scale

    def build(self, *_):
        if self.mean is None and not self.built:
            kept = {"shape": (), "trainable": False, "aggregation": "mean"}
            self.own_mean = self.add_weight(initializer="zeros", name="mean", **kept)
            self.own_scale = self.add_weight(initializer="ones", name="scale", **kept)
            self.adapted = self.add_weight(initializer="zeros", name="adapted", **kept)
        self.built = True

    @property
    def needs_data(self):
        return self.mean is None and not (self.built and bool(self.adapted.numpy()))

    def adapt(self, record):
        known = np.asarray(record, np.float64)[~np.isnan(record)]
        self.own_mean.assign(known.mean() if known.size else 0.0)
        deviation = known.std() if known.size else 0.0
        self.own_scale.assign(deviation if deviation > 0 else 1.0)
        self.adapted.assign(1.0)

    @property
    def statistics(self) -> tuple:
        """The mean and the scale: networks see `(value − mean) / scale`."""
        if self.mean is not None:
            return self.mean, self.scale
        return self.own_mean, self.own_scale

    def checked(self, values, name):
        with np.errstate(over="ignore"):  # Records are float32.
            infinite = np.isinf(values.astype(np.float32)).any()
        if infinite:
            raise ValueError(f"`{name}` holds infinite numbers; it is {self.wanted}.")

    def fits(self, record):
        return ~tf.math.is_inf(record)

    def encode(self, record):
        mean, scale = self.statistics
        known = ~tf.math.is_nan(record)
        value = (tf.where(known, record, mean) - mean) / scale
        return tf.concat([value, tf.zeros_like(value)], -1), tf.concat([known, known], -1)

    def example(self, rows, generator):
        mean, scale = map(float, self.statistics)
        return mean + scale * generator.normal(size=rows)

    def start(self):
        return np.array([0.0, 1.0], np.float32)

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "scale": self.scale}

    def facts(self):
        mean, scale = map(float, self.statistics)
        return {**super().facts(), "mean": mean, "scale": scale}
