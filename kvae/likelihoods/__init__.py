"""Likelihoods p(x|z)."""

from kvae import parts
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.categorical import CategoricalLikelihood
from kvae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from kvae.likelihoods.discretized_logistic import DiscretizedLogistic
from kvae.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from kvae.likelihoods.gaussian import GaussianLikelihood
from kvae.likelihoods.laplace import LaplaceLikelihood
from kvae.likelihoods.likelihood import Likelihood
from kvae.likelihoods.mixed_tabular import MixedTabular
from kvae.likelihoods.poisson import PoissonLikelihood

__all__ = [
    "Bernoulli",
    "CategoricalLikelihood",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "GaussianLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "MixedTabular",
    "PoissonLikelihood",
    "get",
]

_BY_NAME = {
    "bernoulli": Bernoulli,
    "categorical": CategoricalLikelihood,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
    "gaussian": GaussianLikelihood,
    "laplace": LaplaceLikelihood,
    "mixed_tabular": MixedTabular,  # Needs its columns, and says so.
    "poisson": PoissonLikelihood,
}


def get(identifier) -> Likelihood:
    """Returns a likelihood from its name, its config or itself."""
    return parts.resolve("likelihood", identifier, _BY_NAME, Likelihood)
