"""The weights that a training starts with."""

from typing import Any

import keras
import numpy as np

from kvae.utils import keras_internals

__all__ = ["start_at_the_mean"]

_LIMIT = 40.0  # The largest output, for pixels whose mean no output reaches.
_HALVINGS = 60


def start_at_the_mean(vae: Any, images: np.ndarray) -> None:
    """Sets the last bias of the decoder so that E[x|z] starts near the mean image.

    From zero the bias has a long way to go where a density has no upper bound, as that of a
    continuous Bernoulli where pixels are always black. All pixels then push the last hidden layer
    the same way, its units saturate, nothing of z comes through, and the posterior collapses.

    Args:
        vae: `kvae.VAE`, built and new, whose decoder ends in a dense layer. The mean of each value
            rises with the output of its channel.
        images: array `[n, *event]`.
    """
    wanted = (images.sum(axis=0, dtype=np.float64) + 0.5) / (len(images) + 1.0)
    channels = vae.event_shape[-1]
    outputs = np.zeros(vae.likelihood.output_shape(vae.event_shape), np.float32)
    low, high = np.full(wanted.shape, -_LIMIT), np.full(wanted.shape, _LIMIT)
    for _ in range(_HALVINGS):
        outputs[..., :channels] = middle = 0.5 * (low + high)
        mean = np.asarray(vae.likelihood.mean(vae.likelihood(outputs[None])))[0]
        low, high = np.where(mean < wanted, middle, low), np.where(mean < wanted, high, middle)
    layers = keras_internals.flat_layers(vae.decoder, include_self=False)
    last = [layer for layer in layers if isinstance(layer, keras.layers.Dense)][-1]
    last.bias.assign(outputs.ravel())
