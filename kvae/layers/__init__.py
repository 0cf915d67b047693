"""Layers for encoders and decoders."""

from kvae.layers.sampling import Sampling, reparameterize

__all__ = ["Sampling", "reparameterize"]
