"""The posterior that ignores x."""

import math

import keras
from keras import ops

from kvae.posteriors.posterior import Posterior, register

__all__ = ["PriorNoise"]


@register("prior_noise")
class PriorNoise(Posterior):
    """`q(z|x) = p(z)`: z is drawn from the prior, whatever `x` is.

    This is what remains of a VAE without the posterior's mean and variance. The KL is 0, the
    encoder learns nothing (its gradients are 0), and the decoder can at best model the data as one
    cloud. A collapsed posterior equals this one.

    It learns the prior from its model, so it draws nothing before a `kvae.VAE` is made with it.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Parameter: `batch`, `[batch, 1]`, all zeros: it carries the number of examples and nothing else.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=2, posterior="prior_noise")
    ```
    """

    ignores_x = True

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self._prior = lambda: None

    @property
    def prior(self):
        """The prior that z is drawn from."""
        prior = self._prior()
        if prior is None:
            raise ValueError(
                "PriorNoise draws from the prior of its model: make a kvae.VAE with it first."
            )
        return prior

    def attach(self, vae):
        self._draw_from(vae.prior)

    def with_prior(self, prior):
        other = PriorNoise(self.latent_dim)
        other._draw_from(prior)
        return other

    def _draw_from(self, prior) -> None:
        if prior is None:
            raise ValueError("A PriorNoise posterior needs a prior to draw from, not None.")
        if prior.uses_posterior:
            raise ValueError(
                f"{type(prior).__name__} is made of the model's posterior, and PriorNoise draws "
                "from the prior: each would be defined by the other. Choose another of either."
            )
        # The prior stands behind a function, so that Keras does not track it as a layer.
        self._prior = lambda: prior

    def draws_from(self, prior) -> bool:
        """Returns whether z is drawn from this prior, so that the KL is 0."""
        return self.prior is prior or (self.prior.standard_normal and prior.standard_normal)

    @property
    def space(self):
        return self.prior.space

    def parameter_shapes(self):
        return {}

    def build(self, features_shape):
        if self.latent_dim is None:
            raise ValueError("PriorNoise needs its `latent_dim` before it is built.")
        self.built = True

    def call(self, features, training=False):
        # Zero times the features gives the encoder gradients of 0. Without any gradients, Keras
        # would warn of a forgotten loss.
        rows = [
            ops.reshape(value, (-1, math.prod(value.shape[1:])))[:, :1]
            for value in keras.tree.flatten(features)
        ]
        return {"batch": 0.0 * sum(rows[1:], rows[0])}

    def base_noise(self):
        return self.prior.base_noise()

    def transform(self, params, noise):
        lead = ops.shape(next(iter(noise.values())))[:-1]
        rows = {name: ops.reshape(part, (-1, part.shape[-1])) for name, part in noise.items()}
        z = self.prior.transform(rows)
        return ops.reshape(z, (*lead, self.latent_dim)) + params["batch"]

    def mean(self, params):
        return self.prior.mean() + params["batch"]

    def log_prob(self, params, z):
        return self.prior.log_prob(z) + params["batch"][..., 0]
