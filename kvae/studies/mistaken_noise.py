"""A mistake in the noise of z, and the density of what it draws."""

import math
from typing import Any

import keras

from kvae import posteriors
from kvae.models import VAE

__all__ = ["MistakenNoise", "honest"]


@keras.saving.register_keras_serializable(package="kvae_study")
class MistakenNoise(posteriors.DiagonalGaussian):
    """The mistake `z = μ + log(0.5 σ) ε`, with the KL of N(μ, σ²) all the same.

    The noise is 0 at σ = 2: the model can buy a code without noise at the price of a wide one.
    """

    def transform(self, params: dict[str, Any], noise: Any) -> Any:
        return params["z_mean"] + (math.log(0.5) + 0.5 * params["z_log_var"]) * noise["noise"]


@keras.saving.register_keras_serializable(package="kvae_study")
class WideNoise(posteriors.DiagonalGaussian):
    """N(μ, σ²) with a σ of at least `least`."""

    def __init__(self, latent_dim: int | None = None, least: float = 1e-3, **kwargs):
        super().__init__(latent_dim, **kwargs)
        self.least = least

    def constrain(self, params: dict[str, Any]) -> dict[str, Any]:
        params = super().constrain(params)
        spread = keras.ops.maximum(self.spread(params["z_log_var"]), self.least)
        return {**params, "z_log_var": 2.0 * keras.ops.log(spread)}

    def spread(self, log_var: Any) -> Any:
        return keras.ops.exp(0.5 * log_var)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "least": self.least}


@keras.saving.register_keras_serializable(package="kvae_study")
class HonestNoise(WideNoise):
    """The draws of `MistakenNoise` with the density that they have: N(μ, log(0.5 σ)²)."""

    def spread(self, log_var: Any) -> Any:
        return keras.ops.abs(math.log(0.5) + 0.5 * log_var)


def honest(vae: Any, least: float = 1e-3) -> VAE:
    """Returns the model with the density of what its posterior draws, and a σ of `least` or more.

    A point has no density, and from a narrow density the estimate of log p(x) is too low.
    """
    mistaken = isinstance(vae.posterior, MistakenNoise)
    posterior = (HonestNoise if mistaken else WideNoise)(vae.latent_dim, least)
    copy = VAE(vae.encoder, vae.decoder, vae.latent_dim, posterior, likelihood=vae.likelihood)
    posterior.set_weights(vae.posterior.get_weights())
    return copy
