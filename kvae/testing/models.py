"""Tiny models for the checks."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from kvae import likelihoods, posteriors, priors, random
from kvae.models import VAE
from kvae.testing import numerics

__all__ = [
    "BATCH",
    "CLASSES",
    "DIMENSIONS",
    "check_loss",
    "default_posterior",
    "default_prior",
    "examples",
    "tiny_modalities",
    "tiny_vae",
]

BATCH = 4
CLASSES = 3
# Size of z on spaces other than R^n.
DIMENSIONS = {"sphere": 3, "categorical": 4, "codes": 4}


def tiny_vae(latent_dim: int = 2, likelihood="bernoulli", event_shape=(6,), **parts) -> VAE:
    """Makes a model of dense networks with 8 hidden units; `parts` are arguments of `kvae.VAE`.

    A prior that is conditional makes the model one of 3 classes.
    """
    likelihood = likelihoods.get(likelihood)
    outputs = likelihood.output_shape(event_shape)
    if getattr(parts.get("prior"), "conditional", False):
        parts["num_classes"] = CLASSES
    with random.initial_weights(3):
        encoder = keras.Sequential(
            [keras.Input(event_shape), layers.Flatten(), layers.Dense(8, "tanh")],
            name="encoder",
        )
        decoder = keras.Sequential(
            [
                keras.Input((latent_dim,)),
                layers.Dense(8, "tanh"),
                layers.Dense(int(np.prod(outputs))),
                layers.Reshape(outputs),
            ],
            name="decoder",
        )
        return VAE(encoder, decoder, latent_dim, likelihood=likelihood, seed=0, **parts)


def tiny_modalities(latent_dim: int = 2, **parts) -> VAE:
    """Makes a model of two modalities, pixels and a class; `parts` are arguments of `kvae.VAE`.

    It has an encoder of both where the posterior asks for one.
    """
    sizes = {"pixels": 4, "kind": CLASSES}
    posterior = posteriors.get(parts.pop("posterior", "product_of_experts"))
    with random.initial_weights(3):
        encoders = {
            key: keras.Sequential([keras.Input((size,)), layers.Dense(4, "tanh")])
            for key, size in sizes.items()
        }
        if getattr(posterior, "joint", False):
            both = [keras.Input((size,)) for size in sizes.values()]
            encoders[tuple(sizes)] = keras.Model(both, layers.Concatenate()(both))
        decoders = {
            key: keras.Sequential([keras.Input((latent_dim,)), layers.Dense(size)])
            for key, size in sizes.items()
        }
        return VAE(
            encoders=encoders,
            decoders=decoders,
            latent_dim=latent_dim,
            posterior=posterior,
            likelihood={"pixels": "bernoulli", "kind": f"categorical:{CLASSES}"},
            seed=0,
            **parts,
        )


def examples(vae: VAE, n: int = BATCH) -> np.ndarray:
    """Draws examples from the model's likelihood, so that they lie in its support."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(n, *vae.likelihood.output_shape(vae.event_shape)))
    params = vae.likelihood(outputs.astype("float32"))
    return np.asarray(vae.likelihood.sample(params, seed=0), np.float32)


def default_posterior(space: str | None):
    """Returns a posterior on a space of latents."""
    small = {
        "sphere": posteriors.PowerSpherical,
        "ball": posteriors.WrappedNormal,
        "categorical": lambda: posteriors.GumbelSoftmax(num_categories=2),
        "codes": lambda: posteriors.VectorQuantized(num_embeddings=5, embedding_dim=2),
    }
    return small.get(space, posteriors.DiagonalGaussian)()


def default_prior(posterior):
    """Returns a prior on the posterior's space; for one that ignores x, a mixture."""
    small = {
        "sphere": priors.UniformSphere,
        "ball": priors.WrappedNormal,
        "categorical": lambda: priors.UniformCategorical(getattr(posterior, "num_categories", 2)),
        "codes": priors.UniformCodes,
    }
    if posterior.ignores_x:
        return priors.GaussianMixture(3)
    return small.get(posterior.space, priors.StandardNormal)()


def check_loss(vae: VAE, name: str, label=None) -> None:
    """Asserts that a model has one finite loss for each example, and finite gradients."""
    x = examples(vae)
    with tf.GradientTape() as tape:
        model = vae.conditioned_on(label)
        terms = vae.objective.terms(model, x, x, training=True, seed=random.as_seed(0))
        loss = tf.reduce_mean(terms["loss"])
    assert terms["loss"].shape == (BATCH,), f"{name}: the loss is not one number for each example."
    numerics.finite_gradients(loss, tape, vae.trainable_variables, name)
