"""The autoencoders of the blog post "Building Autoencoders in Keras": no prior, and no samples."""

import kvae
from zoo.arguments import Activation, Amount, Count, EventShape, Filters, KerasActivation, Widths
from zoo.networks import (
    assemble,
    conv_model,
    dense_model,
    filters_for,
    label_size,
    seen_shape,
)
from zoo.recipes import BLOG, DIGITS, recipe
from zoo.registry import architecture
from zoo.sequence_networks import recurrent_decoder, recurrent_encoder

__all__ = [
    "conv_autoencoder",
    "denoising_autoencoder",
    "dense_autoencoder",
    "lstm_autoencoder",
]

_SMALL = {"event_shape": (8, 8, 1), "latent_dim": 3}
_ON_DIGITS = {"event_shape": (8, 8, 1), "latent_dim": 16}


def _published(value: float) -> dict:
    return {"metric": "bce_per_pixel", "value": value, "source": BLOG}


def _code(code_activation: KerasActivation = "relu", l1: Amount = 0.0):
    return kvae.posteriors.Delta(activation=code_activation, l1=l1)


# A linear code: three units with a ReLU may all be dead from the start.
@architecture(posterior=_code, prior=None, small={**_SMALL, "code_activation": "linear"})
def dense_autoencoder(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 32,
    hidden: Widths = (),
    activation: Activation = "relu",
    **parts,
) -> kvae.VAE:
    """The blog post's autoencoders of dense layers: single, deep (`hidden`) and sparse (`l1`).

    Args:
        event_shape: tuple. Shape of one example, of any rank. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of the code. Defaults to `32`.
        hidden: sequence of int. Widths between image and code, e.g. `(128, 64)` for the deep one.
            Defaults to `()`.
        activation: str. Activation of the hidden layers. Defaults to `"relu"`.
        code_activation: str. Activation of the code. Defaults to `"relu"`.
        l1: float. Nats per unit of |code| (the sparse one). Defaults to `0.0`.
        **parts: further arguments of `kvae.VAE`; a `posterior` replaces `kvae.posteriors.Delta`;
            it takes a `prior` where it has a density.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    return dense_model(event_shape, latent_dim, hidden, activation, **parts)


recipe("dense_autoencoder.mnist", "mnist", epochs=30, paper=BLOG, published=_published(0.093))
recipe(
    "dense_autoencoder.mnist_deep",
    "mnist",
    {"hidden": (128, 64)},
    epochs=40,
    paper=BLOG,
    published=_published(0.09),
)
recipe(
    "dense_autoencoder.mnist_sparse",
    "mnist",
    # 1e-5 on the mean over 784 pixels, in nats over the sum.
    {"l1": 784e-5},
    epochs=30,
    paper=BLOG,
    published=_published(0.10),
)
recipe("dense_autoencoder.digits", arguments=_ON_DIGITS, epochs=300, paper=BLOG, **DIGITS)
recipe(
    "dense_autoencoder.digits_deep",
    arguments={**_ON_DIGITS, "hidden": (64, 32)},
    epochs=300,
    paper=BLOG,
    **DIGITS,
)
recipe(
    "dense_autoencoder.digits_sparse",
    arguments={**_ON_DIGITS, "l1": 64e-5},
    epochs=300,
    paper=BLOG,
    **DIGITS,
)


@architecture(posterior="delta", prior=None, small={**_SMALL, "filters": (4, 8)})
def conv_autoencoder(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 128,
    filters: Filters | None = None,
    **parts,
) -> kvae.VAE:
    """The blog post's convolutional autoencoder, with a code of as many numbers (4 × 4 × 8).

    Strided convolutions stand for its convolutions with pooling and up-sampling.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of the code. Defaults to `128`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 16
            and 8, and further ones of 8 for images that are larger than 28 × 28 pixels.
        **parts: further arguments of `kvae.VAE`.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    filters = filters_for(event_shape, (16, 8)) if filters is None else filters
    return conv_model(event_shape, latent_dim, filters, **parts)


recipe("conv_autoencoder.mnist", "mnist", epochs=12, paper=BLOG, published=_published(0.094))
recipe("conv_autoencoder.digits", arguments=_ON_DIGITS, epochs=300, paper=BLOG, **DIGITS)


@architecture(posterior="delta", prior=None, noise=0.5, small={**_SMALL, "filters": (4, 8)})
def denoising_autoencoder(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 128,
    filters: Filters | None = None,
    **parts,
) -> kvae.VAE:
    """The blog post's denoising autoencoder: fed noisy images, trained on the clean ones.

    The noise belongs to the data, `kvae.datasets.Dataset(x, noise=0.5)`: the model itself is a
    wider `conv_autoencoder`.

    Args:
        event_shape: tuple `(height, width, channels)`, odd sizes too. Defaults to `(28, 28, 1)`.
        latent_dim: int. Size of the code. Defaults to `128`.
        filters: sequence of int. Channels of the convolutions of stride 2. Defaults to `None`: 32
            and 32, and further ones of 32 for images that are larger than 28 × 28 pixels.
        **parts: further arguments of `kvae.VAE`.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    filters = filters_for(event_shape, (32, 32)) if filters is None else filters
    return conv_model(event_shape, latent_dim, filters, **parts)


recipe("denoising_autoencoder.mnist", "mnist", noise=0.5, epochs=10, paper=BLOG)
recipe(
    "denoising_autoencoder.digits",
    arguments={"event_shape": (8, 8, 1), "latent_dim": 32},
    noise=0.3,
    epochs=300,
    paper=BLOG,
    **DIGITS,
)


@architecture(posterior="delta", prior=None, small={**_SMALL, "width": 8})
def lstm_autoencoder(
    event_shape: EventShape = (28, 28, 1),
    latent_dim: Count = 64,
    width: Count = 128,
    **parts,
) -> kvae.VAE:
    """The blog post's sequence-to-sequence autoencoder; an image is a sequence of rows.

    Args:
        event_shape: tuple `(steps, ...)`: an image, or a signal `(steps, channels)`. Defaults to
            `(28, 28, 1)`.
        latent_dim: int. Size of the code. Defaults to `64`.
        width: int. Units of both LSTMs. Defaults to `128`.
        **parts: further arguments of `kvae.VAE`.

    Raises:
        ValueError: for an event that is no sequence.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    if len(event_shape) < 2:
        raise ValueError(f"A sequence has the shape (steps, channels), not {event_shape}.")
    label = label_size(parts)
    encoder = recurrent_encoder(seen_shape(event_shape, parts), width, label)

    def decoder(shape):
        return recurrent_decoder(shape, latent_dim, width, label)

    return assemble(event_shape, latent_dim, encoder, decoder, **parts)


recipe("lstm_autoencoder.mnist", "mnist", epochs=8, paper=BLOG)
recipe(
    "lstm_autoencoder.digits",
    arguments={**_ON_DIGITS, "width": 64},
    epochs=200,
    paper=BLOG,
    **DIGITS,
)
