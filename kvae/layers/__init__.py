"""Layers for encoders and decoders."""

from kvae.layers.dense import dense_network, hidden_layers
from kvae.layers.sampling import Sampling, reparameterize

__all__ = ["Sampling", "dense_network", "hidden_layers", "reparameterize"]
