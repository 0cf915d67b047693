"""A distribution of TensorFlow Probability as a posterior."""

import tensorflow as tf

from kvae.distributions import tfp_config, tfp_draws
from kvae.distributions.tfp_families import Family, declare
from kvae.posteriors.posterior import REGISTER, Posterior, register

__all__ = ["Distribution"]


@register()
class Distribution(Posterior):
    """`q(z|x) = d(z; f(x))`, with d a distribution of TFP and f the encoder.

    TFP is TensorFlow Probability. `kvae.VAE(posterior=…)` takes what `source` takes, and makes
    this part of it.

    - A function from parameters to a distribution, decorated with `kvae.posteriors.register`. Each
      argument is a parameter with `latent_dim` numbers, or as many as `register(parameters=…)`
      says for it: a number, a shape, or a function from `latent_dim` to one of them. Parameters
      are any real numbers; the function brings them into their range.
    - A class of TFP, e.g. `tfd.Laplace` or `tfd.MultivariateNormalTriL`. Its parameters, their
      shapes and the bijectors into their ranges are those that TFP knows. Where there is a
      bijector, the name of what the encoder gives begins with `raw_`.

    Draws are reparameterized: they are made of base noise, so that the distribution is normal, has
    a quantile function, or is made of such ones by bijectors, `Independent` and `Sample`. The KL is
    that of `tfd.kl_divergence` where TFP or `tfd.RegisterKL` knows it for the pair, and estimated
    otherwise.

    Args:
        source: a registered function, or a class of TFP.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Raises:
        TypeError: for a function that is not registered, and for a distribution that depends on no
            parameters.
        ValueError: for another shape than `[batch, latent_dim]` or another dtype than float32, and
            for a distribution whose draws have no gradient, or are not made of base noise.

    Example:

    ```python
    from tensorflow_probability import distributions as tfd

    @kvae.posteriors.register(package="my_package")
    def laplace(loc, log_scale):
        return tfd.Laplace(loc, ops.exp(ops.clip(log_scale, -10.0, 10.0)))

    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior=laplace)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior=tfd.MultivariateNormalTriL)
    ```

    Reference:
        - [Dillon et al., TensorFlow Distributions](https://arxiv.org/abs/1711.10604)
    """

    within_reals = True
    declare = staticmethod(declare)

    def __init__(self, source, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        if tfp_config.is_of_tfp(source):
            raise TypeError(
                f"`posterior` is one {type(source).__name__.lstrip('_')} of TensorFlow "
                "Probability, which does not depend on x. Give its class, or a function from "
                "parameters to a distribution that @kvae.posteriors.register decorates."
            )
        self.family = Family(source)
        self._known: dict = {}

    def parameter_shapes(self):
        return self.family.shapes(self.latent_dim)

    def build(self, features_shape):
        if self.latent_dim is not None:
            with tf.init_scope():
                self._check(self.distribution(self.family.zeros(self.latent_dim)))
        super().build(features_shape)

    def _check(self, made) -> None:
        """Refuses a distribution that the model cannot learn."""
        from tensorflow_probability import distributions as tfd

        free = made.reparameterization_type == tfd.FULLY_REPARAMETERIZED
        # The choice of a component is made by noise, and has no gradient in the weights.
        if not free or tfp_draws.COMPONENT in tfp_draws.noise_of(made):
            raise ValueError(
                f"Draws of {self.family.name} have no gradient in all parameters, without which "
                "the encoder does not learn them: TFP calls them not reparameterized, or they "
                "choose a component. For classes there is posterior='gumbel_softmax', for "
                "mixtures 'gaussian_mixture'."
            )

    def distribution(self, params):
        made = self.family(params, self.latent_dim)
        return tfp_draws.shaped(made, self.latent_dim, 1, f"posterior={self.family.name}")

    def _fact(self, name: str, function):
        """Returns what is true of the distribution whatever its parameters are."""
        if name not in self._known:
            with tf.init_scope():
                self._known[name] = function(self.distribution(self.family.zeros(self.latent_dim)))
        return self._known[name]

    @property
    def space(self):
        return "real" if self.latent_dim is None else self._fact("space", tfp_draws.space_of)

    def base_noise(self):
        return self._fact("noise", tfp_draws.noise_of)

    def transform(self, params, noise):
        return tfp_draws.transformed(self.distribution(params), noise)

    def mean(self, params):
        return tfp_draws.mean_of(self.distribution(params))

    def log_prob(self, params, z):
        return tfp_draws.log_prob(self.distribution(params), z)

    @property
    def marginal_log_prob(self):
        known = self._fact("factorized", lambda own: tfp_draws.factors(own) is not None)
        if not known:
            return None
        return lambda params, z: tfp_draws.factors(self.distribution(params)).log_prob(z)

    def get_config(self):
        return {**super().get_config(), "source": self.family.get_config()}


REGISTER.of_distributions = Distribution
