"""Priors p(z)."""

from kvae import parts
from kvae.priors.class_conditional import ClassConditional
from kvae.priors.discrete import UniformCategorical, UniformCodes
from kvae.priors.flow import Flow
from kvae.priors.gaussian_mixture import GaussianMixture
from kvae.priors.hierarchical import Hierarchical
from kvae.priors.pixel_cnn import PixelCNN
from kvae.priors.prior import Prior
from kvae.priors.rescaled import Rescaled
from kvae.priors.spherical_mixture import SphericalMixture
from kvae.priors.standard_normal import StandardNormal
from kvae.priors.two_stage import TwoStage
from kvae.priors.uniform_sphere import UniformSphere
from kvae.priors.vamp import Vamp

__all__ = [
    "ClassConditional",
    "Flow",
    "GaussianMixture",
    "Hierarchical",
    "PixelCNN",
    "Prior",
    "Rescaled",
    "SphericalMixture",
    "StandardNormal",
    "TwoStage",
    "UniformCategorical",
    "UniformCodes",
    "UniformSphere",
    "Vamp",
    "get",
]

_BY_NAME = {
    "class_conditional": ClassConditional,
    "flow": Flow,
    "gaussian_mixture": GaussianMixture,
    "spherical_mixture": SphericalMixture,
    "hierarchical": Hierarchical,
    "pixel_cnn": PixelCNN,
    "standard_normal": StandardNormal,
    "uniform_categorical": UniformCategorical,
    "uniform_codes": UniformCodes,
    "uniform_sphere": UniformSphere,
    "vamp": Vamp,
}


def get(identifier) -> Prior | None:
    """Returns a prior from its name, its config or itself; `None` (no prior) stays `None`."""
    return None if identifier is None else parts.resolve("prior", identifier, _BY_NAME, Prior)
