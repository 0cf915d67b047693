"""The point mass: an ordinary autoencoder as a VAE without noise."""

import math

import keras
from keras import ops

from kvae.posteriors.posterior import Posterior, register

__all__ = ["Delta"]


@register("delta")
class Delta(Posterior):
    """A deterministic code `z = z_mean`: the ordinary autoencoder.

    A point mass has no density with respect to a continuous prior, so the model has no ELBO and no
    log p(x); the KL term is reported as 0, and `elbo` is then minus the reconstruction term. What
    may regularise the code instead is a penalty in nats per example:
    `l1 * Σ|z_i| + l2 * Σ z_i²`. With `l2=0.5` it is, up to a constant, the KL of a unit-variance
    Gaussian around `z_mean`.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        activation: str or callable. Applied to the code, e.g. `"relu"` for the sparse codes of the
            blog post. Defaults to `"linear"`.
        l1: float. Weight of the absolute values. Defaults to `0.0`.
        l2: float. Weight of the squares. Defaults to `0.0`.

    Parameter: `z_mean`, `[batch, latent_dim]`.

    Example:

    ```python
    vae = kvae.VAE(encoder, decoder, latent_dim=32, posterior=kvae.posteriors.Delta(), prior=None)
    ```

    Reference:
        - [Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks](
          https://doi.org/10.1126/science.1127647)
    """

    deterministic = True
    any_size = True

    def __init__(
        self,
        latent_dim: int | None = None,
        activation="linear",
        l1: float = 0.0,
        l2: float = 0.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.activation = keras.activations.get(activation)
        if not (0 <= l1 < math.inf and 0 <= l2 < math.inf):
            raise ValueError(f"`l1` and `l2` are finite and at least 0, not {l1} and {l2}.")
        self.l1, self.l2 = l1, l2

    def parameter_shapes(self):
        return {"z_mean": (self.latent_dim,)}

    def constrain(self, params):
        return {"z_mean": self.activation(params["z_mean"])}

    def transform(self, params, noise):
        return params["z_mean"]

    def mean(self, params):
        return params["z_mean"]

    def distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.VectorDeterministic(params["z_mean"])

    def log_prob(self, params, z):
        raise ValueError(
            "A Delta posterior has no density, so there is no ELBO and no log p(x). Use "
            "`reconstruct`, or train a VAE with a posterior such as 'diagonal_gaussian'."
        )

    def penalty(self, params):
        if not (self.l1 or self.l2):
            return None
        z = params["z_mean"]
        return ops.sum(self.l1 * ops.abs(z) + self.l2 * ops.square(z), axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "l1": self.l1,
            "l2": self.l2,
        }
