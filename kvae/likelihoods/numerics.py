"""What several likelihoods need: the outputs of each value, and noise whose logs are finite."""

from keras import ops

from kvae import random

__all__ = ["gumbel", "logistic", "open_uniform", "per_value"]


def per_value(outputs, size: int):
    """Turns `[..., c · size]` into `[..., c, size]`: the `size` outputs of each value of x."""
    channels = outputs.shape[-1] // size
    return ops.reshape(outputs, (-1, *outputs.shape[1:-1], channels, size))


def open_uniform(shape, seed):
    """Draws from the uniform distribution on (0, 1), both ends left out: logs stay finite."""
    return random.uniform(shape, seed) + 2.0**-24


def logistic(shape, seed):
    """Draws from the standard logistic distribution."""
    noise = open_uniform(shape, seed)
    return ops.log(noise) - ops.log1p(-noise)


def gumbel(shape, seed):
    """Draws from the standard Gumbel distribution: argmax(logits + gumbel) is a class drawn."""
    return -ops.log(-ops.log(open_uniform(shape, seed)))
