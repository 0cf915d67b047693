"""Training objectives."""

from kvae import parts
from kvae.objectives.beta_tcvae import BetaTCVAE
from kvae.objectives.bound import Bound
from kvae.objectives.elbo import ELBO
from kvae.objectives.objective import Objective
from kvae.objectives.regularized import Regularized

__all__ = ["ELBO", "BetaTCVAE", "Bound", "Objective", "Regularized", "get"]

_BY_NAME = {
    "beta_tcvae": BetaTCVAE,
    "elbo": ELBO,
}


def get(identifier) -> Objective:
    """Returns an objective from its name, its config or itself."""
    return parts.resolve("objective", identifier, _BY_NAME, Objective)
