"""Layers for encoders and decoders."""

from kvae.layers.dense import dense_network, hidden_layers
from kvae.layers.fourier import FourierFeatures
from kvae.layers.grid_attention import GridAttention
from kvae.layers.one_hot_levels import OneHotLevels
from kvae.layers.sampling import Sampling, reparameterize
from kvae.layers.spectral import spectrally_normalized
from kvae.layers.symbols import SymbolEmbedding
from kvae.layers.top_down import TopDown
from kvae.layers.weight_norm import WeightNormConv2D

__all__ = [
    "FourierFeatures",
    "GridAttention",
    "OneHotLevels",
    "Sampling",
    "SymbolEmbedding",
    "TopDown",
    "WeightNormConv2D",
    "dense_network",
    "hidden_layers",
    "reparameterize",
    "spectrally_normalized",
]
