"""Three tiny models that the export tests share: untrained, so that parity is all there is."""

import keras
import numpy as np
import pytest
from keras import layers

import export
import kvae


@pytest.fixture(scope="session")
def dense():
    """Bernoulli images of 8x8, two latents."""
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16, "relu")])
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(32, "relu"),
            layers.Dense(64, bias_initializer="random_normal"),
            layers.Reshape((8, 8, 1)),
        ]
    )
    return kvae.VAE(encoder, decoder, latent_dim=2, name="dense")


@pytest.fixture(scope="session")
def dense_path(dense, tmp_path_factory):
    """A version of `dense` with all signatures. Not to be changed: `copytree` it."""
    return export.saved_model(dense, tmp_path_factory.mktemp("serving") / "deep" / "dense")


@pytest.fixture(scope="session")
def conv():
    """Gaussian images, a decoder of the blocks that accelerators take, and batch statistics."""
    keras.utils.set_random_seed(2)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="silu"),
            layers.Flatten(),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4 * 4 * 16),
            layers.BatchNormalization(moving_mean_initializer="random_normal"),
            layers.Reshape((4, 4, 16)),
            layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="silu"),
            layers.Conv2DTranspose(1, 3, padding="same"),
        ]
    )
    likelihood = kvae.GaussianLikelihood("global", scale=0.5)
    return kvae.VAE(encoder, decoder, latent_dim=4, likelihood=likelihood, name="conv")


@pytest.fixture(scope="session")
def autoencoder():
    """Deterministic, without a prior, for tables of 12 columns."""
    keras.utils.set_random_seed(3)
    encoder = keras.Sequential([keras.Input((12,)), layers.Dense(8, "relu")])
    decoder = keras.Sequential([keras.Input((3,)), layers.Dense(12)])
    return kvae.VAE(
        encoder, decoder, latent_dim=3, posterior="delta", prior=None, name="autoencoder"
    )


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((40, 8, 8, 1), np.float32)
