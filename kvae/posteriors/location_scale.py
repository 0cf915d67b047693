"""Posteriors `z = z_mean + exp(z_log_scale) * t`, where t is not Gaussian."""

import math

import tensorflow as tf
from keras import ops

from kvae import random
from kvae.distributions.base_noise import Noise
from kvae.parts import on_demand, to_write
from kvae.posteriors.posterior import Posterior, register

__all__ = ["Laplace", "LocationScale", "Logistic"]


class LocationScale(Posterior):
    """Independent dimensions of one shape, moved by `z_mean` and stretched by `exp(z_log_scale)`.

    A new one gives `element_transform` (uniform numbers to draws of t), `element_log_prob`
    (log-density of t) and, where they are known, `entropy` (of t) and `second_moment` (E[t²]), from
    which the KL to N(0, I) follows.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_scale_bound: float. Bound of `|z_log_scale|`. Defaults to `10.0`.

    Parameters: `z_mean`, `z_log_scale`, both `[batch, latent_dim]`.
    """

    any_size = True

    def __init__(self, latent_dim: int | None = None, log_scale_bound: float = 10.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.log_scale_bound = log_scale_bound

    @to_write
    def element_transform(self, params, uniform):
        """Turns base noise, uniform on [0, 1), into draws of t `[..., batch, latent_dim]`."""
        raise NotImplementedError

    @to_write
    def element_log_prob(self, params, t):
        """Returns the log-density of t in nats, elementwise."""
        raise NotImplementedError

    @on_demand
    def entropy(self, params):
        """Returns the entropy of one dimension's t in nats; it broadcasts with `z_mean`."""
        raise NotImplementedError

    @on_demand
    def second_moment(self, params):
        """Returns E[t²]; it broadcasts with `z_mean`. E[t] is 0."""
        raise NotImplementedError

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_log_scale": (self.latent_dim,)}

    def constrain(self, params):
        bound = self.log_scale_bound
        return {**params, "z_log_scale": ops.clip(params["z_log_scale"], -bound, bound)}

    def base_noise(self):
        return {"uniform": Noise(self.latent_dim, "uniform")}

    def transform(self, params, noise):
        t = self.element_transform(params, noise["uniform"])
        return params["z_mean"] + ops.exp(params["z_log_scale"]) * t

    def mean(self, params):
        return params["z_mean"]

    def log_prob(self, params, z):
        return ops.sum(self.marginal_log_prob(params, z), axis=-1)

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        z_log_scale = params["z_log_scale"]
        t = (z - params["z_mean"]) * ops.exp(-z_log_scale)
        return self.element_log_prob(params, t) - z_log_scale

    def _independent(self, kind, params, **others):
        """Returns independent distributions of a class of TFP, at the location and scale."""
        from tensorflow_probability import distributions as tfd

        scale = ops.exp(params["z_log_scale"])
        each = kind(loc=params["z_mean"], scale=scale, **others)
        return tfd.Independent(each, reinterpreted_batch_ndims=1)

    def covariance(self, params):
        """Returns the covariance, `[batch, latent_dim, latent_dim]`."""
        return tf.linalg.diag(ops.exp(2 * params["z_log_scale"]) * self.second_moment(params))

    def get_config(self):
        return {**super().get_config(), "log_scale_bound": self.log_scale_bound}


@register("laplace")
class Laplace(LocationScale):
    """`q(z|x) = Π Laplace(z_i; z_mean_i, exp(z_log_scale_i))`: a peak with exponential tails.

    Its noise goes through the inverse of the distribution function, the first recipe for
    reparameterisations in section 2.4 of Auto-Encoding Variational Bayes. The KL to N(0, I) is
    known: `Σ ½ z_mean² + b² − log b + ½ log(π / 2) − 1` with `b = exp(z_log_scale)`.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_scale_bound: float. Bound of `|z_log_scale|`. Defaults to `10.0`.

    Parameters: `z_mean`, `z_log_scale`, both `[batch, latent_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior="laplace")
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, section 2.4](
          https://arxiv.org/abs/1312.6114)
    """

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return self._independent(tfd.Laplace, params)

    def element_transform(self, params, uniform):
        return random.to_laplace(uniform)

    def element_log_prob(self, params, t):
        return -ops.abs(t) - math.log(2.0)

    def entropy(self, params):
        return 1.0 + math.log(2.0)

    def second_moment(self, params):
        return 2.0


@register("logistic")
class Logistic(LocationScale):
    """`q(z|x) = Π Logistic(z_i; z_mean_i, exp(z_log_scale_i))`: a bell with exponential tails.

    Its noise goes through the inverse of the distribution function, `log u − log(1 − u)`. The KL
    to N(0, I) is known: the entropy of a dimension is `z_log_scale + 2`, its variance
    `π² / 3 * exp(2 z_log_scale)`.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_scale_bound: float. Bound of `|z_log_scale|`. Defaults to `10.0`.

    Parameters: `z_mean`, `z_log_scale`, both `[batch, latent_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior="logistic")
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, section 2.4](
          https://arxiv.org/abs/1312.6114)
    """

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return self._independent(tfd.Logistic, params)

    def element_transform(self, params, uniform):
        return random.to_logistic(uniform)

    def element_log_prob(self, params, t):
        # The density is symmetric in t, and in terms of |t| nothing overflows.
        t = ops.abs(t)
        return -t - 2.0 * tf.math.softplus(-t)

    def entropy(self, params):
        return 2.0

    def second_moment(self, params):
        return math.pi**2 / 3
