"""Pictures of a model: every function returns a matplotlib `Figure`, and saves it when asked.

No function touches pyplot or its global state, so they are safe in threads, servers and
callbacks. Importing this package imports neither matplotlib nor TensorFlow.
"""

from kvae.plots.aggregate import aggregate_posterior, kl_per_dimension
from kvae.plots.anomalies import anomalies
from kvae.plots.curves import loss_curves
from kvae.plots.grid import tile
from kvae.plots.latent import latent_scatter
from kvae.plots.pictures import interpolation, reconstructions, samples, slices
from kvae.plots.posteriors import posterior_map
from kvae.plots.results import rate_distortion, training_neighbors
from kvae.plots.walk import manifold

__all__ = [
    "aggregate_posterior",
    "anomalies",
    "interpolation",
    "kl_per_dimension",
    "latent_scatter",
    "loss_curves",
    "manifold",
    "posterior_map",
    "rate_distortion",
    "reconstructions",
    "samples",
    "slices",
    "tile",
    "training_neighbors",
]
