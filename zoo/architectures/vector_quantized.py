"""Models whose codes are entries of a codebook."""

import keras
from keras import layers

import kvae
from zoo.arguments import Count, EventShape, Filters
from zoo.networks import CHANNELS_LAST, assemble, check_image, down, grid, seen_shape, up
from zoo.recipes import recipe
from zoo.registry import architecture

__all__ = ["vqvae"]

_VQ = (
    "van den Oord et al. 2017, Neural Discrete Representation Learning, "
    "https://arxiv.org/abs/1711.00937"
)


def _codebook(embedding_dim, num_embeddings: Count = 64):
    return kvae.posteriors.VectorQuantized(
        num_embeddings=num_embeddings, embedding_dim=embedding_dim
    )


def _over_codes(event_shape, filters):
    return kvae.priors.PixelCNN(grid=grid(event_shape, filters))


@architecture(
    posterior=_codebook,
    prior=_over_codes,
    conditional=False,
    small={"event_shape": (8, 8, 1), "filters": (4, 8), "num_embeddings": 4, "embedding_dim": 3},
)
def vqvae(
    event_shape: EventShape = (28, 28, 1),
    embedding_dim: Count = 16,
    filters: Filters = (32, 64),
    **parts,
) -> kvae.VAE:
    """A convolutional VQ-VAE: a grid of codes, with an autoregressive prior that is trained beside.

    It takes no labels: its codes lie on a grid that has no place for them.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(28, 28, 1)`.
        num_embeddings: int. Entries of the codebook. Defaults to `64`.
        embedding_dim: int. Size of an entry; `latent_dim` is that times the codes of an image.
            Defaults to `16`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `(32, 64)`.
        **parts: further arguments of `kvae.VAE`; a `posterior` replaces the codebook, and a `prior`
            replaces `kvae.priors.PixelCNN`. Another `kvae.posteriors.Quantizer` brings its own
            `embedding_dim`; of its residual codes the decoder sees the sums.

    Raises:
        ValueError: for an event that is no image, or one that is smaller than the strides.

    Reference:
        - [van den Oord et al., Neural Discrete Representation Learning](
          https://arxiv.org/abs/1711.00937)
    """
    check_image(event_shape, filters)
    rows, columns = grid(event_shape, filters)
    posterior, stages = kvae.posteriors.get(parts["posterior"]), 1
    if isinstance(posterior, kvae.posteriors.Quantizer):
        embedding_dim, stages = posterior.embedding_dim, posterior.stages
    inputs = keras.Input(seen_shape(event_shape, parts), name="image")
    x = layers.Conv2D(embedding_dim, 1, name="codes", **CHANNELS_LAST)(down(inputs, filters))
    encoder = keras.Model(
        inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), name="encoder"
    )
    latent_dim = rows * columns * stages * embedding_dim

    def decoder(shape):
        z = keras.Input((latent_dim,), name="z")
        if stages == 1:
            x = layers.Reshape((rows, columns, embedding_dim), name="grid")(z)
        else:
            x = layers.Reshape((rows, columns, stages, embedding_dim), name="stages")(z)
            x = keras.ops.sum(x, axis=3)
        x = layers.Conv2D(
            filters[-1], 3, padding="same", activation="silu", name="seed", **CHANNELS_LAST
        )(x)
        return keras.Model(z, up(x, filters, shape), name="decoder")

    return assemble(event_shape, latent_dim, encoder, decoder, **{**parts, "posterior": posterior})


# A grid of 4 by 4 and few entries: more codes only tell the noise of binarization.
recipe(
    "vqvae.mnist",
    "mnist",
    {"filters": (32, 64, 64), "num_embeddings": 32},
    binarize="dynamic",
    epochs=6,
    num_samples=1,
    paper=_VQ,
)
