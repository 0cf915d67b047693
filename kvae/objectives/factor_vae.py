"""The FactorVAE: a discriminator finds out whether the dimensions of z are independent."""

import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.objectives.adversarial import Adversarial
from kvae.objectives.bound import check_aggregate, check_real
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import register

__all__ = ["FactorVAE", "permute_dims"]


@register("factor_vae")
class FactorVAE(Adversarial, ELBO):
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
        **settings: `discriminator` of `kvae.objectives.Adversarial`, and those of
            `kvae.objectives.ELBO`; `beta` stays 1 in the paper.

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
        super().__init__(
            discriminator_width=discriminator_width,
            discriminator_depth=discriminator_depth,
            discriminator_learning_rate=discriminator_learning_rate,
            **settings,
        )
        self.gamma = schedules.resolve("gamma", gamma)

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
        z = tf.reshape(terms["z"], (-1, terms["z"].shape[-1]))
        self.tell_apart(z, permute_dims(z, random.fold_in(seed, 2)))

    def get_config(self):
        return {
            **super().get_config(),
            "gamma": schedules.serialize(self.gamma),
            **self.discriminator_config(),
        }


def permute_dims(z, seed):
    """Shuffles each column of `z` `[n, latent_dim]` by a permutation of its own.

    What comes out has the marginals of `z`, and dimensions that are independent (algorithm 1 of the
    paper).
    """
    columns = tf.transpose(z)
    order = tf.argsort(random.uniform(tf.shape(columns), seed), axis=-1, stable=True)
    return tf.transpose(tf.gather(columns, order, batch_dims=1))
