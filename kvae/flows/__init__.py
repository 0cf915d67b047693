"""Normalizing flows: invertible maps of z whose log-determinants are known."""

from kvae import parts
from kvae.flows.autoregressive import InverseAutoregressive, MaskedAutoregressive, RealNVP
from kvae.flows.flow import Flow
from kvae.flows.planar import Planar
from kvae.flows.sylvester import Sylvester

__all__ = [
    "Flow",
    "InverseAutoregressive",
    "MaskedAutoregressive",
    "Planar",
    "RealNVP",
    "Sylvester",
    "chain",
    "get",
]

_BY_NAME = {
    "iaf": InverseAutoregressive,
    "maf": MaskedAutoregressive,
    "planar": Planar,
    "real_nvp": RealNVP,
    "sylvester": Sylvester,
}


def get(identifier) -> Flow:
    """Returns a flow from its name, its config or itself."""
    return parts.resolve("flow", identifier, _BY_NAME, Flow)


def chain(flows, num_flows: int, amortised: bool = True) -> list[Flow]:
    """Makes a list of flows out of a name (`num_flows` of it, in alternating orders) or a list.

    Those made from a name have no context where they are not `amortised`.
    """
    if not isinstance(flows, str):
        return [get(flow) for flow in flows]
    if num_flows < 1:
        raise ValueError(f"`num_flows` is at least 1, not {num_flows}.")
    made = [get(flows) for _ in range(num_flows)]
    for index, flow in enumerate(made):
        flow.reverse = index % 2 == 1
        if not amortised:
            flow.context_dim = 0
    return made
