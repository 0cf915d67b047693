"""The FactorVAE: a discriminator finds out whether the dimensions of z are independent."""

import math

import keras
import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.objectives.bound import check_aggregate, check_real
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register

__all__ = ["Discriminator", "FactorVAE", "permute_dims"]


@register("factor_vae")
class FactorVAE(ELBO):
    """The ELBO, and γ times the total correlation of the aggregate posterior q(z).

    The total correlation is `KL(q(z) ‖ Π_i q(z_i))`, between q(z) and its marginals: what the
    dimensions of z tell of each other, in nats. Neither density is known, but both can be drawn
    from: codes of the batch, and the same with each dimension shuffled over the batch. A network of
    the objective learns to tell the two apart; its logit estimates the logarithm of the densities'
    ratio, and the mean of it over codes, in the logs as `total_correlation`, the divergence.

    After each step of the model the discriminator takes one of its own, with Adam
    (β1 = 0.5, β2 = 0.9), on the codes of that step and their shuffled copies; the paper takes a
    second batch for the copies. Its weights and its optimizer's state are saved with the model. The
    model's optimizer knows nothing of them: they are not among `trainable_variables`.

    Args:
        gamma: float or schedule (`kvae.schedules`). Weight of the total correlation. Defaults to
            `10.0`.
        discriminator_width: int. Units of each hidden layer. Defaults to `1000`, as in the paper.
        discriminator_depth: int. Hidden layers. Defaults to `6`, as in the paper.
        discriminator_learning_rate: float. Defaults to `1e-4`, as in the paper.
        **settings: of `kvae.objectives.ELBO`; `beta` stays 1 in the paper.

    Raises:
        ValueError: for settings out of range, a posterior without a density, z that is discrete or
            on the sphere, and a prior that depends on a label.

    Example:

    ```python
    objective = kvae.objectives.FactorVAE(
        gamma=35.0, discriminator_width=256, discriminator_depth=3
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=10, objective=objective)
    ```

    Reference:
        - [Kim & Mnih, Disentangling by Factorising, algorithms 1 and 2](
          https://arxiv.org/abs/1802.05983)
    """

    def __init__(
        self,
        gamma: schedules.Number = 10.0,
        discriminator_width: int = 1000,
        discriminator_depth: int = 6,
        discriminator_learning_rate: float = 1e-4,
        **settings,
    ):
        super().__init__(**settings)
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
        self.gamma = schedules.resolve("gamma", gamma)
        self.discriminator_width = discriminator_width
        self.discriminator_depth = discriminator_depth
        self.discriminator_learning_rate = discriminator_learning_rate
        self.discriminator = self.discriminator_optimizer = None

    def attach(self, vae):
        super().attach(vae)
        check_aggregate(self, vae)
        check_real(self, vae)
        if not vae.posterior.has_density:
            raise ValueError(
                f"FactorVAE weighs a KL and a total correlation, and a "
                f"{type(vae.posterior).__name__} posterior has no density. Use one that has, e.g. "
                "posterior='diagonal_gaussian'."
            )

    def prepare(self, vae):
        super().prepare(vae)
        if self.discriminator is not None:
            return
        self.discriminator = Discriminator(
            self.discriminator_width, self.discriminator_depth, seed=vae.seed
        )
        self.discriminator.build((None, vae.latent_dim))
        self.discriminator_optimizer = keras.optimizers.Adam(
            self.discriminator_learning_rate, beta_1=0.5, beta_2=0.9
        )
        self.discriminator_optimizer.build(self.discriminator.variables)

    def optimizer_variables(self):
        return self.discriminator_optimizer.variables

    def metric_names(self):
        return (*super().metric_names(), "total_correlation")

    def scheduled(self):
        return {**super().scheduled(), "gamma": self.gamma}

    def cost(self, vae, params, z, kl, *, seed):
        cost, more = super().cost(vae, params, z, kl, seed=seed)
        correlation = ops.mean(self.discriminator(z), axis=0)
        cost = cost + schedules.at(self.gamma, vae) * correlation
        return cost, {**more, "total_correlation": correlation, "z": z}

    def update(self, vae, x, target, terms, seed):
        z = tf.stop_gradient(terms["z"])
        z = tf.reshape(z, (-1, z.shape[-1]))
        shuffled = permute_dims(z, random.fold_in(seed, 2))
        variables = self.discriminator.variables
        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            # −log D and −log(1 − D), where D is the sigmoid of the logit.
            wrong = ops.mean(ops.softplus(-self.discriminator(z)))
            wrong = wrong + ops.mean(ops.softplus(self.discriminator(shuffled)))
            # An optimizer sums the gradients of the replicas.
            loss = 0.5 * wrong / tf.distribute.get_strategy().num_replicas_in_sync
        self.discriminator_optimizer.apply(tape.gradient(loss, values), variables)

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": schedules.serialize(self.gamma),
            "discriminator_width": self.discriminator_width,
            "discriminator_depth": self.discriminator_depth,
            "discriminator_learning_rate": self.discriminator_learning_rate,
        }


class Discriminator(keras.layers.Layer):
    """A dense network with leaky rectifiers, from `z` `[..., latent_dim]` to a logit `[...]`.

    No layer of Keras's: their weights can be made trainable again from outside, as by
    `model.trainable = True`, and would then be the model's to train.

    Args:
        width: int. Units of each hidden layer.
        depth: int. Hidden layers.
        seed: int. Of the initial weights.
    """

    def __init__(self, width: int, depth: int, seed: int = 0):
        super().__init__(dtype="float32", name="discriminator")
        self.width, self.depth, self.seed = width, depth, seed

    def build(self, input_shape):
        sizes = [input_shape[-1], *[self.width] * self.depth, 1]
        self.kernels, self.biases = [], []
        for index, (rows, columns) in enumerate(zip(sizes, sizes[1:], strict=False)):
            for weights, shape, initializer in (
                (self.kernels, (rows, columns), keras.initializers.HeNormal(self.seed + index)),
                (self.biases, (columns,), "zeros"),
            ):
                name = "kernel" if weights is self.kernels else "bias"
                weights.append(
                    self.add_weight(
                        shape=shape,
                        initializer=initializer,
                        trainable=False,
                        name=f"{name}_{index}",
                    )
                )
        self.built = True

    def call(self, z):
        for kernel, bias in zip(self.kernels[:-1], self.biases[:-1], strict=True):
            z = ops.leaky_relu(ops.matmul(z, kernel) + bias, negative_slope=0.2)
        return (ops.matmul(z, self.kernels[-1]) + self.biases[-1])[..., 0]


def permute_dims(z, seed):
    """Shuffles each column of `z` `[n, latent_dim]` by a permutation of its own.

    What comes out has the marginals of `z`, and dimensions that are independent (algorithm 1 of the
    paper).
    """
    columns = tf.transpose(z)
    order = tf.argsort(random.uniform(tf.shape(columns), seed), axis=-1, stable=True)
    return tf.transpose(tf.gather(columns, order, batch_dims=1))
