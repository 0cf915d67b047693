"""Training objectives."""

from kvae import parts
from kvae.objectives.bound import Bound
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import Objective
from kvae.objectives.regularized import Regularized

__all__ = ["ELBO", "Bound", "Objective", "Regularized", "get"]

_BY_NAME = {"elbo": ELBO}


def get(identifier) -> Objective:
    """Returns an objective from its name, its config or itself."""
    return parts.resolve("objective", identifier, _BY_NAME, Objective)
