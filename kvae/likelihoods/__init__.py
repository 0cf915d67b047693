"""Likelihoods p(x|z)."""

from kvae import parts
from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.gaussian import GaussianLikelihood
from kvae.likelihoods.likelihood import Likelihood

__all__ = ["Bernoulli", "GaussianLikelihood", "Likelihood", "get"]

_BY_NAME = {"bernoulli": Bernoulli, "gaussian": GaussianLikelihood}


def get(identifier) -> Likelihood:
    """Returns a likelihood from its name, its config or itself."""
    return parts.resolve("likelihood", identifier, _BY_NAME, Likelihood)
