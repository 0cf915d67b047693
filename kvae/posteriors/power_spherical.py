"""The posterior on the unit sphere."""

import math

import keras
import tensorflow as tf
from keras import ops

from kvae.posteriors.posterior import Posterior

__all__ = ["PowerSpherical"]


@keras.saving.register_keras_serializable(package="kvae")
class PowerSpherical(Posterior):
    """`q(z|x) ∝ (1 + z_meanᵀ z)^concentration` on the unit sphere in R^latent_dim.

    It takes the place of the von Mises–Fisher distribution, which it resembles, without its Bessel
    functions and without rejection: the cosine to `z_mean` is a beta variable, drawn here by the
    inverse of its distribution function, and the direction around `z_mean` is uniform. Both come
    out of plain Gaussian noise, and gradients reach both parameters. For use with the
    `UniformSphere` prior.

    Args:
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.
        max_concentration: float. The largest concentration; the smallest is 0.01. Defaults to
            `1000.0`.

    Parameters: `z_mean`, `[batch, latent_dim]`, the mean direction, of length 1 (brought there);
    `z_concentration`, `[batch, 1]`. An encoder that returns parameters gives `z_concentration`
    before its softplus.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=3, posterior="power_spherical", prior="uniform_sphere"
    )
    ```

    References:
        - [De Cao & Aziz, The Power Spherical distribution](https://arxiv.org/abs/2006.04437)
        - [Davidson et al., Hyperspherical Variational Auto-Encoders](
          https://arxiv.org/abs/1804.00891)
    """

    space = "sphere"

    def __init__(self, latent_dim: int | None = None, max_concentration: float = 1000.0, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if not 0.01 < max_concentration < math.inf:
            raise ValueError(f"`max_concentration` is more than 0.01, not {max_concentration}.")
        self.max_concentration = max_concentration

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,), "z_concentration": (1,)}

    def build(self, features_shape):
        if self.latent_dim is not None and self.latent_dim < 2:
            raise ValueError(f"A sphere needs a latent_dim of at least 2, not {self.latent_dim}.")
        super().build(features_shape)

    def constrain(self, params):
        # From the first axis where the direction is undetermined.
        axis = tf.one_hot(0, self.latent_dim) * 1e-6
        concentration = 0.01 + tf.math.softplus(params["z_concentration"])
        return {
            "z_mean": tf.math.l2_normalize(params["z_mean"] + axis, axis=-1),
            "z_concentration": ops.minimum(concentration, self.max_concentration),
        }

    def transform(self, params, noise):
        import tensorflow_probability as tfp

        # Half of one minus the cosine: small where the concentration is large, hence precise.
        alpha, beta = self._alpha_beta(params)
        uniform = 0.5 * tf.math.erfc(tf.cast(noise[..., 0], tf.float64) / math.sqrt(2.0))
        gap = tfp.math.betaincinv(beta, alpha, uniform)
        gap = ops.cast(ops.clip(gap, 1e-12, 1 - 1e-12), "float32")[..., None]
        around = tf.math.l2_normalize(noise[..., 1:], axis=-1)
        pole = ops.concatenate([1 - 2 * gap, 2 * ops.sqrt(gap * (1 - gap)) * around], axis=-1)
        # The reflection that takes the first axis to the mean.
        first = tf.one_hot(0, self.latent_dim)
        mirror = tf.math.l2_normalize(first - params["z_mean"], axis=-1)
        return pole - 2 * ops.sum(mirror * pole, axis=-1, keepdims=True) * mirror

    def mean(self, params):
        """Returns the mean direction, `[batch, latent_dim]`.

        It is E[z] brought to the sphere, where the decoder knows its inputs.
        """
        return params["z_mean"]

    def log_prob(self, params, z):
        cosine = ops.sum(z * params["z_mean"], axis=-1)
        power = params["z_concentration"][..., 0] * ops.log(ops.maximum(1 + cosine, 1e-7))
        return power - ops.cast(self._log_normalizer(params), "float32")

    def entropy(self, params):
        """Returns the entropy in nats with respect to the sphere's area, `[batch]`."""
        alpha, beta = self._alpha_beta(params)
        log_power = math.log(2.0) + tf.math.digamma(alpha) - tf.math.digamma(alpha + beta)
        concentration = ops.cast(params["z_concentration"][..., 0], "float64")
        return ops.cast(self._log_normalizer(params) - concentration * log_power, "float32")

    def get_config(self):
        return {**super().get_config(), "max_concentration": self.max_concentration}

    def _alpha_beta(self, params):
        # (1 + cosine) / 2 ~ Beta(alpha, beta). Double precision: log-gammas cancel.
        concentration = ops.cast(params["z_concentration"][..., 0], "float64")
        beta = tf.fill(tf.shape(concentration), tf.constant((self.latent_dim - 1) / 2, tf.float64))
        return beta + concentration, beta

    def _log_normalizer(self, params):
        alpha, beta = self._alpha_beta(params)
        gammas = tf.math.lgamma(alpha) - tf.math.lgamma(alpha + beta)
        return (alpha + beta) * math.log(2.0) + beta * math.log(math.pi) + gammas
