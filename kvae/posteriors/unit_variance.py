"""The Gaussian posterior whose only parameter is its mean."""

import tensorflow as tf
from keras import ops

from kvae.distributions.gaussian import standard_log_density
from kvae.posteriors.posterior import Posterior, register

__all__ = ["UnitVariance"]


@register("unit_variance")
class UnitVariance(Posterior):
    """`q(z|x) = N(z; z_mean, I)`: `z = z_mean + ε`, and only the mean pays.

    Against N(0, I) the KL of eq. 10 shrinks to `‖z_mean‖² / 2`: an ordinary autoencoder with noise
    on its code and a penalty on the code's length. A dimension is precise only by being far from
    the origin, which is what the second parameter of `DiagonalGaussian` spares the model.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Parameter: `z_mean`, `[batch, latent_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior="unit_variance")
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, eq. 10 with σ = 1](
          https://arxiv.org/abs/1312.6114)
    """

    standard_normal_at_zero = True
    any_size = True

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,)}

    def transform(self, params, noise):
        return params["z_mean"] + noise["noise"]

    def mean(self, params):
        return params["z_mean"]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.MultivariateNormalDiag(params["z_mean"], ops.ones_like(params["z_mean"]))

    def log_prob(self, params, z):
        return ops.sum(self.marginal_log_prob(params, z), axis=-1)

    def marginal_log_prob(self, params, z):
        """Returns log q(z_i|x) of each coordinate alone in nats, `[..., batch, latent_dim]`."""
        return standard_log_density(z - params["z_mean"])

    def covariance(self, params):
        """Returns the covariance, `[batch, latent_dim, latent_dim]`."""
        return tf.linalg.diag(ops.ones_like(params["z_mean"]))
