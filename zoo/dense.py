"""Dense encoders and decoders, for events of any shape."""

import math

import keras
from keras import layers

import kvae
from zoo.assembly import assemble, join_label

__all__ = ["build_dense_autoencoder", "build_dense_vae", "dense_decoder", "dense_encoder"]


def dense_encoder(event_shape, hidden, activation, num_classes=None) -> keras.Model:
    """Flattens the event and applies dense layers of the widths `hidden`."""
    inputs = keras.Input(event_shape, name="image")
    inputs, x = join_label(inputs, layers.Flatten(name="flatten")(inputs), num_classes)
    for index, width in enumerate(hidden):
        x = layers.Dense(width, activation, name=f"hidden_{index}")(x)
    return keras.Model(inputs, x, name="encoder")


def dense_decoder(output_shape, latent_dim, hidden, activation, num_classes=None) -> keras.Model:
    """Dense layers of the widths `hidden`, then a linear one of `output_shape`."""
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, num_classes)
    for index, width in enumerate(hidden):
        x = layers.Dense(width, activation, name=f"hidden_{index}")(x)
    x = layers.Dense(math.prod(output_shape), name="outputs")(x)
    return keras.Model(inputs, layers.Reshape(output_shape, name="event")(x), name="decoder")


def _build(name, event_shape, latent_dim, hidden, activation, likelihood, **parts):
    num_classes = parts.get("num_classes")
    encoder = dense_encoder(event_shape, hidden, activation, num_classes)

    def decoder(shape):
        return dense_decoder(shape, latent_dim, tuple(reversed(hidden)), activation, num_classes)

    return assemble(name, event_shape, latent_dim, likelihood, encoder, decoder, **parts)


def build_dense_vae(
    image_shape=(28, 28, 1),
    latent_dim: int = 50,
    hidden=(200, 200),
    activation: str = "tanh",
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """A VAE of dense layers; the defaults are the one-layer model of Burda et al.

    Args:
        image_shape: tuple. Shape of one example, of any rank.
        latent_dim: int. Defaults to `50`.
        hidden: sequence of int. Widths of the encoder; the decoder mirrors them.
        activation: str. Defaults to `"tanh"`.
        likelihood: str or `Likelihood`. Defaults to `"bernoulli"`.
        **parts: further arguments of `kvae.VAE`: `posterior`, `prior`, `objective`, `seed`, and
            `num_classes`, with which both networks see the label.

    Reference:
        - [Burda et al., Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """
    return _build("dense_vae", image_shape, latent_dim, hidden, activation, likelihood, **parts)


def build_dense_autoencoder(
    image_shape=(28, 28, 1),
    latent_dim: int = 32,
    hidden=(),
    activation: str = "relu",
    code_activation: str = "relu",
    l1: float = 0.0,
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's autoencoders of dense layers: single, deep (`hidden`) and sparse (`l1`).

    Args:
        image_shape: tuple. Shape of one example, of any rank.
        latent_dim: int. Size of the code. Defaults to `32`.
        hidden: sequence of int. Widths between image and code, e.g. `(128, 64)` for the deep one.
        activation: str. Of the hidden layers. Defaults to `"relu"`.
        code_activation: str. Of the code. Defaults to `"relu"`.
        l1: float. Nats per unit of |code| (the sparse one). Defaults to `0.0`.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    parts = {"prior": None, **parts}
    posterior = kvae.Delta(activation=code_activation, l1=l1)
    return _build(
        "dense_autoencoder",
        image_shape,
        latent_dim,
        hidden,
        activation,
        likelihood,
        posterior=posterior,
        **parts,
    )
