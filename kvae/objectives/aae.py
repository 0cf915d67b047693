"""The adversarial autoencoder: a discriminator compares the codes with the prior."""

import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.objectives.adversarial import Adversarial
from kvae.objectives.bound import Bound, check_aggregate
from kvae.objectives.objective import register

__all__ = ["AAE"]


@register("aae")
class AAE(Adversarial, Bound):
    """The adversarial autoencoder: `−E_q log p(x|z) − λ E_q log D(z)`, and no KL.

    D is the probability that a discriminator gives to z being a draw from the prior, and no code.
    The encoder learns to deceive it, so that all codes together are spread like the prior; any
    prior will do that can be drawn from. `−log D(z)` is in the logs as `adversarial`, in nats; it
    is log 2, about 0.69, where the two cannot be told apart.

    After each step of the model the discriminator takes one of its own, with Adam
    (β1 = 0.5, β2 = 0.9), on the codes of that step and as many draws from the prior, with the loss
    `−½ [log D(prior) + log(1 − D(codes))]`. With `posterior="delta"` it is the paper's
    deterministic encoder, and the WAE-GAN of Tolstikhin et al.; with `"diagonal_gaussian"` its
    Gaussian one. `elbo` and `kl` are reported as of any model; the loss bounds no likelihood.

    Args:
        lambda_: float or schedule (`kvae.schedules`). Weight of `−log D(z)`. Losses are sums over
            the event, so that larger images take a larger one. Defaults to `1.0`, as in the paper.
        **settings: `discriminator`, a Keras network from z to a logit, or the
            `discriminator_width`, `discriminator_depth` and `discriminator_learning_rate` of the
            one that is made, of `kvae.objectives.Adversarial`; `num_samples` and `kl` of
            `kvae.objectives.Bound`. A width of 1000 and a depth of 2, the defaults, are the
            paper's.

    A prior that is learned, e.g. a mixture, does not train: it is what the codes are drawn to.

    Raises:
        ValueError: for settings out of range, a model without a prior, a discrete posterior, and a
            prior that depends on a label.

    Example:

    ```python
    objective = kvae.objectives.AAE(discriminator_width=256)
    vae = kvae.VAE(encoder, decoder, latent_dim=8, posterior="delta", objective=objective)
    ```

    References:
        - [Makhzani et al., Adversarial Autoencoders, section 2](https://arxiv.org/abs/1511.05644)
        - [Tolstikhin et al., Wasserstein Auto-Encoders, algorithm 1](
          https://arxiv.org/abs/1711.01558)
    """

    def __init__(self, lambda_: schedules.Number = 1.0, **settings):
        super().__init__(**settings)
        self.lambda_ = schedules.resolve("lambda_", lambda_)

    def attach(self, vae):
        super().attach(vae)
        check_aggregate(self, vae)

    def metric_names(self):
        return (*super().metric_names(), "adversarial")

    def scheduled(self):
        return {"lambda_": self.lambda_}

    def cost(self, vae, params, z, kl, *, seed):
        fooled = ops.mean(ops.softplus(-self.discriminator(z)), axis=0)
        return schedules.at(self.lambda_, vae) * fooled, {"adversarial": fooled, "z": z}

    def update(self, vae, x, target, terms, seed):
        z = tf.reshape(terms["z"], (-1, terms["z"].shape[-1]))
        self.tell_apart(vae.prior.sample(tf.shape(z)[0], random.fold_in(seed, 2)), z)

    def get_config(self):
        return {
            **super().get_config(),
            "lambda_": schedules.serialize(self.lambda_),
            **self.discriminator_config(),
        }
