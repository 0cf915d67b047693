# Written by `make stubs` from what the package registers.

from kvae.posteriors.delta import Delta as Delta
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian as DiagonalGaussian
from kvae.posteriors.flow import Flow as Flow
from kvae.posteriors.full_covariance import FullCovariance as FullCovariance
from kvae.posteriors.gaussian_mixture import GaussianMixture as GaussianMixture
from kvae.posteriors.gumbel_softmax import GumbelSoftmax as GumbelSoftmax
from kvae.posteriors.hierarchical import Hierarchical as Hierarchical
from kvae.posteriors.location_scale import Laplace as Laplace
from kvae.posteriors.location_scale import LocationScale as LocationScale
from kvae.posteriors.location_scale import Logistic as Logistic
from kvae.posteriors.low_rank import LowRank as LowRank
from kvae.posteriors.posterior import REGISTER as REGISTER
from kvae.posteriors.posterior import Posterior as Posterior
from kvae.posteriors.posterior import get as get
from kvae.posteriors.posterior import names as names
from kvae.posteriors.posterior import register as register
from kvae.posteriors.prior_noise import PriorNoise as PriorNoise
from kvae.posteriors.spherical import PowerSpherical as PowerSpherical
from kvae.posteriors.spherical import Spherical as Spherical
from kvae.posteriors.spherical import VonMisesFisher as VonMisesFisher
from kvae.posteriors.student_t import StudentT as StudentT
from kvae.posteriors.unit_variance import UnitVariance as UnitVariance
from kvae.posteriors.vector_quantized import VectorQuantized as VectorQuantized
