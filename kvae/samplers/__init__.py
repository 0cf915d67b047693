"""Densities that are fitted to the codes of a trained model, so that it samples better, or at all.

A sampler's result is a prior (`as_prior`), and the model with that prior (`model`) is a `kvae.VAE`
like any other.
"""

from kvae import parts
from kvae.samplers.flow import FlowSampler
from kvae.samplers.gaussian_mixture import GaussianMixtureSampler
from kvae.samplers.kmeans import KMeansSampler
from kvae.samplers.prior import PriorSampler
from kvae.samplers.sampler import Sampler, aggregate_codes
from kvae.samplers.two_stage import TwoStageSampler
from kvae.samplers.uniform_sphere import UniformSphereSampler

__all__ = [
    "FlowSampler",
    "GaussianMixtureSampler",
    "KMeansSampler",
    "PriorSampler",
    "Sampler",
    "TwoStageSampler",
    "UniformSphereSampler",
    "aggregate_codes",
    "get",
]

_BY_NAME = {
    "flow": FlowSampler,
    "gaussian_mixture": GaussianMixtureSampler,
    "gmm": GaussianMixtureSampler,
    "kmeans": KMeansSampler,
    "prior": PriorSampler,
    "two_stage": TwoStageSampler,
    "uniform_sphere": UniformSphereSampler,
}


def get(identifier) -> Sampler:
    """Returns a sampler with its default settings from its name, or itself."""
    return parts.resolve("sampler", identifier, _BY_NAME, Sampler)
