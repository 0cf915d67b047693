"""Approximate posteriors q(z|x)."""

import functools

from kvae import parts
from kvae.posteriors.delta import Delta
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.flow import Flow
from kvae.posteriors.full_covariance import FullCovariance
from kvae.posteriors.gaussian_mixture import GaussianMixture
from kvae.posteriors.gumbel_softmax import GumbelSoftmax
from kvae.posteriors.hierarchical import Hierarchical
from kvae.posteriors.location_scale import Laplace, LocationScale, Logistic
from kvae.posteriors.low_rank import LowRank
from kvae.posteriors.posterior import Posterior
from kvae.posteriors.prior_noise import PriorNoise
from kvae.posteriors.spherical import PowerSpherical, Spherical, VonMisesFisher
from kvae.posteriors.student_t import StudentT
from kvae.posteriors.unit_variance import UnitVariance
from kvae.posteriors.vector_quantized import VectorQuantized

__all__ = [
    "Delta",
    "DiagonalGaussian",
    "Flow",
    "FullCovariance",
    "GaussianMixture",
    "GumbelSoftmax",
    "Hierarchical",
    "Laplace",
    "LocationScale",
    "Logistic",
    "LowRank",
    "Posterior",
    "PowerSpherical",
    "PriorNoise",
    "Spherical",
    "StudentT",
    "UnitVariance",
    "VectorQuantized",
    "VonMisesFisher",
    "get",
]

_BY_NAME = {
    "delta": Delta,
    "diagonal_gaussian": DiagonalGaussian,
    "full_covariance": FullCovariance,
    "gaussian_mixture": GaussianMixture,
    "gumbel_softmax": GumbelSoftmax,
    "hierarchical": Hierarchical,
    **{
        name: functools.partial(Flow, flows=name)
        for name in ("iaf", "planar", "real_nvp", "sylvester")
    },
    "laplace": Laplace,
    "logistic": Logistic,
    "low_rank": LowRank,
    "power_spherical": PowerSpherical,
    "prior_noise": PriorNoise,
    "student_t": StudentT,
    "unit_variance": UnitVariance,
    "vector_quantized": VectorQuantized,
    "von_mises_fisher": VonMisesFisher,
}


def get(identifier) -> Posterior:
    """Returns a posterior from its name, its config or itself."""
    return parts.resolve("posterior", identifier, _BY_NAME, Posterior)
