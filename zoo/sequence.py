"""Recurrent encoders and decoders, for sequences."""

import math

import keras
from keras import layers

import kvae
from zoo.arguments import declares
from zoo.assembly import CHANNELS_LAST, assemble, join_label

__all__ = ["build_lstm_autoencoder", "build_timeseries_vae", "lstm_decoder", "lstm_encoder"]


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


@declares(filled=("event_shape",))
def build_lstm_autoencoder(
    event_shape=(28, 28, 1),
    latent_dim: int = 64,
    width: int = 128,
    likelihood="bernoulli",
    **parts,
) -> kvae.VAE:
    """The blog post's sequence-to-sequence autoencoder; an image is a sequence of rows.

    Args:
        event_shape: tuple `(steps, ...)`: an image or a signal `(steps, channels)`.
        latent_dim: int. Size of the code. Defaults to `64`.
        width: int. Units of both LSTMs. Defaults to `128`.

    Raises:
        ValueError: for an event that is no sequence.

    Reference:
        - [Chollet, Building Autoencoders in Keras](
          https://blog.keras.io/building-autoencoders-in-keras.html)
    """
    if len(event_shape) < 2:
        raise ValueError(f"A sequence has the shape (steps, channels), not {event_shape}.")
    parts = {"prior": None, "posterior": kvae.posteriors.Delta(), **parts}
    num_classes = parts.get("num_classes")
    encoder = lstm_encoder(event_shape, width, num_classes)

    def decoder(shape):
        return lstm_decoder(shape, latent_dim, width, num_classes)

    return assemble(
        "lstm_autoencoder", event_shape, latent_dim, likelihood, encoder, decoder, **parts
    )


@declares(from_0=("hidden",), filled=("event_shape", "filters"))
def build_timeseries_vae(
    event_shape=(64, 1),
    latent_dim: int = 8,
    filters=(32, 64),
    hidden: int = 128,
    likelihood=None,
    **parts,
) -> kvae.VAE:
    """A VAE of signals: convolutions over time, of stride 2.

    Args:
        event_shape: tuple `(steps, channels)`.
        latent_dim: int. Defaults to `8`.
        filters: sequence of int. Channels of the convolutions.
        hidden: int. Width of the dense layer beside the latents; 0 for none.
        likelihood: str, `Likelihood` or `None`: a Gaussian of one learned scale. Defaults to
            `None`.
        **parts: further arguments of `kvae.VAE`.

    Raises:
        ValueError: for an event that is no signal, or shorter than the strides.
    """
    if len(event_shape) != 2 or event_shape[0] < 2 ** len(filters):
        raise ValueError(
            f"A signal has the shape (steps, channels), with at least {2 ** len(filters)} steps "
            f"for {len(filters)} convolutions of stride 2, not {tuple(event_shape)}."
        )
    if likelihood is None:
        likelihood = kvae.likelihoods.Gaussian("global", scale=0.2)
    num_classes = parts.get("num_classes")
    inputs = keras.Input(event_shape, name="signal")
    x = inputs
    for index, width in enumerate(filters):
        x = layers.Conv1D(
            width,
            5,
            strides=2,
            padding="same",
            activation="silu",
            name=f"down_{index}",
            **CHANNELS_LAST,
        )(x)
    inputs, x = join_label(inputs, layers.Flatten(name="flatten", **CHANNELS_LAST)(x), num_classes)
    x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
    encoder = keras.Model(inputs, x, name="encoder")

    def decoder(shape):
        steps, channels = shape
        rows = math.ceil(steps / 2 ** len(filters))
        z = keras.Input((latent_dim,), name="z")
        inputs, x = join_label(z, z, num_classes)
        x = layers.Dense(hidden, "silu", name="hidden")(x) if hidden else x
        x = layers.Dense(rows * filters[-1], "silu", name="seed")(x)
        x = layers.Reshape((rows, filters[-1]), name="grid")(x)
        for index, width in enumerate((*reversed(filters[:-1]), channels)):
            last = index == len(filters) - 1
            x = layers.Conv1DTranspose(
                width,
                4,
                strides=2,
                padding="same",
                activation=None if last else "silu",
                name="outputs" if last else f"up_{index}",
                **CHANNELS_LAST,
            )(x)
        if x.shape[1] > steps:
            x = layers.Cropping1D((0, x.shape[1] - steps), name="crop")(x)
        return keras.Model(inputs, x, name="decoder")

    return assemble(
        "timeseries_vae", event_shape, latent_dim, likelihood, encoder, decoder, **parts
    )
