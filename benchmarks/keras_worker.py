"""Workers that run on TensorFlow: this library, the keras.io example, LiteRT."""

import contextlib
import math
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import kvae
from benchmarks import short, trials
from benchmarks.cases import (
    AIS,
    CASES,
    EAGER,
    GRADIENTS,
    NETWORKS,
    PLAIN,
    SAMPLES,
    STEADY,
    VARIANTS,
    Case,
)
from benchmarks.gate import Gate
from benchmarks.networks import RATE, case_of, compiled, decoder, encoder, floats, model
from benchmarks.sources import source
from kvae.evaluation.marginal_likelihood import importance
from kvae.likelihoods import bernoulli
from kvae.models.fit import fused_adam as fused


class Epochs(keras.callbacks.Callback):
    """A turn is so many epochs."""

    def __init__(self, gate: Gate, epochs: int = 1):
        super().__init__()
        self._gate, self._epochs = gate, epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch > 0 and epoch % self._epochs == 0:  # The first ones trace and compile.
            self._gate.wait()


def train_kvae(case: Case, batch: int, images, gate: Gate, settings: dict, variant: str) -> None:
    settings = dict(settings)
    tried, stock = settings.pop("trials", ()), settings.pop("stock", ())
    if "adam" in stock:
        fused.adam = lambda optimizer: contextlib.nullcontext()
    if "cross-entropy" in stock:
        bernoulli._log_prob = lambda logits, x: x * logits - tf.nn.softplus(logits)
    vae = compiled(case, floats(images[: max(1, case.components)]), **settings)
    epochs = short.EPOCHS if variant == STEADY else 1
    images = images[: gate.count // epochs]
    with tempfile.TemporaryDirectory() as folder:
        data, options = source(variant, images, batch, pathlib.Path(folder))
        own = options.pop("callbacks", ())
        callbacks = [Epochs(gate, epochs), *trials.callbacks(tried), *own]
        vae.fit(data, epochs=10**6, verbose=0, callbacks=callbacks, **options)


class _Sampling(layers.Layer):
    """As in the example: z = mean + exp(log_var / 2) epsilon."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        epsilon = keras.random.normal(tf.shape(mean), seed=self.seed_generator)
        return mean + tf.exp(0.5 * log_var) * epsilon


class _Example(keras.Model):
    """The training step of https://keras.io/examples/generative/vae/."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        names = ("loss", "reconstruction_loss", "kl_loss")
        self.trackers = [keras.metrics.Mean(name=name) for name in names]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            pixels = keras.losses.binary_crossentropy(data, reconstruction)
            reconstruction_loss = tf.reduce_mean(tf.reduce_sum(pixels, axis=(1, 2)))
            kl = -0.5 * (1 + log_var - tf.square(mean) - tf.exp(log_var))
            kl_loss = tf.reduce_mean(tf.reduce_sum(kl, axis=1))
            loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction_loss, kl_loss), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def train_example(case: Case, batch: int, images, gate: Gate) -> None:
    keras.utils.set_random_seed(0)
    features = encoder(case)
    x = features.outputs[0]
    mean, log_var = layers.Dense(case.latent_dim)(x), layers.Dense(case.latent_dim)(x)
    networks = keras.Model(features.inputs, [mean, log_var, _Sampling()([mean, log_var])])
    logits = decoder(case)
    images_of = keras.Model(logits.inputs, keras.activations.sigmoid(logits.outputs[0]))
    example = _Example(networks, images_of)
    example.compile(keras.optimizers.Adam(RATE))
    x = floats(images[: gate.count])
    example.fit(x, batch_size=batch, epochs=10**6, verbose=0, callbacks=[Epochs(gate)])


def infer(name: str, variant: str, images, gate: Gate) -> None:
    vae = model(CASES[0])
    if variant == EAGER:
        vae.compile(run_eagerly=True)
    x = floats(images[: gate.count])
    work = _works(name, variant, vae, x, gate.count)
    work()
    gate.repeat(work)


def _works(name: str, variant: str, vae, x, count: int):
    """Returns the function that is timed."""
    binary = (x > 0.5).astype("float32")
    if name == "nll":
        if variant == PLAIN:
            importance._MANY = math.inf
        if variant == NETWORKS:
            return _decoding(vae, count * SAMPLES)
        return lambda: vae.log_prob(binary, num_samples=SAMPLES)
    if name == "ais":
        if variant == GRADIENTS:
            return _gradients(vae, count * AIS["num_chains"])
        return lambda: kvae.evaluation.annealed_log_prob(vae, binary, **AIS)
    if name in ("tflite", "tflite int8"):
        return _latency(vae, variant, x if name == "tflite int8" else None, count)
    z = np.random.default_rng(0).normal(size=(count, vae.latent_dim)).astype("float32")
    if name == "row":
        return _rows(variant, vae, x[:1], binary[:1], z[:1], count)
    return {
        "encode": lambda: vae.encode(x)["z_mean"].numpy(),
        "decode": lambda: vae.decode(z).numpy(),
        "sample": lambda: vae.sample(count, seed=0).numpy(),
        "reconstruct": lambda: vae.reconstruct(x).numpy(),
    }[name]


def _rows(method: str, vae, x, binary, z, count: int):
    """Calls a method for one row at a time."""
    call = {
        "encode": lambda: vae.encode(x)["z_mean"].numpy(),
        "decode": lambda: vae.decode(z).numpy(),
        "sample": lambda: vae.sample(1, seed=0).numpy(),
        "reconstruct": lambda: vae.reconstruct(x).numpy(),
        "log_prob": lambda: vae.log_prob(binary, num_samples=1),
        "predict": lambda: vae.predict(x, verbose=0),
    }[method]

    def work():
        for _ in range(count):
            call()

    return work


def _decoding(vae, count: int):
    """Decodes `count` latents, as many at once as an estimate does."""
    rows = importance.rows_at_once(vae.event_shape)
    z = tf.zeros([rows, vae.latent_dim])
    decode = tf.function(vae.decode_params, autograph=False)

    def work():
        for _ in range(math.ceil(count / rows)):
            logits = decode(z)["logits"]
        return logits.numpy()

    return work


def _gradients(vae, rows: int):
    """Does the passes of annealed importance sampling, forward and backward, and nothing else."""
    z = tf.zeros([rows, vae.latent_dim])

    @tf.function(autograph=False)
    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            logits = vae.decode_params(z)["logits"]
        # The logits stand in for the gradient of the likelihood. With ones in their place
        # TensorFlow would not compute the logits at all.
        return tape.gradient(logits, z, output_gradients=logits)

    def work():
        for _ in range(2 * (AIS["num_steps"] - 1) * AIS["num_leapfrog"]):
            found = gradient(z)
        return found.numpy()

    return work


def _latency(vae, variant: str, calibration, count: int):
    """Runs a TFLite file, in eight bits where there are images to calibrate it with."""
    from ai_edge_litert.interpreter import Interpreter

    import export

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "decoder.tflite"
        if variant != "kvae":
            path.write_bytes(_bare(vae.decoder, calibration is not None))
        elif calibration is None:
            export.tflite(vae, path)
        else:
            export.tflite(vae, path, "int8", calibration=calibration[:100])
        interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    z = np.zeros((1, vae.latent_dim), np.float32)

    def work():
        for _ in range(count):
            interpreter.set_tensor(index, z)
            interpreter.invoke()

    return work


def _bare(decoder: keras.Model, int8: bool) -> bytes:
    """The decoder's matrix products and nothing else, as a TFLite model."""
    kernels = [tf.constant(w) for w in decoder.get_weights() if w.ndim == 2]

    @tf.function(input_signature=[tf.TensorSpec([1, kernels[0].shape[0]])], autograph=False)
    def products(z):
        for kernel in kernels:
            z = tf.matmul(z, kernel)
        return z

    converter = tf.lite.TFLiteConverter.from_concrete_functions([products.get_concrete_function()])
    if int8:
        draws = np.random.default_rng(0).normal(size=(100, 1, kernels[0].shape[0]))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([z.astype("float32")] for z in draws)
    return converter.convert()


def _main(kind: str, variant: str, name: str, batch: str, path: str, count: str) -> None:
    images = np.load(path)
    trials.begin(VARIANTS.get(variant, {}).get("trials", ()))
    a = tf.random.normal((2048, 2048))

    def sgemm():
        return tf.matmul(a, a).numpy()

    gate = Gate(int(count), sgemm)
    if kind == "infer":
        infer(name, variant, images, gate)
        return
    case = case_of(name)
    if variant == "keras.io":
        train_example(case, int(batch), images, gate)
    elif name.startswith("short") and variant == "kvae":
        short.train(case, int(batch), path, gate)
    else:
        settings = VARIANTS.get(variant, {})
        train_kvae(case, int(batch), images, gate, settings, variant)


if __name__ == "__main__":
    _main(*sys.argv[1:])
