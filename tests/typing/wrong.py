"""Mistakes that pyright finds: each comment below would itself be an error where it finds none."""

import keras

import export
import kvae
import zoo

network = keras.Sequential()
vae = kvae.VAE(network, network, latent_dim=2)

# Names that are not there.
kvae.Vae  # pyright: ignore[reportAttributeAccessIssue]
kvae.priors.VampPrior  # pyright: ignore[reportAttributeAccessIssue]
kvae.posteriors.Gaussian  # pyright: ignore[reportAttributeAccessIssue]
kvae.evaluation.evalute  # pyright: ignore[reportAttributeAccessIssue]
zoo.list_model  # pyright: ignore[reportAttributeAccessIssue]
export.savedmodel  # pyright: ignore[reportAttributeAccessIssue]

# Calls that do not fit.
kvae.samplers.GaussianMixture().fit(vae)  # pyright: ignore[reportCallIssue]
kvae.priors.get("vamp", 500)  # pyright: ignore[reportCallIssue]
kvae.callbacks.Checkpoint()  # pyright: ignore[reportCallIssue]
kvae.objectives.ELBO(beta="large")  # pyright: ignore[reportArgumentType]
vae.sample("three")  # pyright: ignore[reportArgumentType]
vae.sample(3, temprature=0.5)  # pyright: ignore[reportCallIssue]
kvae.datasets.load("digits", splitt="train")  # pyright: ignore[reportCallIssue]
zoo.load()  # pyright: ignore[reportCallIssue]
export.tflite(vae)  # pyright: ignore[reportCallIssue]
