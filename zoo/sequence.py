"""Recurrent encoders and decoders, for sequences."""

import math

import keras
from keras import layers

import kvae
from zoo.assembly import assemble, join_label

__all__ = ["build_lstm_autoencoder", "lstm_decoder", "lstm_encoder"]


def lstm_encoder(event_shape, width: int, num_classes=None) -> keras.Model:
    """Reads the event as a sequence of rows; the last state is the feature vector."""
    inputs = keras.Input(event_shape, name="image")
    x = layers.Reshape((event_shape[0], math.prod(event_shape[1:])), name="rows")(inputs)
    # Unrolled: a loop would need operators that TFLite's built-in set does not have.
    inputs, x = join_label(inputs, layers.LSTM(width, unroll=True, name="lstm")(x), num_classes)
    return keras.Model(inputs, x, name="encoder")


def lstm_decoder(output_shape, latent_dim: int, width: int, num_classes=None) -> keras.Model:
    """Repeats `z` at every step and writes the sequence of rows."""
    z = keras.Input((latent_dim,), name="z")
    inputs, x = join_label(z, z, num_classes)
    x = layers.RepeatVector(output_shape[0], name="repeat")(x)
    x = layers.LSTM(width, return_sequences=True, unroll=True, name="lstm")(x)
    x = layers.Dense(math.prod(output_shape[1:]), name="outputs")(x)
    return keras.Model(inputs, layers.Reshape(output_shape, name="event")(x), name="decoder")


def build_lstm_autoencoder(
    image_shape=(28, 28, 1),
    latent_dim: int = 64,
    width: int = 128,
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's sequence-to-sequence autoencoder; an image is a sequence of rows.

    Args:
        image_shape: tuple `(steps, ...)`: an image or a signal `(steps, channels)`.
        latent_dim: int. Size of the code. Defaults to `64`.
        width: int. Units of both LSTMs. Defaults to `128`.

    Raises:
        ValueError: for an event that is no sequence.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    if len(image_shape) < 2:
        raise ValueError(f"A sequence has the shape (steps, channels), not {image_shape}.")
    parts = {"prior": None, "posterior": kvae.Delta(), **parts}
    num_classes = parts.get("num_classes")
    encoder = lstm_encoder(image_shape, width, num_classes)

    def decoder(shape):
        return lstm_decoder(shape, latent_dim, width, num_classes)

    return assemble(
        "lstm_autoencoder", image_shape, latent_dim, likelihood, encoder, decoder, **parts
    )
