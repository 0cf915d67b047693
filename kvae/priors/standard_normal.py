"""The standard Gaussian prior."""

from keras import ops

from kvae.distributions.gaussian import standard_log_density
from kvae.priors.prior import Prior, register

__all__ = ["StandardNormal"]


@register("standard_normal")
class StandardNormal(Prior):
    """`p(z) = N(z; 0, I)`.

    Example:

    ```python
    prior = kvae.priors.StandardNormal(latent_dim=2)
    prior.log_prob(np.zeros((1, 2), "float32"))     # [-1.8379] = -log(2π), in nats
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, section 3 and appendix B](
          https://arxiv.org/abs/1312.6114)
    """

    standard_normal = True
    factorized = True
    any_size = True

    def transform(self, noise, temperature=1.0):
        return temperature * noise["noise"]

    def distribution(self):
        from tensorflow_probability import distributions as tfd

        return tfd.MultivariateNormalDiag(ops.zeros(self.latent_dim), ops.ones(self.latent_dim))

    def log_prob(self, z):
        return ops.sum(standard_log_density(z), axis=-1)
