"""Networks of sequences: recurrent ones, and convolutions over time."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from kvae.utils import names
from zoo.networks import CHANNELS_LAST, KERNEL, STRIDED, join_label

__all__ = [
    "recurrent",
    "recurrent_decoder",
    "recurrent_encoder",
    "signal_decoder",
    "signal_encoder",
]

_CELLS = {"gru": layers.GRU, "lstm": layers.LSTM}
_UNROLLED = 64  # The most steps of which a graph holds each.
_Shape = Sequence[int]


def recurrent_encoder(
    event_shape: _Shape,
    width: int,
    label: int | None = None,
    cell: str = "lstm",
    bidirectional: bool = False,
) -> keras.Model:
    """Makes a recurrent network that reads the event row by row, up to the end of a sequence."""
    inputs = keras.Input(event_shape, name="image")
    x = inputs
    if len(event_shape) != 2:
        x = layers.Reshape((event_shape[0], math.prod(event_shape[1:])), name="rows")(inputs)
    x = recurrent(width, cell, event_shape[0], bidirectional)(x)
    inputs, x = join_label(inputs, x, label)
    return keras.Model(inputs, x, name="encoder")


def recurrent_decoder(
    output_shape: _Shape,
    latent_dim: int,
    width: int,
    label: int | None = None,
    cell: str = "lstm",
    bidirectional: bool = False,
) -> keras.Model:
    """Makes a recurrent network that is given `z` at every step and writes the event row by row."""
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, label)
    steps = output_shape[0]
    x = layers.RepeatVector(steps, name="repeat")(x)
    x = recurrent(width, cell, steps, bidirectional, return_sequences=True)(x)
    x = layers.Dense(math.prod(output_shape[1:]), name="outputs")(x)
    return keras.Model(inputs, layers.Reshape(output_shape, name="event")(x), name="decoder")


def recurrent(width: int, cell: str, steps: int, bidirectional: bool = False, **settings):
    """Returns an LSTM or a GRU, which reads in both directions on request.

    Args:
        width: int. Units, in each direction.
        cell: str. `"lstm"` or `"gru"`.
        steps: int. The length of the sequences.
        bidirectional: bool. Defaults to `False`.
        **settings: further arguments of the layer.

    Raises:
        ValueError: for an unknown cell.
    """
    if cell not in _CELLS:
        raise names.unknown_name("cell", cell, _CELLS)
    # Unrolled: a loop would need operators that TFLite's built-in set does not have.
    layer = _CELLS[cell](width, unroll=steps <= _UNROLLED, name=cell, **settings)
    return layers.Bidirectional(layer, name=f"both_ways_{cell}") if bidirectional else layer


def signal_encoder(
    event_shape: _Shape, filters: _Shape, hidden: int = 0, label: int | None = None
) -> keras.Model:
    """Makes an encoder of convolutions over time, of stride 2, for events `(steps, channels)`."""
    inputs = keras.Input(event_shape, name="signal")
    x = inputs
    for index, width in enumerate(filters):
        x = layers.Conv1D(width, 5, activation="silu", name=f"down_{index}", **STRIDED)(x)
    inputs, x = join_label(inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), label)
    x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
    return keras.Model(inputs, x, name="encoder")


def signal_decoder(
    output_shape: _Shape,
    latent_dim: int,
    filters: _Shape,
    hidden: int = 0,
    label: int | None = None,
) -> keras.Model:
    """Makes the mirror image of `signal_encoder`: dense layers, then transposed convolutions."""
    steps, channels = output_shape
    rows = math.ceil(steps / 2 ** len(filters))
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, label)
    x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
    x = layers.Dense(rows * filters[-1], "silu", name="seed")(x)
    x = layers.Reshape((rows, filters[-1]), name="grid")(x)
    for index, width in enumerate(reversed(filters[:-1])):
        x = layers.Conv1DTranspose(width, KERNEL, activation="silu", name=f"up_{index}", **STRIDED)(
            x
        )
    x = layers.Conv1DTranspose(channels, KERNEL, name="outputs", **STRIDED)(x)
    if x.shape[1] > steps:
        x = layers.Cropping1D((0, x.shape[1] - steps), name="crop")(x)
    return keras.Model(inputs, x, name="decoder")
