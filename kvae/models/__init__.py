"""The model, `kvae.VAE`: its networks and parts, training, inference and files."""

from kvae.models.vae import VAE

__all__ = ["VAE"]
