"""Likelihoods p(x|z)."""

from kvae import parts
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.categorical import Categorical
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
from kvae.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from kvae.likelihoods.gaussian import Gaussian
from kvae.likelihoods.laplace import Laplace
from kvae.likelihoods.likelihood import Likelihood
from kvae.likelihoods.mixed_tabular import MixedTabular
from kvae.likelihoods.poisson import Poisson

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "MixedTabular",
    "Poisson",
    "get",
]

_BY_NAME = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "mixed_tabular": MixedTabular,  # Needs its columns, and says so.
    "poisson": Poisson,
}


def get(identifier) -> Likelihood:
    """Returns a likelihood from its name, its config or itself."""
    return parts.resolve("likelihood", identifier, _BY_NAME, Likelihood)
