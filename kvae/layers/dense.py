"""Stacks of dense layers, plain and gated."""

import keras
from keras import layers

__all__ = ["dense_network", "hidden_layers"]


def hidden_layers(x, widths, activation: str, dtype=None):
    """Applies dense layers; with `activation="gated"` each is `(Wx + b) · sigmoid(Vx + c)`.

    A gated layer consists of two plain ones, which every export format knows.

    Args:
        x: Keras tensor `[..., features]`.
        widths: sequence of int. Units of each layer.
        activation: str. A Keras activation, or `"gated"`.
        dtype: str, Keras dtype policy or `None`. Of the layers. Defaults to `None`: Keras's policy.

    Reference:
        - [Dauphin et al., Language Modeling with Gated Convolutional Networks, eq. 1](
          https://arxiv.org/abs/1612.08083)
    """
    for index, width in enumerate(widths):
        name = f"hidden_{index}"
        if activation == "gated":
            value = layers.Dense(width, name=f"{name}_value", dtype=dtype)(x)
            gate = layers.Dense(width, "sigmoid", name=f"{name}_gate", dtype=dtype)(x)
            x = layers.Multiply(name=name, dtype=dtype)([value, gate])
        else:
            x = layers.Dense(width, activation, name=name, dtype=dtype)(x)
    return x


def dense_network(
    num_inputs: int, hidden, activation: str, num_outputs: int, name: str, dtype=None
) -> keras.Model:
    """Makes a network of `hidden_layers` and linear outputs.

    It takes `[batch, num_inputs]` and returns `[batch, num_outputs]`.
    """
    inputs = keras.Input((num_inputs,), name="inputs")
    x = hidden_layers(inputs, hidden, activation, dtype)
    outputs = layers.Dense(num_outputs, name="outputs", dtype=dtype)(x)
    return keras.Model(inputs, outputs, name=name)
