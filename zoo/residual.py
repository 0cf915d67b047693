"""Residual blocks of convolutions."""

import math

import keras
from keras import layers

from kvae.layers import WeightNormConv2D
from kvae.utils import names
from zoo.networks import CHANNELS_LAST

__all__ = ["NORMALIZATIONS", "convolution", "residual_block", "residual_blocks"]

NORMALIZATIONS = ("weight", "group", "none")
_GROUPS = 8  # Of group normalization, where the channels make so many.
_SAME = {"padding": "same", **CHANNELS_LAST}


def convolution(filters: int, kernel: int, name: str, normalization: str, scale: float = 1.0):
    """Returns a convolution that keeps the size, of the kind that a normalization asks for.

    Args:
        filters, kernel: int.
        name: str.
        normalization: str. One of `NORMALIZATIONS`; with `"weight"` the kernel is normalized.
        scale: float. The variance of the first outputs, as a share of the usual one.

    Raises:
        ValueError: for an unknown normalization.
    """
    if normalization not in NORMALIZATIONS:
        raise names.unknown_name("normalization", normalization, NORMALIZATIONS)
    layer = WeightNormConv2D if normalization == "weight" else layers.Conv2D
    initializer = keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")
    return layer(filters, kernel, name=name, kernel_initializer=initializer, **_SAME)


def residual_block(
    x, name: str, normalization: str = "weight", squeeze_excite: bool = False, scale: float = 0.1
):
    """Applies a block of pre-activation: `x + conv(silu(norm(conv(silu(norm(x))))))`.

    Args:
        x: Keras tensor `[n, rows, columns, channels]`.
        name: str. Begins the names of the layers.
        normalization: str. `"weight"`, of the kernels; `"group"`, of the channels of an example in
            up to eight groups; or `"none"`. Defaults to `"weight"`.
        squeeze_excite: bool. Whether each channel of the branch is weighed by a gate that sees the
            means of all channels. Defaults to `False`.
        scale: float. The variance of the branch at the start, as a share of the usual one: deep
            stacks begin near the identity. Defaults to `0.1`.

    References:
        - [He et al., Identity Mappings in Deep Residual Networks](
          https://arxiv.org/abs/1603.05027)
        - [Hu et al., Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507)
    """
    channels, y = x.shape[-1], x
    for index in range(2):
        if normalization == "group":
            groups = math.gcd(_GROUPS, channels)
            y = layers.GroupNormalization(groups, name=f"{name}_norm_{index}")(y)
        y = layers.Activation("silu", name=f"{name}_silu_{index}")(y)
        share = 1.0 if index == 0 else scale
        y = convolution(channels, 3, f"{name}_conv_{index}", normalization, share)(y)
    if squeeze_excite:
        gate = layers.GlobalAveragePooling2D(
            keepdims=True, name=f"{name}_squeeze", **CHANNELS_LAST
        )(y)
        gate = layers.Dense(max(channels // 4, 1), "silu", name=f"{name}_excite")(gate)
        gate = layers.Dense(channels, "sigmoid", name=f"{name}_gate")(gate)
        y = layers.Multiply(name=f"{name}_gated")([y, gate])
    return layers.Add(name=f"{name}_sum")([x, y])


def residual_blocks(x, count: int, name: str, normalization: str, squeeze_excite: bool):
    """Applies several residual blocks, one after the other."""
    for index in range(count):
        x = residual_block(x, f"{name}_{index}", normalization, squeeze_excite)
    return x
