"""Approximate posteriors q(z|x)."""

from kvae import parts
from kvae.posteriors.delta import Delta
from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.posterior import Posterior

__all__ = ["Delta", "DiagonalGaussian", "Posterior", "get"]

_BY_NAME = {"delta": Delta, "diagonal_gaussian": DiagonalGaussian}


def get(identifier) -> Posterior:
    """Returns a posterior from its name, its config or itself."""
    return parts.resolve("posterior", identifier, _BY_NAME, Posterior)
