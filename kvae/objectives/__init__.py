"""Training objectives."""

import functools

from kvae import parts
from kvae.objectives.beta_tcvae import BetaTCVAE
from kvae.objectives.bound import Bound
from kvae.objectives.dip_vae import DIPVAE
from kvae.objectives.elbo import ELBO
from kvae.objectives.factor_vae import FactorVAE
from kvae.objectives.importance_weighted import CIWAE, IWAE, MIWAE, PIWAE
from kvae.objectives.objective import Objective
from kvae.objectives.regularized import Regularized
from kvae.objectives.wae import WAE, InfoVAE, Matching

__all__ = [
    "BetaTCVAE",
    "CIWAE",
    "DIPVAE",
    "ELBO",
    "FactorVAE",
    "IWAE",
    "InfoVAE",
    "MIWAE",
    "PIWAE",
    "WAE",
    "Bound",
    "Matching",
    "Objective",
    "Regularized",
    "get",
]

_BY_NAME = {
    "beta_tcvae": BetaTCVAE,
    "ciwae": CIWAE,
    "dip_vae": DIPVAE,
    "dreg": functools.partial(IWAE, gradient="doubly_reparameterized"),
    "elbo": ELBO,
    "factor_vae": FactorVAE,
    "info_vae": InfoVAE,
    "iwae": IWAE,
    "miwae": MIWAE,
    "piwae": PIWAE,
    "wae": WAE,
}


def get(identifier) -> Objective:
    """Returns an objective from its name, its config or itself."""
    return parts.resolve("objective", identifier, _BY_NAME, Objective)
