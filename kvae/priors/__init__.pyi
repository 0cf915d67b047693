# Written by `make stubs` from what the package registers.

from kvae.priors.class_conditional import ClassConditional as ClassConditional
from kvae.priors.discrete import CodesPrior as CodesPrior
from kvae.priors.discrete import UniformCategorical as UniformCategorical
from kvae.priors.discrete import UniformCodes as UniformCodes
from kvae.priors.distribution import Distribution as Distribution
from kvae.priors.flow import Flow as Flow
from kvae.priors.gaussian_mixture import GaussianMixture as GaussianMixture
from kvae.priors.hierarchical import Hierarchical as Hierarchical
from kvae.priors.ladder import Ladder as Ladder
from kvae.priors.mixture import Mixture as Mixture
from kvae.priors.pixel_cnn import PixelCNN as PixelCNN
from kvae.priors.poincare import Poincare as Poincare
from kvae.priors.poincare import RiemannianNormal as RiemannianNormal
from kvae.priors.poincare import WrappedNormal as WrappedNormal
from kvae.priors.prior import REGISTER as REGISTER
from kvae.priors.prior import Prior as Prior
from kvae.priors.prior import get as get
from kvae.priors.prior import names as names
from kvae.priors.prior import register as register
from kvae.priors.product import Product as Product
from kvae.priors.rescaled import Rescaled as Rescaled
from kvae.priors.spherical_mixture import SphericalMixture as SphericalMixture
from kvae.priors.standard_normal import StandardNormal as StandardNormal
from kvae.priors.two_stage import TwoStage as TwoStage
from kvae.priors.uniform_sphere import UniformSphere as UniformSphere
from kvae.priors.vamp import Vamp as Vamp
