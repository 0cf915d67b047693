"""The uniform prior on the unit sphere."""

import math

import tensorflow as tf
from keras import ops

from kvae.priors.prior import Prior, register

__all__ = ["UniformSphere"]


@register("uniform_sphere")
class UniformSphere(Prior):
    """The uniform distribution on the sphere `‖z‖ = 1` in R^latent_dim.

    It has no centre for the posteriors to be drawn to. Its density is one over the sphere's area,
    with respect to the area, so it goes with posteriors on the sphere only (`PowerSpherical`).
    `temperature` has nothing to scale: directions have no length.

    Args:
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.

    Example:

    ```python
    prior = kvae.priors.UniformSphere(latent_dim=3)
    prior.log_prob(np.eye(3, dtype="float32"))     # [-2.531, …] = -log(4π), in nats
    ```

    Reference:
        - [Davidson et al., Hyperspherical Variational Auto-Encoders](
          https://arxiv.org/abs/1804.00891)
    """

    space = "sphere"

    def build(self, input_shape=None):
        if self.latent_dim is None or self.latent_dim < 2:
            raise ValueError(f"A sphere needs a latent_dim of at least 2, not {self.latent_dim}.")
        self.built = True

    def transform(self, noise, temperature=1.0):
        return tf.math.l2_normalize(noise["noise"], axis=-1)

    def mean(self):
        return ops.zeros((self.latent_dim,))

    def log_area(self) -> float:
        """Returns the logarithm of the sphere's area."""
        half = 0.5 * self.latent_dim
        return math.log(2.0) + half * math.log(math.pi) - math.lgamma(half)

    def distribution(self):
        from tensorflow_probability import distributions as tfd

        return tfd.SphericalUniform(self.latent_dim)

    def log_prob(self, z):
        return ops.zeros_like(z[..., 0]) - self.log_area()
