"""Encoders and decoders that architectures are put together from.

The convolutional decoders use only what the LiteRT GPU accelerator takes: transposed convolutions
followed by SiLU (a ReLU would fuse into an operator version that it rejects), no batch
normalisation and no nearest-neighbour up-sampling.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from kvae import conditions, fills, likelihoods
from kvae.layers import hidden_layers
from kvae.models import VAE

__all__ = [
    "CHANNELS_LAST",
    "KERNEL",
    "STRIDED",
    "assemble",
    "check_image",
    "conv_decoder",
    "conv_encoder",
    "conv_model",
    "dense_decoder",
    "dense_encoder",
    "dense_model",
    "down",
    "filters_for",
    "grid",
    "join_label",
    "label_size",
    "seen_shape",
    "up",
]

# Every layer with a data format gets this one, whatever keras.json says: the zoo's weights need it.
CHANNELS_LAST = {"data_format": "channels_last"}
STRIDED = {"strides": 2, "padding": "same", **CHANNELS_LAST}
# The most places that convolutions leave of an image, as of 28 × 28 pixels, and of a signal.
_LEFT = {3: 49, 2: 16}
KERNEL = 4  # A multiple of the stride, so that transposed convolutions leave no checkerboard.
_Shape = Sequence[int]

# Advice for events that are not images, by their number of axes.
_FITTING = {
    1: "Use tabular_vae for tables.",
    2: "Use timeseries_vae for signals, or give grey images their channel: (height, width, 1).",
}


def assemble(
    event_shape: _Shape,
    latent_dim: int,
    encoder: keras.Model,
    make_decoder: Callable[[tuple[int, ...]], keras.Model],
    *,
    likelihood="bernoulli",
    **parts,
) -> VAE:
    """Makes a model whose decoder has the output shape that the likelihood asks for.

    Args:
        event_shape: tuple. Shape of one example.
        latent_dim: int. Size of `z`.
        encoder: keras.Model. See `kvae.VAE`.
        make_decoder: callable. From the shape of the decoder's outputs to the decoder.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`.

    Returns:
        `kvae.VAE`, built and not compiled.
    """
    likelihood = likelihoods.get(likelihood)
    decoder = make_decoder(likelihood.output_shape(event_shape))
    return VAE(encoder, decoder, latent_dim=latent_dim, likelihood=likelihood, **parts)


def seen_shape(event_shape: _Shape, parts: Mapping[str, Any]) -> _Shape:
    """Returns the shape of the encoder's inputs, which hold the mask with `missing="zero:mask"`.

    Args:
        event_shape: tuple. Shape of one example.
        parts: mapping. Further arguments of `kvae.VAE`.
    """
    fill = fills.get(parts.get("missing"))
    return event_shape if fill is None else fill.input_shape(event_shape)


def label_size(parts: Mapping[str, Any]) -> int | None:
    """Returns how many numbers the networks of a conditional model see of a label, else `None`.

    Args:
        parts: mapping. Further arguments of `kvae.VAE`: `num_classes` is a one-hot vector's size,
            `conditions` have that of their encoding.
    """
    found = conditions.of_model(parts.get("conditions"))
    return parts.get("num_classes") if found is None else found.size


def join_label(inputs, x, size: int | None):
    """Appends an encoded label to flat features, for a conditional model.

    Args:
        inputs: tensor. The network's first input.
        x: tensor `[batch, features]`. What has been made of it.
        size: int or `None`, for which nothing is appended. See `label_size`.

    Returns:
        The network's inputs, and the features with the label.
    """
    if size is None:
        return inputs, x
    label = keras.Input((size,), name="label")
    return [inputs, label], layers.Concatenate(name="with_label")([x, label])


# Dense layers.


def dense_encoder(
    event_shape: _Shape,
    hidden: _Shape,
    activation: str,
    label: int | None = None,
    apart: bool = False,
    first: keras.layers.Layer | None = None,
) -> keras.Model:
    """Makes an encoder that flattens the event and applies dense layers of the widths `hidden`.

    With `apart` the label has a kernel of its own in the first layer, which therefore multiplies
    the event once, however many labels are tried for it. The function of both is the same. The
    layer `first`, if it is given, is applied to the event before.
    """
    inputs = keras.Input(event_shape, name="image")
    x = inputs if first is None else first(inputs)
    x = layers.Flatten(name="flatten", **CHANNELS_LAST)(x)
    if apart and activation != "gated":
        known = keras.Input((label,), name="label")
        inputs = [inputs, known]
        x = layers.Dense(hidden[0], name="of_event")(x)
        shift = layers.Dense(hidden[0], use_bias=False, name="of_label")(known)
        x = layers.Activation(activation, name="first")(layers.Add(name="with_label")([x, shift]))
        hidden = hidden[1:]
    else:
        inputs, x = join_label(inputs, x, label)
    x = hidden_layers(x, hidden, activation)
    return keras.Model(inputs, x, name="encoder")


def dense_decoder(
    output_shape: _Shape,
    latent_dim: int,
    hidden: _Shape,
    activation: str,
    label: int | None = None,
) -> keras.Model:
    """Makes a decoder of dense layers of the widths `hidden`, then a linear one."""
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, label)
    x = hidden_layers(x, hidden, activation)
    x = layers.Dense(math.prod(output_shape), name="outputs")(x)
    return keras.Model(inputs, layers.Reshape(output_shape, name="event")(x), name="decoder")


def dense_model(
    event_shape: _Shape,
    latent_dim: int,
    hidden: _Shape,
    activation: str,
    first: keras.layers.Layer | None = None,
    **parts,
) -> VAE:
    """Makes a model of dense layers, of the widths `hidden`; the decoder mirrors the encoder.

    The layer `first`, if it is given, is the first one of the encoder.
    """
    label = label_size(parts)
    seen = seen_shape(event_shape, parts)
    encoder = dense_encoder(seen, hidden, activation, label, first=first)

    def decoder(shape):
        return dense_decoder(shape, latent_dim, tuple(reversed(hidden)), activation, label)

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)


# Convolutions over images.


def check_image(event_shape: _Shape, filters: _Shape) -> None:
    """Checks that an event is an image, and large enough for the convolutions.

    Raises:
        ValueError: for another event, or an image with fewer pixels a side than the strides need.
    """
    if len(event_shape) != 3:
        raise ValueError(
            f"A convolutional model takes event_shape=(height, width, channels), not "
            f"{event_shape}. {_FITTING.get(len(event_shape), 'Use a dense model.')}"
        )
    if min(event_shape[:2]) < 2 ** len(filters):
        raise ValueError(
            f"Convolutions of stride 2, {len(filters)} of them, need images of at least "
            f"{2 ** len(filters)} pixels a side, not {tuple(event_shape[:2])}. Give fewer "
            "`filters`, or use a dense model."
        )


def filters_for(event_shape: _Shape, widths: _Shape) -> tuple[int, ...]:
    """Returns the channels of the convolutions that an image or a signal of this size is given.

    They are `widths`, the last of which is repeated until the convolutions leave 7 × 7 places of an
    image, or 16 steps of a signal, at most. The dense layer behind them, which has most of the
    weights, then stays small however large the event is.

    Args:
        event_shape: tuple `(height, width, channels)` or `(steps, channels)`.
        widths: sequence of int. The channels of the first convolutions, which every event gets.

    Example:

    ```python
    filters_for((28, 28, 1), (32, 64))  # (32, 64)
    filters_for((96, 96, 3), (32, 64))  # (32, 64, 64, 64), which leave 6 × 6 places
    ```
    """
    filters, sizes = tuple(widths), event_shape[:-1]
    most = _LEFT.get(len(event_shape), math.inf)  # Other events are refused by the architectures.

    def left(count: int) -> int:
        return math.prod(math.ceil(size / 2**count) for size in sizes)

    while left(len(filters)) > most and min(sizes) >= 2 ** (len(filters) + 1):
        filters += filters[-1:]
    return filters


def grid(event_shape: _Shape, filters: _Shape) -> tuple[int, int]:
    """Returns the rows and columns that are left after the convolutions of stride 2."""
    scale = 2 ** len(filters)
    return math.ceil(event_shape[0] / scale), math.ceil(event_shape[1] / scale)


def down(x, filters: _Shape):
    """Applies convolutions of stride 2, one for each entry of `filters`."""
    for index, width in enumerate(filters):
        x = layers.Conv2D(width, KERNEL, activation="silu", name=f"down_{index}", **STRIDED)(x)
    return x


def up(x, filters: _Shape, output_shape: _Shape, told=None):
    """Applies the mirror image of `down`, and crops its result to the image.

    With features `told` `[batch, n]` the scale and the shift of each channel follow them (FiLM).
    """
    activation = "silu" if told is None else None
    for index, depth in enumerate(reversed(filters[:-1])):
        x = layers.Conv2DTranspose(
            depth, KERNEL, activation=activation, name=f"up_{index}", **STRIDED
        )(x)
        if told is not None:
            one = keras.initializers.Ones()
            scale = layers.Dense(depth, bias_initializer=one, name=f"scale_{index}")(told)
            shift = layers.Dense(depth, name=f"shift_{index}")(told)
            each = (1, 1, depth)
            x = layers.Multiply(name=f"scaled_{index}")([x, layers.Reshape(each)(scale)])
            x = layers.Add(name=f"shifted_{index}")([x, layers.Reshape(each)(shift)])
            x = layers.Activation("silu", name=f"silu_{index}")(x)
    height, width, channels = output_shape
    x = layers.Conv2DTranspose(channels, KERNEL, name="outputs", **STRIDED)(x)
    extra = x.shape[1] - height, x.shape[2] - width
    if any(extra):
        x = layers.Cropping2D([(n // 2, n - n // 2) for n in extra], name="crop", **CHANNELS_LAST)(
            x
        )
    return x


def conv_encoder(
    event_shape: _Shape, filters: _Shape, hidden: int = 0, label: int | None = None
) -> keras.Model:
    """Makes an encoder of convolutions of stride 2, one for each entry of `filters`.

    A dense layer of the width `hidden` follows, unless that is 0.
    """
    inputs = keras.Input(event_shape, name="image")
    x = down(inputs, filters)
    inputs, x = join_label(inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), label)
    if hidden:
        x = layers.Dense(hidden, "silu", name="hidden")(x)
    return keras.Model(inputs, x, name="encoder")


def conv_decoder(
    output_shape: _Shape,
    latent_dim: int,
    filters: _Shape,
    hidden: int = 0,
    label: int | None = None,
) -> keras.Model:
    """Makes the mirror image of `conv_encoder`: dense layers, then transposed convolutions.

    Images whose sizes 2^len(filters) does not divide are decoded larger and cropped.
    """
    rows, columns = grid(output_shape, filters)
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, label)
    x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
    x = layers.Dense(rows * columns * filters[-1], "silu", name="seed")(x)
    x = layers.Reshape((rows, columns, filters[-1]), name="grid")(x)
    return keras.Model(inputs, up(x, filters, output_shape), name="decoder")


def conv_model(
    event_shape: _Shape, latent_dim: int, filters: _Shape, hidden: int = 0, **parts
) -> VAE:
    """Makes a model of convolutions of stride 2; the decoder mirrors the encoder.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides.
    """
    check_image(event_shape, filters)
    label = label_size(parts)
    encoder = conv_encoder(seen_shape(event_shape, parts), filters, hidden, label)

    def decoder(shape):
        return conv_decoder(shape, latent_dim, filters, hidden, label)

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)
