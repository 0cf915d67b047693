"""The base of posteriors whose z is a hierarchy of groups."""

from kvae.distributions.gaussian_chain import group_sizes
from kvae.posteriors.posterior import Posterior

__all__ = ["OfGroups"]


class OfGroups(Posterior):
    """A posterior of groups of latents, of which networks draw each after those above it.

    Args:
        latent_dim: int or `None`. Size of all groups together; set by `kvae.VAE` when `None`.
        groups: int, or sequence of the groups' sizes, the top one first. Defaults to `2`, of about
            equal size.
        features_dim: int. What the lower groups see of x, or of each modality. Defaults to `128`.
        hidden: sequence of int. Widths of the networks. Defaults to `(128,)`.
        activation: str. A Keras activation, or `"gated"`. Defaults to `"relu"`.
        log_var_bound: float. Bound of the log-variances. Defaults to `20.0`.
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        groups=2,
        features_dim: int = 128,
        hidden=(128,),
        activation: str = "relu",
        log_var_bound: float = 20.0,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.groups = groups if isinstance(groups, int) else tuple(groups)
        self.features_dim, self.hidden = features_dim, tuple(hidden)
        self.activation, self.log_var_bound = activation, log_var_bound

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the groups, the top one first."""
        return group_sizes(self.latent_dim, self.groups)

    def get_config(self):
        return {
            **super().get_config(),
            "groups": self.groups,
            "features_dim": self.features_dim,
            "hidden": self.hidden,
            "activation": self.activation,
            "log_var_bound": self.log_var_bound,
        }
