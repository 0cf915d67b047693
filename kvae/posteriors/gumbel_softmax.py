"""The categorical posterior, relaxed in training."""

import math

import tensorflow as tf
from keras import ops

from kvae import random, schedules
from kvae.distributions.base_noise import Noise
from kvae.distributions.one_hot import one_hot_distribution, one_hot_of_largest
from kvae.distributions.straight_through import with_gradient_of
from kvae.posteriors.posterior import Posterior, register

__all__ = ["GumbelSoftmax"]


@register("gumbel_softmax")
class GumbelSoftmax(Posterior):
    """N independent categorical variables: `z` is N one-hot vectors, one after another.

    A class is drawn as `argmax_k(logits_k + gumbel noise_k)`, which has no gradient. In training
    the softmax of `(logits + noise) / temperature` stands for it, a point between the corners; the
    lower the temperature, the nearer the corners and the noisier the gradient. Outside of training
    draws are exact, so the ELBO of an evaluation and an importance-sampled log p(x) are those of
    the discrete model. The `elbo` of a training's logs is that of relaxed z, and no bound.

    The KL is that of the categorical distributions, in closed form. Where it is estimated
    (`kl="monte_carlo"`), the log-mass `Σ z log q` is taken at the relaxed z in training, which is
    biased and gets better as the temperature falls; outside of training it is exact.

    Args:
        latent_dim: int or `None`, a multiple of `num_categories`. Set by `kvae.VAE` when `None`.
        num_categories: int. K. Defaults to `10`.
        temperature: float or schedule (`kvae.schedules`) of the optimizer's step, e.g.
            `Linear(1.0, 0.5, steps)`, at least 0.001. A schedule's value is in the logs. Defaults
            to `0.67`.
        straight_through: bool. In training too the decoder sees exact one-hot vectors, and the
            gradient is that of the relaxed ones. Defaults to `False`.

    Parameter: `z_logits`, `[batch, N, K]`.

    Raises:
        ValueError: for a `latent_dim` that is no multiple of `num_categories`, a prior with another
            number of categories, and with the path gradient, which relaxed draws do not have.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=20, prior="uniform_categorical",
        posterior=kvae.posteriors.GumbelSoftmax(num_categories=10),     # 2 variables of 10 classes
    )
    ```

    References:
        - [Jang et al., Categorical Reparameterization with Gumbel-Softmax](
          https://arxiv.org/abs/1611.01144)
        - [Maddison et al., The Concrete Distribution](https://arxiv.org/abs/1611.00712)
    """

    space = "categorical"
    discrete = True

    def __init__(
        self,
        latent_dim: int | None = None,
        num_categories: int = 10,
        temperature: schedules.Number = 0.67,
        straight_through: bool = False,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if num_categories < 2:
            raise ValueError(f"`num_categories` is at least 2, not {num_categories}.")
        self.temperature = schedules.resolve("temperature", temperature)
        if self.temperature == 0:
            raise ValueError("`temperature` is more than 0: at 0 there is no gradient.")
        self.num_categories, self.straight_through = num_categories, straight_through
        self._vae = lambda: None

    def attach(self, vae):
        super().attach(vae)
        other = getattr(vae.prior, "num_categories", self.num_categories)
        if other != self.num_categories:
            raise ValueError(
                f"The posterior has num_categories={self.num_categories}, the prior {other}."
            )
        if self._vae() is None:  # Of models that share it, the schedule is the first one's.
            self._vae = lambda: vae

    def report(self):
        scheduled = schedules.is_schedule(self.temperature)
        return {"temperature": self._temperature()} if scheduled else {}

    def parameter_shapes(self):
        if self.latent_dim % self.num_categories:
            raise ValueError(
                f"latent_dim={self.latent_dim} is no multiple of num_categories="
                f"{self.num_categories}: z is a one-hot vector for each variable."
            )
        return {"z_logits": (self.latent_dim // self.num_categories, self.num_categories)}

    def base_noise(self):
        return {"uniform": Noise(self.latent_dim, "uniform")}

    def transform(self, params, noise):
        return one_hot_of_largest(self._scores(params, noise), self.num_categories)

    def sample(self, params, num_samples=None, *, seed, training=False):
        if not training:
            return super().sample(params, num_samples, seed=seed)
        scores = self._scores(params, self.draw_noise(params, num_samples, seed))
        shape = tf.shape(scores)
        groups = tf.reshape(scores / self._temperature(), (-1, self.num_categories))
        relaxed = tf.reshape(tf.nn.softmax(groups), shape)
        if not self.straight_through:
            return relaxed
        return with_gradient_of(one_hot_of_largest(scores, self.num_categories), relaxed)

    def mean(self, params):
        """Returns E[z], the classes' probabilities, `[batch, latent_dim]`.

        It is no corner: the decoder has met such points in training, between the corners.
        """
        return self._flat(ops.softmax(params["z_logits"], axis=-1))

    def distribution(self, params):
        return one_hot_distribution(params["z_logits"])

    def log_prob(self, params, z):
        """Returns the log-mass of one-hot vectors `z`, `[..., batch]`."""
        return ops.sum(z * self._flat(ops.log_softmax(params["z_logits"], axis=-1)), axis=-1)

    def entropy(self, params):
        """Returns the entropy in nats, `[batch]`."""
        log_q = ops.log_softmax(params["z_logits"], axis=-1)
        return -ops.sum(ops.exp(log_q) * log_q, axis=(-2, -1))

    def get_config(self):
        return {
            **super().get_config(),
            "num_categories": self.num_categories,
            "temperature": schedules.serialize(self.temperature),
            "straight_through": self.straight_through,
        }

    def _temperature(self):
        return ops.maximum(ops.cast(schedules.at(self.temperature, self._vae()), "float32"), 1e-3)

    def _scores(self, params, noise):
        """Returns the logits with Gumbel noise; the largest of each group names the class."""
        return self._flat(params["z_logits"]) + random.to_gumbel(noise["uniform"])

    def _flat(self, values):
        return ops.reshape(values, (-1, math.prod(values.shape[1:])))
