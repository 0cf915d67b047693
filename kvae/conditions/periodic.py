"""A condition that is an angle or a time of the day, whose end is its beginning."""

import math

import numpy as np
import tensorflow as tf

from kvae.conditions.condition import Condition, register

__all__ = ["Periodic"]


@register("periodic")
class Periodic(Condition):
    """A number that comes back after a period: an angle, an hour of the day, a day of the year.

    NaN is unknown. Networks see the cosine and the sine of 2π value / period, so that the end of a
    period is its beginning; where the value is unknown, a learned pair, which starts in the middle
    of the circle.

    Args:
        period: float. Defaults to `2π`, for angles in radians.

    Raises:
        ValueError: for a period that is not positive.

    Example:

    ```python
    kvae.conditions.Conditions({"hour": kvae.conditions.Periodic(24.0), "angle": "periodic:360"})
    ```
    """

    width = 2
    wanted = "a finite number, or NaN where it is unknown"

    def __init__(self, period: float = 2 * math.pi, **kwargs):
        super().__init__(**kwargs)
        if not 0 < period < math.inf:
            raise ValueError(f"`period` is positive and finite, not {period}.")
        self.period = period

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
        return tf.concat([tf.cos(angle), tf.sin(angle)], -1), tf.concat([known, known], -1)

    def example(self, rows, generator):
        return self.period * generator.random(rows)

    def get_config(self):
        return {**super().get_config(), "period": self.period}

    def facts(self):
        return {**super().facts(), "period": self.period}
