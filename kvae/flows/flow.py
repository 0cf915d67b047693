"""The interface of every normalizing flow."""

from kvae.parts import Part

__all__ = ["Flow"]


class Flow(Part):
    """A map `z' = f(z)` of R^latent_dim onto itself, smooth, with a smooth inverse.

    Then `log q(z') = log q(z) − log |det ∂f/∂z|`. What a flow needs to know of `x` are amortised
    parameters, which the encoder gives for each example, like those of a posterior.

    A new flow gives `forward` and, where it has amortised parameters, `parameter_shapes`; where the
    inverse is known, `inverse`, and `invertible = True`. Networks of its own are made in `build`.

    Args:
        latent_dim: int or `None`. Set by what the flow is a part of when `None`.
        reverse: bool. Takes the coordinates in the opposite order, where there is one. Flows in a
            chain alternate. Defaults to `False`.

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

        `context` is shared by the flows of a chain.
        """
        return {}

    def forward(self, params, z):
        """Returns `f(z)` and the logarithm of its Jacobian's |determinant|."""
        raise NotImplementedError

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
