"""The model."""

from kvae.models.vae import VAE

__all__ = ["VAE"]
