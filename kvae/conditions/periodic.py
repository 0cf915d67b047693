"""A condition that is an angle or a time of the day, whose end is its beginning."""

import math

import numpy as np
import tensorflow as tf

from kvae.conditions.condition import Condition, register

__all__ = ["Periodic"]


@register("periodic")
class Periodic(Condition):
    """A number that comes back after a period: an angle, an hour of the day, a day of the year.

    NaN is unknown. Networks see cosines and sines of 2π k value / period for k = 1 …
    `harmonics`, so that the end of a period is its beginning; where the value is unknown, learned
    numbers, which start as 0. What looks the same several times in a period, such as a square that
    is turned, is learned far sooner with a harmonic for it.

    Args:
        period: float. Defaults to `2π`, for angles in radians.
        harmonics: int. Defaults to `1`: one cosine and one sine.

    Raises:
        ValueError: for a period that is not positive, and less than one harmonic.

    Example:

    ```python
    kvae.conditions.Conditions({"hour": kvae.conditions.Periodic(24.0), "angle": "periodic:360"})
    ```
    """

    wanted = "a finite number, or NaN where it is unknown"

    def __init__(self, period: float = 2 * math.pi, harmonics: int = 1, **kwargs):
        super().__init__(**kwargs)
        if not 0 < period < math.inf:
            raise ValueError(f"`period` is positive and finite, not {period}.")
        if harmonics < 1:
            raise ValueError(f"`harmonics` is at least 1, not {harmonics}.")
        self.period, self.harmonics = period, int(harmonics)
        self.width = 2 * self.harmonics

    def checked(self, values, name):
        with np.errstate(over="ignore"):  # Records are float32.
            infinite = np.isinf(values.astype(np.float32)).any()
        if infinite:
            raise ValueError(f"`{name}` holds infinite numbers; it is {self.wanted}.")

    def fits(self, record):
        return ~tf.math.is_inf(record)

    def encode(self, record):
        known = ~tf.math.is_nan(record)
        angle = tf.where(known, record, 0.0) * (2 * math.pi / self.period)
        angle *= tf.range(1.0, self.harmonics + 1.0)
        known = tf.repeat(known, self.width, axis=-1)
        return tf.concat([tf.cos(angle), tf.sin(angle)], -1), known

    def example(self, rows, generator):
        return self.period * generator.random(rows)

    def get_config(self):
        further = {"harmonics": self.harmonics} if self.harmonics > 1 else {}
        return {**super().get_config(), "period": self.period, **further}

    def facts(self):
        return {**super().facts(), "period": self.period}
