"""Student's t-distribution: its density, and draws whose gradients reach its degrees of freedom."""

import math

import tensorflow as tf
from keras import ops

from kvae import random

__all__ = [
    "student_t_from_uniform",
    "student_t_log_density",
    "student_t_log_normalizer",
    "student_t_single_normalizer",
]


def student_t_log_density(t, df, normalizer=None):
    """Returns the log-density of the standard distribution at t, in nats.

    Args:
        t: tensor.
        df: float64 tensor, since log-gammas of large arguments cancel. Degrees of freedom.
        normalizer: tensor or `None`. Minus the logarithm of the density at 0, with which df may be
            float32. Defaults to `None`: `student_t_log_normalizer(df)`.
    """
    normalizer = student_t_log_normalizer(df) if normalizer is None else normalizer
    half = 0.5 * (df + 1.0)
    log_power = ops.cast(half, "float32") * ops.log1p(ops.square(t) / ops.cast(df, "float32"))
    return -ops.cast(normalizer, "float32") - log_power


def student_t_log_normalizer(df):
    """Returns minus the logarithm of the density at 0, float64."""
    gammas = tf.math.lgamma(0.5 * df) - tf.math.lgamma(0.5 * (df + 1.0))
    return gammas + 0.5 * tf.math.log(math.pi * df)


def student_t_single_normalizer(df):
    """Returns the same in float32, for df above 1, many times as fast.

    With x = df / 2 it is log Γ(x) − log Γ(x + 1/2) + log(π df) / 2. From x = 5 on the difference is
    given to 1e-8 by three terms of its series in 1/x, and the recurrence of Γ leads there.
    """
    x = 0.5 * df
    below = ops.log(x * (x + 1.0) * (x + 2.0) * (x + 3.0))
    above = ops.log((x + 0.5) * (x + 1.5) * (x + 2.5) * (x + 3.5))
    far = 1.0 / (x + 4.0)
    series = 0.5 * ops.log(x + 4.0) - far * (1 / 8 - far**2 * (1 / 192 - far**2 / 640))
    return above - below - series + 0.5 * ops.log(math.pi * df)


def student_t_from_uniform(pairs, df):
    """Returns draws `[...]`, made of pairs of uniform numbers `[..., 2]` on [0, 1).

    With u and v uniform, `sqrt(df (u^(-2/df) − 1)) cos(2πv)` has exactly Student's distribution.

    Args:
        pairs: tensor `[..., 2]`.
        df: float32 tensor `[...]`, or one that is broadcast to it.

    Reference:
        - [Bailey, Polar generation of random variates with the t-distribution, Mathematics of
          Computation 62 (1994)](https://doi.org/10.1090/S0025-5718-1994-1219702-8)
    """
    pairs = random.to_open(pairs)
    radius = ops.sqrt(df * ops.expm1(-2.0 / df * ops.log(pairs[..., 0])))
    return radius * ops.cos(2 * math.pi * pairs[..., 1])
