"""Autoencoders whose z lies on a grid, for images of any size."""

import math

import keras
from keras import layers

import kvae
from kvae.layers import GridAttention
from zoo.arguments import Count, EventShape, Filters
from zoo.networks import CHANNELS_LAST, assemble, check_image, seen_shape
from zoo.registry import architecture
from zoo.residual import residual_block

__all__ = ["autoencoder_kl"]

_SAME = {"padding": "same", **CHANNELS_LAST}
_STRIDED = {**_SAME, "strides": 2}
_GROUPS = 8
_CHANNELS = 4  # Of z, as in stable diffusion.


@architecture(
    conditional=False,
    small={"event_shape": (8, 8, 1), "filters": (4, 4), "num_blocks": 1},
)
def autoencoder_kl(
    event_shape: EventShape = (64, 64, 3),
    latent_shape: EventShape | None = None,
    filters: Filters = (32, 64, 64),
    num_blocks: Count = 1,
    **parts,
) -> kvae.VAE:
    """The autoencoder of latent diffusion: z is a grid, of which each place codes a patch.

    Residual blocks with group normalization, strided convolutions between the levels, and attention
    between all places of the smallest one. Its networks begin with `keras.Input((None, None,
    channels))`: `vae.resized((256, 256))` is the same model for larger images, `encode_tiles` and
    `decode_tiles` go over them tile by tile.

    It takes no labels: its grid has no place for them.

    Args:
        event_shape: tuple `(height, width, channels)`. Sizes that are no multiples of 2^(levels −
            1) are decoded larger and cropped, which leaves `resized` and tiles out. Defaults to
            `(64, 64, 3)`.
        latent_shape: tuple `(rows, columns, channels)` or `None`. The shape of z, of which the
            first two follow from the number of levels. Defaults to `None`: four channels.
        filters: sequence of int. Channels of each level; between two of them the image becomes half
            as large. Defaults to `(32, 64, 64)`.
        num_blocks: int. Residual blocks on each level. Defaults to `1`.
        **parts: further arguments of `kvae.VAE`. For codes that another model is to draw, the paper
            weighs the KL by a millionth: `objective=kvae.objectives.ELBO(beta=1e-6)`.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides, and for
            a `latent_shape` on another grid.

    Reference:
        - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models](
          https://arxiv.org/abs/2112.10752)
    """
    check_image(event_shape, filters[1:])
    factor = 2 ** (len(filters) - 1)
    rows, columns = (math.ceil(size / factor) for size in event_shape[:2])
    if latent_shape is None:
        latent_shape = (rows, columns, _CHANNELS)
    if len(latent_shape) != 3 or latent_shape[:2] != (rows, columns):
        raise ValueError(
            f"{len(filters)} levels (`filters`) make a grid of {rows} by {columns} of an image of "
            f"{event_shape[0]} by {event_shape[1]}: `latent_shape` is ({rows}, {columns}, "
            f"channels), not {latent_shape}."
        )
    channels = latent_shape[-1]
    image = keras.Input((None, None, seen_shape(event_shape, parts)[-1]), name="image")
    x = layers.Conv2D(filters[0], 3, name="first", **_SAME)(image)
    for level, width in enumerate(filters):
        if level:
            x = layers.Conv2D(width, 3, name=f"down_{level}", **_STRIDED)(x)
        x = _blocks(x, f"level_{level}", num_blocks)
    x = _ending(_middle(x), 2 * channels)
    encoder = keras.Model(image, x, name="encoder")

    def decoder(shape):
        z = keras.Input((None, None, channels), name="z")
        x = _middle(layers.Conv2D(filters[-1], 3, name="first", **_SAME)(z))
        for level, width in reversed(list(enumerate(filters))):
            if level < len(filters) - 1:  # The kernel is a multiple of the stride.
                x = layers.Conv2DTranspose(width, 4, name=f"up_{level}", **_STRIDED)(x)
            x = _blocks(x, f"level_{level}", num_blocks)
        x = _ending(x, shape[-1])
        extra = rows * factor - shape[0], columns * factor - shape[1]
        if any(extra):
            cut = [(n // 2, n - n // 2) for n in extra]
            x = layers.Cropping2D(cut, name="crop", **CHANNELS_LAST)(x)
        return keras.Model(z, x, name="decoder")

    vae = assemble(event_shape, None, encoder, decoder, latent_shape=latent_shape, **parts)
    vae.build((None, *event_shape))
    return vae


def _blocks(x, name: str, count: int):
    for index in range(count):
        x = residual_block(x, f"{name}_{index}", "group", scale=1.0)
    return x


def _normalized(x, name: str):
    x = layers.GroupNormalization(math.gcd(_GROUPS, x.shape[-1]), name=f"{name}_norm")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x)


def _middle(x):
    """Applies the blocks of the smallest level, with attention between them."""
    x = residual_block(x, "middle_0", "group", scale=1.0)
    x = GridAttention(math.gcd(_GROUPS, x.shape[-1]), name="attention")(x)
    return residual_block(x, "middle_1", "group", scale=1.0)


def _ending(x, channels: int):
    return layers.Conv2D(channels, 3, name="last", **_SAME)(_normalized(x, "last"))
