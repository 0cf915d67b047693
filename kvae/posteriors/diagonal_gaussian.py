"""The Gaussian posterior with independent latent dimensions."""

import math

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_density, gaussian_log_prob
from kvae.layers.sampling import reparameterize
from kvae.posteriors.posterior import Posterior, register

__all__ = ["DiagonalGaussian"]


@register("diagonal_gaussian")
class DiagonalGaussian(Posterior):
    """`q(z|x) = N(z; z_mean, diag(exp(z_log_var)))`, the posterior of the original VAE.

    Both parameters are needed: `z_mean` says where the codes of `x` lie, `z_log_var` how far `z`
    may move before the decoder cares. The log-variance is clipped to ±`log_var_bound`, so that
    neither `exp` nor the KL can overflow.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_var_bound: float. Bound of `|z_log_var|`. Defaults to `20.0` (a standard deviation
            between 4.5e-5 and 2.2e4).

    Parameters: `z_mean`, `z_log_var`, both `[batch, latent_dim]`.

    Example:

    ```python
    posterior = kvae.posteriors.DiagonalGaussian(latent_dim=2)
    params = posterior(np.ones((3, 16), "float32"))
    z = posterior.sample(params, num_samples=5, seed=0)      # shape (5, 3, 2)
    posterior.log_prob(params, z)                            # shape (5, 3), nats
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, eq. 9 and 10](
          https://arxiv.org/abs/1312.6114)
    """

    standard_normal_at_zero = True
    any_size = True

    def __init__(self, latent_dim: int | None = None, log_var_bound: float = 20.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.log_var_bound = log_var_bound

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_log_var": (self.latent_dim,)}

    def constrain(self, params):
        bound = self.log_var_bound
        return {**params, "z_log_var": ops.clip(params["z_log_var"], -bound, bound)}

    def transform(self, params, noise):
        return reparameterize(params["z_mean"], params["z_log_var"], noise["noise"])

    def mean(self, params):
        return params["z_mean"]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.MultivariateNormalDiag(params["z_mean"], ops.exp(0.5 * params["z_log_var"]))

    def log_prob(self, params, z):
        return gaussian_log_prob(params["z_mean"], params["z_log_var"], z)

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        return gaussian_log_density(params["z_mean"], params["z_log_var"], z)

    def covariance(self, params):
        """Returns the covariance, `[batch, latent_dim, latent_dim]`."""
        return tf.linalg.diag(ops.exp(params["z_log_var"]))

    def cross_log_prob(self, params, z):
        # Products of matrices need no tensor [..., K, latent_dim]. The squares cancel, so they are
        # in double precision.
        mean, log_var = (tf.cast(params[name], tf.float64) for name in ("z_mean", "z_log_var"))
        z, precision = tf.cast(z, tf.float64), tf.exp(-log_var)
        squared = tf.tensordot(ops.square(z), tf.transpose(precision), 1)
        mixed = tf.tensordot(z, tf.transpose(mean * precision), 1)
        constant = ops.sum(ops.square(mean) * precision + log_var + math.log(2 * math.pi), axis=-1)
        return tf.cast(mixed - 0.5 * (squared + constant), tf.float32)

    def get_config(self):
        return {**super().get_config(), "log_var_bound": self.log_var_bound}
