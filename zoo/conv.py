"""Convolutional encoders and decoders, for images of any size.

The decoders use only what the LiteRT GPU accelerator takes: transposed convolutions followed by
SiLU (a ReLU would fuse into an operator version that it rejects), no batch normalisation, no
nearest-neighbour up-sampling.
"""

import math

import keras
from keras import layers

import kvae
from zoo.arguments import declares
from zoo.assembly import CHANNELS_LAST, assemble, join_label

__all__ = [
    "build_beta_tcvae",
    "build_beta_vae",
    "build_conv_autoencoder",
    "build_conv_vae",
    "build_denoising_autoencoder",
    "build_factor_vae",
    "build_vqvae",
    "conv_decoder",
    "conv_encoder",
]

_STRIDED = {"strides": 2, "padding": "same", **CHANNELS_LAST}
_KERNEL = 4  # A multiple of the stride, so that transposed convolutions leave no checkerboard.


def _down(x, filters):
    """Convolutions of stride 2, one for each entry of `filters`."""
    for index, width in enumerate(filters):
        x = layers.Conv2D(width, _KERNEL, activation="silu", name=f"down_{index}", **_STRIDED)(x)
    return x


def _up(x, filters, output_shape):
    """The mirror image of `_down`, on a grid of `filters[-1]` channels, cropped to the image."""
    for index, depth in enumerate(reversed(filters[:-1])):
        x = layers.Conv2DTranspose(
            depth, _KERNEL, activation="silu", name=f"up_{index}", **_STRIDED
        )(x)
    height, width, channels = output_shape
    x = layers.Conv2DTranspose(channels, _KERNEL, name="outputs", **_STRIDED)(x)
    extra = x.shape[1] - height, x.shape[2] - width
    if any(extra):
        x = layers.Cropping2D([(n // 2, n - n // 2) for n in extra], name="crop", **CHANNELS_LAST)(
            x
        )
    return x


def _grid(event_shape, filters) -> tuple[int, int]:
    """Rows and columns that are left after the convolutions of stride 2."""
    scale = 2 ** len(filters)
    return math.ceil(event_shape[0] / scale), math.ceil(event_shape[1] / scale)


def conv_encoder(event_shape, filters, hidden: int = 0, num_classes=None) -> keras.Model:
    """Convolutions of stride 2, one for each entry of `filters`, then flat features."""
    inputs = keras.Input(event_shape, name="image")
    x = _down(inputs, filters)
    inputs, x = join_label(inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), num_classes)
    if hidden:
        x = layers.Dense(hidden, "silu", name="hidden")(x)
    return keras.Model(inputs, x, name="encoder")


def conv_decoder(
    output_shape, latent_dim: int, filters, hidden: int = 0, num_classes=None
) -> keras.Model:
    """The mirror image of `conv_encoder`: a dense layer, then transposed convolutions.

    Sizes that 2^len(filters) does not divide are decoded larger and cropped.
    """
    rows, columns = _grid(output_shape, filters)
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, num_classes)
    x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
    x = layers.Dense(rows * columns * filters[-1], "silu", name="seed")(x)
    x = layers.Reshape((rows, columns, filters[-1]), name="grid")(x)
    x = _up(x, filters, output_shape)
    return keras.Model(inputs, x, name="decoder")


def _check(event_shape, filters):
    if len(event_shape) != 3:
        raise ValueError(
            f"A convolutional model takes event_shape=(height, width, channels), not "
            f"{event_shape}. Use a dense model for other events."
        )
    if min(event_shape[:2]) < 2 ** len(filters):
        raise ValueError(
            f"Convolutions of stride 2, {len(filters)} of them, need images of at least "
            f"{2 ** len(filters)} pixels a side, not {tuple(event_shape[:2])}. Give fewer "
            "`filters`, or use a dense model."
        )


def _build(name, event_shape, latent_dim, filters, hidden, likelihood, **parts):
    _check(event_shape, filters)
    num_classes = parts.get("num_classes")
    encoder = conv_encoder(event_shape, filters, hidden, num_classes)

    def decoder(shape):
        return conv_decoder(shape, latent_dim, filters, hidden, num_classes)

    return assemble(name, event_shape, latent_dim, likelihood, encoder, decoder, **parts)


@declares(from_0=("hidden",), filled=("event_shape", "filters"))
def build_conv_vae(
    event_shape=(28, 28, 1),
    latent_dim: int = 32,
    filters=(32, 64),
    hidden: int = 256,
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """A convolutional VAE that two cores can train and a phone can decode.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too.
        latent_dim: int. Defaults to `32`.
        filters: sequence of int. Channels of the convolutions of stride 2.
        hidden: int. Width of the dense layer beside the latents; 0 for none.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `objective`, `seed`, and
            `num_classes`, with which both networks see the label.

    Raises:
        ValueError: for a shape that is no image, or smaller than the strides.
    """
    return _build("conv_vae", event_shape, latent_dim, filters, hidden, likelihood, **parts)


@declares(from_0=("hidden",), filled=("event_shape", "filters"), objective=("beta",))
def build_beta_vae(
    event_shape=(64, 64, 1),
    latent_dim: int = 10,
    filters=None,
    hidden: int = 256,
    likelihood="bernoulli",
    beta: float = 4.0,
    **parts,
) -> kvae.VAE:
    """The network on which disentanglement is compared, trained with the KL weighted by β.

    Its layers are those of Locatello et al., with SiLU in place of ReLU.

    Args:
        event_shape: tuple `(height, width, channels)`.
        latent_dim: int. Defaults to `10`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 32,
            32, 64 and 64, or as many of them as a smaller image has room for.
        hidden: int. Width of the dense layer beside the latents. Defaults to `256`.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        beta: float. Weight of the KL. Defaults to `4.0`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `objective` (instead of the
            one that `beta` makes), `seed`, and `num_classes`, with which both networks see the
            label.

    References:
        - [Higgins et al., β-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
        - [Locatello et al., Challenging Common Assumptions in the Unsupervised Learning of
          Disentangled Representations, table 1](https://arxiv.org/abs/1811.12359)
    """
    parts = {"objective": kvae.objectives.ELBO(beta=beta), **parts}
    filters = _fitting(event_shape) if filters is None else filters
    return _build("beta_vae", event_shape, latent_dim, filters, hidden, likelihood, **parts)


@declares(from_0=("hidden",), filled=("event_shape", "filters"), objective=("beta",))
def build_beta_tcvae(
    event_shape=(64, 64, 1),
    latent_dim: int = 10,
    filters=None,
    hidden: int = 256,
    likelihood="bernoulli",
    beta: float = 6.0,
    **parts,
) -> kvae.VAE:
    """`beta_vae`'s network, with the total correlation of the latents weighted by β.

    Args:
        event_shape, latent_dim, filters, hidden, likelihood: as for `beta_vae`.
        beta: float. Weight of the total correlation. Defaults to `6.0`.
        **parts: further arguments of `kvae.VAE`, as for `beta_vae`.

    Reference:
        - [Chen et al., Isolating Sources of Disentanglement](https://arxiv.org/abs/1802.04942)
    """
    parts = {"objective": kvae.objectives.BetaTCVAE(beta=beta), **parts}
    filters = _fitting(event_shape) if filters is None else filters
    return _build("beta_tcvae", event_shape, latent_dim, filters, hidden, likelihood, **parts)


@declares(
    from_0=("hidden",),
    filled=("event_shape", "filters"),
    objective=("gamma", "discriminator_width", "discriminator_depth"),
)
def build_factor_vae(
    event_shape=(64, 64, 1),
    latent_dim: int = 10,
    filters=None,
    hidden: int = 256,
    likelihood="bernoulli",
    gamma: float = 35.0,
    discriminator_width: int = 300,
    discriminator_depth: int = 4,
    **parts,
) -> kvae.VAE:
    """`beta_vae`'s network, with the total correlation as a discriminator estimates it.

    Args:
        event_shape, latent_dim, filters, hidden, likelihood: as for `beta_vae`.
        gamma: float. Weight of the total correlation. Defaults to `35.0`.
        discriminator_width, discriminator_depth: int. Of the discriminator, whose weights are in
            the file with the model's. Default to `300` and `4`: the paper's 1000 and 6 would take
            60 of 63 MB, and half of the time of a step.
        **parts: further arguments of `kvae.VAE`, as for `beta_vae`.

    Reference:
        - [Kim & Mnih, Disentangling by Factorising](https://arxiv.org/abs/1802.05983)
    """
    if "objective" not in parts:
        parts["objective"] = kvae.objectives.FactorVAE(
            gamma=gamma,
            discriminator_width=discriminator_width,
            discriminator_depth=discriminator_depth,
        )
    filters = _fitting(event_shape) if filters is None else filters
    return _build("factor_vae", event_shape, latent_dim, filters, hidden, likelihood, **parts)


def _fitting(event_shape):
    """As many of the four convolutions as the image has room for."""
    room = int(math.log2(min(event_shape[:2]))) if len(event_shape) == 3 else 4
    return (32, 32, 64, 64)[: max(room, 1)]


@declares(filled=("event_shape", "filters"), posterior=("num_embeddings",))
def build_vqvae(
    event_shape=(28, 28, 1),
    num_embeddings: int = 64,
    embedding_dim: int = 16,
    filters=(32, 64),
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """A convolutional VQ-VAE: a grid of codes, with an autoregressive prior that is trained beside.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too.
        num_embeddings: int. Entries of the codebook. Defaults to `64`.
        embedding_dim: int. Size of an entry; `latent_dim` is that times the codes of an image.
            Defaults to `16`.
        filters: sequence of int. Channels of the convolutions of stride 2.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`; a `prior` replaces `kvae.priors.PixelCNN`.

    Raises:
        ValueError: for a shape that is no image, or smaller than the strides, and with labels.

    Reference:
        - [van den Oord et al., Neural Discrete Representation Learning](
          https://arxiv.org/abs/1711.00937)
    """
    _check(event_shape, filters)
    if parts.get("num_classes") is not None:
        raise ValueError("vqvae is no conditional model: its codes lie on a grid without labels.")
    rows, columns = _grid(event_shape, filters)
    inputs = keras.Input(event_shape, name="image")
    x = layers.Conv2D(embedding_dim, 1, name="codes", **CHANNELS_LAST)(_down(inputs, filters))
    encoder = keras.Model(
        inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), name="encoder"
    )
    latent_dim = rows * columns * embedding_dim

    def decoder(shape):
        z = keras.Input((latent_dim,), name="z")
        x = layers.Reshape((rows, columns, embedding_dim), name="grid")(z)
        x = layers.Conv2D(
            filters[-1], 3, padding="same", activation="silu", name="seed", **CHANNELS_LAST
        )(x)
        return keras.Model(z, _up(x, filters, shape), name="decoder")

    parts = {
        "posterior": kvae.posteriors.VectorQuantized(
            num_embeddings=num_embeddings, embedding_dim=embedding_dim
        ),
        "prior": kvae.priors.PixelCNN(grid=(rows, columns)),
        **parts,
    }
    return assemble("vqvae", event_shape, latent_dim, likelihood, encoder, decoder, **parts)


@declares(filled=("event_shape", "filters"))
def build_conv_autoencoder(
    event_shape=(28, 28, 1),
    latent_dim: int = 128,
    filters=(16, 8),
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's convolutional autoencoder, with a code of as many numbers (4 × 4 × 8).

    Strided convolutions stand for its convolutions with pooling and up-sampling.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    parts = {"prior": None, "posterior": kvae.posteriors.Delta(), **parts}
    return _build("conv_autoencoder", event_shape, latent_dim, filters, 0, likelihood, **parts)


@declares(filled=("event_shape", "filters"))
def build_denoising_autoencoder(
    event_shape=(28, 28, 1),
    latent_dim: int = 128,
    filters=(32, 32),
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's denoising autoencoder: fed noisy images, trained on the clean ones.

    The noise belongs to the data, `kvae.datasets.Dataset(x, noise=0.5)`: the model itself is a
    wider `conv_autoencoder`.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    parts = {"prior": None, "posterior": kvae.posteriors.Delta(), **parts}
    return _build("denoising_autoencoder", event_shape, latent_dim, filters, 0, likelihood, **parts)
