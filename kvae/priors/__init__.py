"""Priors p(z)."""

from kvae import parts
from kvae.priors.prior import Prior
from kvae.priors.standard_normal import StandardNormal

__all__ = ["Prior", "StandardNormal", "get"]

_BY_NAME = {"standard_normal": StandardNormal}


def get(identifier) -> Prior | None:
    """Returns a prior from its name, its config or itself; `None` (no prior) stays `None`."""
    return None if identifier is None else parts.resolve("prior", identifier, _BY_NAME, Prior)
