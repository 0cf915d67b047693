"""Networks as newcomers bring them: other libraries', other outputs, an activation too many."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import kvae


class Subclassed(keras.Model):
    """A decoder whose layers Keras knows of, and whose `call` it does not."""

    def __init__(self, activation):
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.outputs_layer = layers.Dense(16, activation)
        self.last_made = layers.Dense(3, "tanh")  # Not the last that is called.

    def call(self, z):
        self.last_made(z)
        return keras.ops.reshape(self.outputs_layer(self.hidden(z)), (-1, 4, 4))


def sequential(activation):
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(8, "relu"),
            layers.Dense(16, activation),
            layers.Dropout(0.1),
            layers.Reshape((4, 4)),
        ]
    )


def functional(activation):
    z = keras.Input((2,))
    x = layers.Activation(activation)(layers.Dense(16)(z)) if activation else layers.Dense(16)(z)
    return keras.Model(z, layers.Reshape((4, 4))(x))


def operation(activation):
    z = keras.Input((2,))
    x = layers.Dense(16)(z)
    x = getattr(keras.ops, activation)(x) if activation else x
    return keras.Model(z, keras.ops.reshape(x, (-1, 4, 4)))


def nested(activation):
    z = keras.Input((2,))
    return keras.Model(
        z, layers.Reshape((4, 4))(functional(activation)(sequential(None)(z)[:, 0, :2]))
    )


def convolution(activation):
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(16, "relu"),
            layers.Reshape((4, 4, 1)),
            layers.Conv2DTranspose(1, 3, padding="same", activation=activation),
            layers.Reshape((4, 4)),
        ]
    )


DECODERS = [sequential, functional, operation, nested, convolution, Subclassed]


@pytest.fixture(scope="module")
def encoder():
    return keras.Sequential([keras.Input((4, 4)), layers.Flatten(), layers.Dense(8, "relu")])


@pytest.mark.default("sequential", "operation", "nested", "Subclassed")
@pytest.mark.parametrize("make", DECODERS)
def test_a_sigmoid_before_a_likelihood_of_logits(make, encoder):
    """Its outputs are taken for logits, so no probability would be below a half."""
    for likelihood in ("bernoulli", "continuous_bernoulli"):
        with pytest.raises(ValueError, match="ends in the activation 'sigmoid'.*takes logits"):
            kvae.VAE(encoder, make("sigmoid"), latent_dim=2, likelihood=likelihood)
    with pytest.warns(UserWarning, match="ends in the activation 'relu'.*takes log-rates"):
        kvae.VAE(encoder, make("relu"), latent_dim=2, likelihood="poisson")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kvae.VAE(encoder, make(None), latent_dim=2)
        # The mean of a Gaussian may be bounded, as images in [0, 1] are.
        kvae.VAE(encoder, make("sigmoid"), latent_dim=2, likelihood="gaussian")


@pytest.mark.parametrize(
    "likelihood, activation, message",
    [
        (kvae.likelihoods.Categorical(2), "softmax", "takes logits"),
        (kvae.likelihoods.Gaussian("per_pixel"), "sigmoid", "means and log-vars"),
        (kvae.likelihoods.DiscretizedLogistic(), "sigmoid", "means and log-scales"),
        (kvae.likelihoods.DiscretizedLogisticMixture(2), "sigmoid", "logits, means and log-scales"),
        (
            kvae.likelihoods.MixedTabular([("bernoulli",)] * 4),
            "sigmoid",
            "the parameters of all columns",
        ),
    ],
)
def test_every_likelihood_over_any_numbers(likelihood, activation, message):
    encoder = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu")])
    shape = likelihood.output_shape((4,))
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(shape[0], activation)])
    with pytest.raises(ValueError, match=message):
        kvae.VAE(encoder, decoder, latent_dim=2, likelihood=likelihood)


def test_outputs_that_only_pass_a_sigmoid_are_free(encoder):
    """A gate inside, and logits that are scaled, do not bound what comes out."""
    z = keras.Input((2,))
    gate = layers.Dense(16)(z) * layers.Dense(16, "sigmoid")(z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kvae.VAE(encoder, keras.Model(z, layers.Reshape((4, 4))(gate)), latent_dim=2)
        scaled = layers.Rescaling(10.0)(layers.Dense(16, "tanh")(z))
        kvae.VAE(encoder, keras.Model(z, layers.Reshape((4, 4))(scaled)), latent_dim=2)


class Sampling(layers.Layer):
    """That of the example on keras.io."""

    def call(self, inputs):
        mean, log_var = inputs
        return mean + keras.ops.exp(0.5 * log_var) * keras.random.normal(keras.ops.shape(mean))


def test_the_encoder_of_the_example_on_keras_io():
    x = keras.Input((4, 4))
    features = layers.Dense(8, "relu")(layers.Flatten()(x))
    mean, log_var = layers.Dense(2)(features), layers.Dense(2)(features)
    z = Sampling()([mean, log_var])
    encoder = keras.Model(x, [mean, log_var, z])
    with pytest.raises(ValueError, match=r"3 tensors.*The model draws z itself.*outputs\[:2\]"):
        kvae.VAE(encoder, sequential(None), latent_dim=2)
    # What the error says to give works, and its outputs are the parameters.
    fixed = keras.Model(encoder.inputs, encoder.outputs[:2])
    vae = kvae.VAE(fixed, sequential(None), latent_dim=2)
    data = np.random.default_rng(0).uniform(size=(3, 4, 4)).astype("float32")
    params = vae.encode(data)
    for name, found in zip(("z_mean", "z_log_var"), fixed(data), strict=True):
        np.testing.assert_allclose(params[name], found, rtol=1e-6)


def other_library(module):
    """A network of a library that need not be installed: its classes tell by their module."""
    base = type("Module", (), {"__module__": f"{module}.nn.modules"})
    return type("Net", (base,), {"__module__": "__main__", "__call__": lambda self, x: x})()


@pytest.mark.parametrize(
    "network, message",
    [
        (None, "None: give one, e.g. keras.Sequential"),
        ([layers.Dense(2)], r"a list: join its layers, keras.Sequential\(layers\)"),
        ((layers.Dense(2),), "a tuple: join its layers"),
        (Subclassed, r"the class Subclassed: make a network of it, Subclassed\(\)"),
        (other_library("torch"), "a Net of torch: make it with Keras 3"),
        (other_library("tf_keras"), r"a Net of tf_keras \(Keras 2\): make it with Keras 3"),
        (lambda x: x, "a function.*keras.Layer"),
        ("encoder.keras", "the name 'encoder.keras': load the network"),
        (3, "3: give one"),
    ],
)
def test_what_is_no_network(network, message, encoder):
    with pytest.raises(TypeError, match=f"`encoder` is a keras.Model, not .*{message}"):
        kvae.VAE(network, sequential(None), latent_dim=2)
    with pytest.raises(TypeError, match="`decoder` is a keras.Model"):
        kvae.VAE(encoder, network, latent_dim=2)


def test_what_is_missing_is_said_first(encoder):
    with pytest.raises(TypeError, match="`encoder` is .* or `encoders` by name"):
        kvae.VAE()
    with pytest.raises(TypeError, match="`decoder` is .* or `decoders` by name"):
        kvae.VAE(encoder)
    with pytest.raises(ValueError, match="`latent_dim` is a whole number of at least 1, not None"):
        kvae.VAE(encoder, sequential(None))


@pytest.mark.slow
def test_a_network_of_tf_keras(encoder):
    tf_keras = pytest.importorskip("tf_keras")
    network = tf_keras.Sequential([tf_keras.layers.Input((4, 4)), tf_keras.layers.Flatten()])
    with pytest.raises(TypeError, match=r"tf_keras \(Keras 2\): make it with Keras 3"):
        kvae.VAE(network, sequential(None), latent_dim=2)
