"""Student's t-distribution: its density, and draws whose gradients reach its degrees of freedom."""

import math

import tensorflow as tf
from keras import ops

from kvae import random

__all__ = ["student_t_from_uniform", "student_t_log_density", "student_t_log_normalizer"]


def student_t_log_density(t, df):
    """Returns the log-density of the standard distribution at t, in nats.

    Args:
        t: tensor.
        df: float64 tensor, since log-gammas of large arguments cancel. Degrees of freedom.
    """
    half = 0.5 * (df + 1.0)
    log_power = ops.cast(half, "float32") * ops.log1p(ops.square(t) / ops.cast(df, "float32"))
    return -ops.cast(student_t_log_normalizer(df), "float32") - log_power


def student_t_log_normalizer(df):
    """Returns minus the logarithm of the density at 0, float64."""
    gammas = tf.math.lgamma(0.5 * df) - tf.math.lgamma(0.5 * (df + 1.0))
    return gammas + 0.5 * tf.math.log(math.pi * df)


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
