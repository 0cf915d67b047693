# Written by `make stubs` from what the package registers.

from kvae.likelihoods.autoregressive import Autoregressive as Autoregressive
from kvae.likelihoods.bernoulli import Bernoulli as Bernoulli
from kvae.likelihoods.categorical import Categorical as Categorical
from kvae.likelihoods.classes import OfClasses as OfClasses
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from kvae.likelihoods.discretized_logistic import Discretized as Discretized
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic as DiscretizedLogistic
from kvae.likelihoods.discretized_logistic_mixture import (
    DiscretizedLogisticMixture as DiscretizedLogisticMixture,
)
from kvae.likelihoods.distribution import Distribution as Distribution
from kvae.likelihoods.gaussian import Gaussian as Gaussian
from kvae.likelihoods.gaussian_mixture import GaussianMixture as GaussianMixture
from kvae.likelihoods.hyperbolic_secant import HyperbolicSecant as HyperbolicSecant
from kvae.likelihoods.laplace import Laplace as Laplace
from kvae.likelihoods.likelihood import REGISTER as REGISTER
from kvae.likelihoods.likelihood import Likelihood as Likelihood
from kvae.likelihoods.likelihood import get as get
from kvae.likelihoods.likelihood import names as names
from kvae.likelihoods.likelihood import register as register
from kvae.likelihoods.location_scale import LocationScale as LocationScale
from kvae.likelihoods.log_normal import LogNormal as LogNormal
from kvae.likelihoods.mixed_tabular import MixedTabular as MixedTabular
from kvae.likelihoods.modalities import Modalities as Modalities
from kvae.likelihoods.negative_binomial import NegativeBinomial as NegativeBinomial
from kvae.likelihoods.ordinal import Ordinal as Ordinal
from kvae.likelihoods.poisson import Poisson as Poisson
from kvae.likelihoods.rounded_mixture import RoundedMixture as RoundedMixture
from kvae.likelihoods.scale import ScaledInput as ScaledInput
from kvae.likelihoods.scale import Standardized as Standardized
from kvae.likelihoods.student_t import StudentT as StudentT
