"""A script such as users write. Pyright reads it, nobody runs it."""

import pathlib

import keras
import numpy as np
from typing_extensions import assert_type

import export
import kvae
import zoo

# A model of one's own, from networks and parts.
encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(32)])
decoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)])
vae = kvae.VAE(
    encoder,
    decoder,
    latent_dim=4,
    posterior=kvae.posteriors.FullCovariance(),
    prior=kvae.priors.GaussianMixture(10),
    likelihood="bernoulli",
    objective=kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps=100)),
)
assert_type(vae, kvae.VAE)
assert_type(kvae.posteriors.get("iaf"), kvae.posteriors.Posterior)

# Training.
train = kvae.datasets.load("digits", "train", binarize="dynamic")
assert_type(train, kvae.datasets.Dataset)
vae.compile(optimizer="adam")
history = vae.fit(train, epochs=2, callbacks=[kvae.callbacks.Checkpoint("runs/digits")])
assert_type(history, keras.callbacks.History)
vae.save("digits.keras")
assert_type(kvae.load_model("digits.keras"), kvae.VAE)

# Evaluation.
result = kvae.evaluation.evaluate(vae, train, num_samples=10, latents=True)
assert_type(result, kvae.evaluation.Evaluation)
codes = vae.encode(train.x)
images = vae.decode(np.zeros((1, 4)))
samples = vae.sample(3, seed=0)
estimate = vae.log_prob(train.x, num_samples=100)
figure = kvae.plots.samples(vae, 16, path="samples.png")
sampler = kvae.samplers.GaussianMixture(10).fit(vae, train)
assert_type(sampler.model, kvae.VAE)

# The zoo.
assert_type(zoo.list_models("*.mnist"), list[str])
assert_type(zoo.build("dense_vae", event_shape=(8, 8, 1)), kvae.VAE)
assert_type(zoo.load("dense_vae.digits"), kvae.VAE)
assert_type(zoo.card("dense_vae.digits"), zoo.Card)

# Exports.
assert_type(export.saved_model(vae, "serving/digits"), pathlib.Path)
assert_type(export.tflite(vae, "digits.tflite", precision="float16"), pathlib.Path)
assert_type(export.onnx(vae, "digits.onnx", part="decoder"), pathlib.Path)
assert_type(export.web(vae, "page", train), pathlib.Path)
assert_type(export.verify("serving/digits", vae), export.Report)
assert_type(export.profile("digits.tflite", vae), export.Profile)
assert_type(export.publish(vae, "repository", "digits"), export.Publication)
answer = export.Client("http://localhost:8501", "digits").predict("decode", {"z": np.zeros((1, 4))})
assert_type(answer["x"], np.ndarray)
