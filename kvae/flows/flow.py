"""The interface of every normalizing flow."""

from kvae.parts import Part, PartRegister, on_demand, resolve, to_write

__all__ = ["REGISTER", "Flow", "chain", "get", "names", "register"]


class Flow(Part):
    """A map `z' = f(z)` of R^latent_dim onto itself, smooth, with a smooth inverse.

    Then `log q(z') = log q(z) − log |det ∂f/∂z|`. A flow may depend on `x` by amortised parameters,
    which the encoder gives for each example, like those of a posterior.

    A new flow gives `forward` and, where it has amortised parameters, `parameter_shapes`; where the
    inverse is known, `inverse`, and `invertible = True`. Networks of its own are made in `build`.

    Args:
        latent_dim: int or `None`. When `None`, the posterior or prior that has the flow sets it.
        reverse: bool. Whether to take the coordinates in the opposite order, if there is an order.
            Flows in a chain alternate. Defaults to `False`.

    Shapes: parameters `[batch, ...]`, `z` `[..., batch, latent_dim]`, log-determinants
    `[..., batch]`, in nats.
    """

    invertible = False
    context_dim = 0  # Size of the `context` among its parameters, if there is one.

    def __init__(self, latent_dim: int | None = None, reverse: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim, self.reverse = latent_dim, reverse

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each amortised parameter for one example, by name.

        The flows of a chain share the parameter `context`.
        """
        return {}

    @to_write
    def forward(self, params, z):
        """Returns `f(z)` and the logarithm of its Jacobian's |determinant|."""
        raise NotImplementedError

    @on_demand
    def inverse(self, params, z):
        """Returns the inverse of `f` at `z` and the logarithm of that one's |determinant|."""
        raise NotImplementedError

    def build(self, input_shape=None):
        self.built = True

    def call(self, z, params=None):
        return self.forward(params or {}, z)

    def get_config(self):
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "reverse": self.reverse,
        }


REGISTER = PartRegister("flow", Flow)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Flow:
    """Returns a flow from its name, its config or itself."""
    return resolve(REGISTER, identifier, Flow)


def chain(flows, num_flows: int, amortised: bool = True) -> list[Flow]:
    """Makes a list of flows from a list, or from one name.

    Args:
        flows: str, or sequence of names and `Flow`. From one name, `num_flows` flows are made,
            which take the coordinates in alternating orders.
        num_flows: int. How many flows one name stands for.
        amortised: bool. Whether flows made from a name may have a context. Defaults to `True`.
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
