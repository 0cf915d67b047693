"""The Gaussian posterior with correlated latent dimensions."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import gaussian_log_density
from kvae.posteriors.posterior import Posterior, register

__all__ = ["FullCovariance"]


@register("full_covariance")
class FullCovariance(Posterior):
    """`q(z|x) = N(z; z_mean, L Lᵀ)` with a lower triangular L, the Cholesky factor.

    `z = z_mean + L ε`. The diagonal of L is `exp(z_log_var / 2)`, below it stands the third channel
    of parameters, `z_lower`; where that is 0 this is `DiagonalGaussian`. It can follow the
    correlations that "explaining away" puts into every true posterior; without them the ELBO of the
    best factorised q stays below log p(x) by at least `½ (Σ log Λ_ii − log det Λ)`, with Λ the
    precision of a Gaussian p(z|x).

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_var_bound: float. Bound of `|z_log_var|`; `|z_lower|` is at most
            `exp(log_var_bound / 2)`. Defaults to `20.0`.

    Parameters: `z_mean` and `z_log_var`, `[batch, latent_dim]`; `z_lower`,
    `[batch, latent_dim * (latent_dim - 1) / 2]`, row by row (absent when `latent_dim` is 1).

    Example:

    ```python
    posterior = kvae.posteriors.FullCovariance(latent_dim=2)
    zeros = np.zeros((1, 2), "float32")
    params = posterior({"z_mean": zeros, "z_log_var": zeros, "z_lower": np.float32([[1.0]])})
    posterior.covariance(params)      # [[[1, 1], [1, 2]]]
    ```

    Reference:
        - [Kingma & Welling, An Introduction to Variational Autoencoders, section 2.5.1](
          https://arxiv.org/abs/1906.02691)
    """

    standard_normal_at_zero = True

    def __init__(self, latent_dim: int | None = None, log_var_bound: float = 20.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.log_var_bound = log_var_bound

    def parameter_shapes(self):
        d = self.latent_dim
        shapes = {"z_mean": (d,), "z_log_var": (d,), "z_lower": (d * (d - 1) // 2,)}
        return shapes if d > 1 else {"z_mean": (d,), "z_log_var": (d,)}

    def constrain(self, params):
        bound = self.log_var_bound
        bounded = {**params, "z_log_var": ops.clip(params["z_log_var"], -bound, bound)}
        if "z_lower" in params:
            largest = math.exp(bound / 2)
            bounded["z_lower"] = ops.clip(params["z_lower"], -largest, largest)
        return bounded

    def scale_tril(self, params):
        """Returns L, `[batch, latent_dim, latent_dim]`."""
        diagonal = tf.linalg.diag(ops.exp(0.5 * params["z_log_var"]))
        if "z_lower" not in params:
            return diagonal
        # The index of each entry of the matrix; those on and above the diagonal take a zero.
        d, lower = self.latent_dim, params["z_lower"]
        source = np.full((d, d), d * (d - 1) // 2)
        source[np.tril_indices(d, -1)] = np.arange(d * (d - 1) // 2)
        padded = ops.concatenate([lower, ops.zeros_like(lower[..., :1])], axis=-1)
        return diagonal + ops.take(padded, source, axis=-1)

    def covariance(self, params):
        """Returns L Lᵀ, `[batch, latent_dim, latent_dim]`."""
        factor = self.scale_tril(params)
        return tf.linalg.matmul(factor, factor, transpose_b=True)

    def transform(self, params, noise):
        return params["z_mean"] + tf.linalg.matvec(self.scale_tril(params), noise["noise"])

    def mean(self, params):
        return params["z_mean"]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.MultivariateNormalTriL(params["z_mean"], self.scale_tril(params))

    def log_prob(self, params, z):
        difference = (z - params["z_mean"])[..., None]
        noise = tf.linalg.triangular_solve(self.scale_tril(params), difference)[..., 0]
        return self._log_prob_of_noise(params, noise)

    def sample_and_log_prob(self, params, num_samples=None, *, seed, training=False):
        # The noise is known, so no system has to be solved.
        noise = self.draw_noise(params, num_samples, seed)
        return self.transform(params, noise), self._log_prob_of_noise(params, noise["noise"])

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        variance = tf.linalg.diag_part(self.covariance(params))
        return gaussian_log_density(params["z_mean"], ops.log(variance), z)

    def get_config(self):
        return {**super().get_config(), "log_var_bound": self.log_var_bound}

    def _log_prob_of_noise(self, params, noise):
        terms = ops.square(noise) + params["z_log_var"] + math.log(2 * math.pi)
        return -0.5 * ops.sum(terms, axis=-1)
