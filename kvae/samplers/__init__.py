"""Densities that are fitted to the codes of a trained model, so that it samples better, or at all.

A sampler's result is a prior (`as_prior`), and the model with that prior (`model`) is a `kvae.VAE`
like any other.
"""

from kvae import parts
from kvae.samplers.flow import Flow
from kvae.samplers.gaussian_mixture import GaussianMixture
from kvae.samplers.kmeans import KMeans
from kvae.samplers.prior import Prior
from kvae.samplers.sampler import Sampler, aggregate_codes
from kvae.samplers.two_stage import TwoStage
from kvae.samplers.uniform_sphere import UniformSphere

__all__ = [
    "Flow",
    "GaussianMixture",
    "KMeans",
    "Prior",
    "Sampler",
    "TwoStage",
    "UniformSphere",
    "aggregate_codes",
    "get",
]

_BY_NAME = {
    "flow": Flow,
    "gaussian_mixture": GaussianMixture,
    "gmm": GaussianMixture,
    "kmeans": KMeans,
    "prior": Prior,
    "two_stage": TwoStage,
    "uniform_sphere": UniformSphere,
}


def get(identifier) -> Sampler:
    """Returns a sampler with its default settings from its name, or itself."""
    return parts.resolve("sampler", identifier, _BY_NAME, Sampler)
