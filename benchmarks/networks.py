"""The networks and the model of a case, as Keras makes them."""

import keras
from keras import layers

import kvae
from benchmarks.cases import CASES, Case
from kvae.layers import hidden_layers

__all__ = ["RATE", "case_of", "compiled", "decoder", "encoder", "floats", "model"]

RATE = 1e-3


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def encoder(case: Case) -> keras.Model:
    if case.kind == "conv":
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, 2, "same", activation="relu"),
                layers.Conv2D(64, 3, 2, "same", activation="relu"),
                layers.Flatten(),
                layers.Dense(16, "relu"),
            ]
        )
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Flatten()(x)
    x = hidden_layers(x, case.hidden, "gated" if case.kind == "gated" else "relu")
    return keras.Model(inputs, x)


def decoder(case: Case) -> keras.Model:
    """From z to logits."""
    if case.kind == "conv":
        return keras.Sequential(
            [
                keras.Input((case.latent_dim,)),
                layers.Dense(7 * 7 * 64, "relu"),
                layers.Reshape((7, 7, 64)),
                layers.Conv2DTranspose(64, 3, 2, "same", activation="relu"),
                layers.Conv2DTranspose(32, 3, 2, "same", activation="relu"),
                layers.Conv2DTranspose(1, 3, 1, "same"),
            ]
        )
    x = inputs = keras.Input((case.latent_dim,))
    x = hidden_layers(x, case.hidden[::-1], "gated" if case.kind == "gated" else "relu")
    x = layers.Dense(784)(x)
    return keras.Model(inputs, layers.Reshape((28, 28, 1))(x))


def model(case: Case, images=None) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    parts = {}
    if case.samples > 1:
        parts["objective"] = kvae.objectives.IWAE(num_samples=case.samples)
    if case.components:
        parts["prior"] = kvae.priors.Vamp(case.components, initial=images)
    return kvae.VAE(encoder(case), decoder(case), case.latent_dim, **parts)


def compiled(case: Case, images=None, **settings) -> kvae.VAE:
    vae = model(case, images)
    vae.compile(keras.optimizers.Adam(RATE), **settings)
    return vae


def floats(images):
    """Returns bytes as intensities."""
    return images.astype("float32") / 255
