"""The base of objectives with a discriminator, which learns beside the model."""

import math

import keras
import tensorflow as tf
from keras import layers, ops

from kvae.objectives.beside import NetworkBeside
from kvae.objectives.bound import Bound
from kvae.objectives.objective import Objective
from kvae.objectives.similarity import check_decoded
from kvae.parts import to_write

__all__ = ["Adversarial", "Discriminator", "OfExamples", "dense_discriminator"]


class Adversarial(Objective):
    """An objective whose `update` trains a discriminator, which tells two kinds of draws apart.

    `tell_apart` takes a step of the discriminator with an Adam of its own (β1 = 0.5, β2 = 0.9). Its
    weights and its optimizer's state are saved with the model. The model's optimizer knows nothing
    of them: they are not among `trainable_variables`.

    Args:
        discriminator: keras.Model or `None`. A network from what is told apart to a logit
            `[batch, 1]`. Defaults to `None`: one is made of the settings below.
        discriminator_width: int. Units of each hidden layer. Defaults to `1000`.
        discriminator_depth: int. Hidden layers. Defaults to `2`.
        discriminator_learning_rate: float. Defaults to `1e-3`.
        **settings: of the class beside which this one is a base.

    Raises:
        TypeError: for a discriminator that is no Keras network.
        ValueError: for settings out of range, and with the model, for a discriminator of another
            shape.
    """

    of_patches = False  # Whether the discriminator may return a logit for each patch.

    def __init__(
        self,
        discriminator=None,
        discriminator_width: int = 1000,
        discriminator_depth: int = 2,
        discriminator_learning_rate: float = 1e-3,
        **settings,
    ):
        super().__init__(**settings)
        if isinstance(discriminator, dict):
            discriminator = keras.saving.deserialize_keras_object(discriminator)
        if discriminator is not None and not isinstance(discriminator, keras.Model):
            raise TypeError(
                f"`discriminator` is a keras.Model that ends in a logit, not {discriminator!r}. "
                "Leave it out for a network that is made."
            )
        if discriminator_width < 1 or discriminator_depth < 1:
            raise ValueError(
                "`discriminator_width` and `discriminator_depth` are at least 1, not "
                f"{discriminator_width} and {discriminator_depth}."
            )
        if not 0 <= discriminator_learning_rate < math.inf:
            raise ValueError(
                "`discriminator_learning_rate` is a finite number of at least 0, not "
                f"{discriminator_learning_rate}."
            )
        self.discriminator_width = discriminator_width
        self.discriminator_depth = discriminator_depth
        self.discriminator_learning_rate = discriminator_learning_rate
        # Behind a function: Keras would take its weights for the model's.
        self._given = None if discriminator is None else lambda: discriminator
        self.discriminator = self.discriminator_optimizer = None

    def discriminator_shape(self, vae) -> tuple:
        """Returns the shape of what is told apart. By default that of z, `(latent_dim,)`."""
        return (vae.latent_dim,)

    def make_discriminator(self, vae) -> keras.Model:
        """Returns the network for a model where none is given. By default a dense one."""
        return dense_discriminator(
            self.discriminator_shape(vae),
            self.discriminator_width,
            self.discriminator_depth,
            vae.seed,
        )

    def network(self, vae) -> keras.Model:
        """Returns the network that is given, or one that is made."""
        return self.make_discriminator(vae) if self._given is None else self._given()

    def prepare(self, vae):
        super().prepare(vae)
        if self.discriminator is not None:
            return
        self.discriminator = Discriminator(self.network(vae), self.of_patches)
        self.discriminator.build((None, *self.discriminator_shape(vae)))
        self.discriminator_optimizer = keras.optimizers.Adam(
            self.discriminator_learning_rate, beta_1=0.5, beta_2=0.9
        )
        self.discriminator_optimizer.build(self.discriminator.learned)

    def optimizer_variables(self):
        return self.discriminator_optimizer.variables

    def tell_apart(self, first, second) -> None:
        """Takes a step of the discriminator, whose logit becomes log p_first − log p_second.

        Args:
            first, second: tensors `[n, …]`, draws of the two kinds; no gradient reaches them.
        """
        critic = self.discriminator
        values = [variable.value for variable in critic.learned]
        first, second = tf.stop_gradient(first), tf.stop_gradient(second)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            # −log D and −log(1 − D), where D is the sigmoid of the logit.
            logit, state = critic.step(first, values, critic.state)
            wrong = ops.mean(ops.softplus(-logit))
            logit, state = critic.step(second, values, state)
            wrong = wrong + ops.mean(ops.softplus(logit))
            # An optimizer sums the gradients of the replicas.
            loss = 0.5 * wrong / tf.distribute.get_strategy().num_replicas_in_sync
        self.discriminator_optimizer.apply(tape.gradient(loss, values), critic.learned)
        for variable, value in zip(critic.state, state, strict=True):
            variable.assign(value)

    def discriminator_config(self) -> dict:
        """Returns what a configuration holds of the discriminator."""
        settings = {
            "discriminator_width": self.discriminator_width,
            "discriminator_depth": self.discriminator_depth,
            "discriminator_learning_rate": self.discriminator_learning_rate,
        }
        if self._given is not None:
            settings["discriminator"] = keras.saving.serialize_keras_object(self._given())
        return settings


class OfExamples(Adversarial, Bound):
    """A bound with a discriminator that tells examples from what the decoder makes.

    A new one gives `convolutions`, and `terms` with `made`, `[n, batch, *event]`, which are the
    examples that the decoder made.

    Args:
        discriminator: keras.Model or `None`. A network from x to logits. Defaults to `None`: one of
            convolutions, and for events that are no images of dense layers.
        discriminator_width: int. See the class.
        discriminator_depth: int. Defaults to `2`.
        discriminator_learning_rate: float. Defaults to `1e-4`: a discriminator that learns faster
            than the decoder leaves it nothing to learn by.
        **settings: of `kvae.objectives.Bound`.
    """

    def __init__(
        self,
        discriminator=None,
        discriminator_width: int = 256,
        discriminator_depth: int = 2,
        discriminator_learning_rate: float = 1e-4,
        **settings,
    ):
        super().__init__(
            discriminator,
            discriminator_width,
            discriminator_depth,
            discriminator_learning_rate,
            **settings,
        )

    @to_write
    def convolutions(self, inputs, seed: int):
        """Returns the logits of images `[batch, height, width, channels]`.

        Args:
            inputs: keras.Input.
            seed: int. That of the model, for the initial weights.
        """
        raise NotImplementedError

    def attach(self, vae):
        super().attach(vae)
        check_decoded(self, vae)

    def discriminator_shape(self, vae):
        return tuple(vae.event_shape)

    def make_discriminator(self, vae):
        if len(vae.event_shape) != 3:
            return super().make_discriminator(vae)
        inputs = keras.Input(vae.event_shape)
        return keras.Model(inputs, self.convolutions(inputs, vae.seed), name="discriminator")

    def halved(self, x, width: int, size: int, seed: int):
        """Returns x after `discriminator_depth` convolutions of stride 2, each rectified.

        Args:
            x: tensor `[batch, height, width, channels]`.
            width: int. Filters of the first convolution; each further one has twice as many.
            size: int. The side of a filter.
            seed: int. Of the initial weights.
        """
        for index in range(self.discriminator_depth):
            x = layers.Conv2D(
                width * 2**index,
                size,
                strides=2,
                padding="same",
                kernel_initializer=keras.initializers.HeNormal(seed + index),
                data_format="channels_last",
                dtype="float32",
            )(x)
            x = layers.LeakyReLU(0.2, dtype="float32", name=f"convolution_{index}")(x)
        return x

    def metric_names(self):
        return (*super().metric_names(), "adversarial")

    def update(self, vae, x, target, terms, seed):
        made = terms["made"]
        self.tell_apart(target, tf.reshape(made, (-1, *made.shape[2:])))


class Discriminator(NetworkBeside):
    """A network from `[..., *shape]` to a logit `[...]`, with weights that are not the model's.

    Args:
        network: keras.Model. To a logit `[batch, 1]`, or to features and a logit.
        of_patches: bool. Whether there may be a logit for each patch, `[batch, …, 1]`. Defaults to
            `False`.
    """

    def __init__(self, network, of_patches: bool = False):
        super().__init__(network, "discriminator")
        self.of_patches = of_patches

    def build(self, input_shape):
        shape = tuple(input_shape)
        found = self._network().compute_output_shape(shape)
        logit = found[-1] if isinstance(found[-1], tuple) else found
        if tuple(logit) != (None, 1) and not (self.of_patches and logit[-1] == 1):
            raise ValueError(
                f"The discriminator returns shape {tuple(logit)} for inputs of shape {shape}; it "
                "returns a logit, (None, 1)."
            )
        super().build(input_shape)

    def call(self, x, training=False):
        *features, logit = super().call(x, training)
        return (*features, logit[..., 0]) if features else logit[..., 0]

    def step(self, x, learned, state):
        """Returns the logits `[n]` of x `[n, *shape]` in training, and the state after them."""
        outputs, state = self.outputs(x, learned, state, training=True)
        return outputs[-1][..., 0], state


def dense_discriminator(shape, width: int, depth: int, seed: int = 0) -> keras.Model:
    """Makes a dense network with leaky rectifiers, from `[batch, *shape]` to a logit `[batch, 1]`.

    Args:
        shape: tuple of int.
        width: int. Units of each hidden layer.
        depth: int. Hidden layers.
        seed: int. Of the initial weights.
    """
    x = inputs = keras.Input(shape)
    if len(shape) > 1:
        x = layers.Flatten(data_format="channels_last", dtype="float32")(x)
    for index, units in enumerate([*[width] * depth, 1]):
        initializer = keras.initializers.HeNormal(seed + index)
        x = layers.Dense(units, kernel_initializer=initializer, dtype="float32")(x)
        if index < depth:
            x = layers.LeakyReLU(0.2, dtype="float32")(x)
    return keras.Model(inputs, x, name="discriminator")
