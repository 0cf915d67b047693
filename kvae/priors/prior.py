"""The interface of every prior p(z)."""

from kvae.distributions import base_noise
from kvae.distributions.base_noise import Noise
from kvae.parts import OnGrid, Part, PartRegister, resolve, to_write, without_distribution

__all__ = ["REGISTER", "Prior", "get", "names", "register"]


class Prior(OnGrid, Part):
    """A prior `p(z)` over latents of shape `[..., latent_dim]`.

    A new prior gives `transform` and `log_prob`, and where its base noise is not a standard
    Gaussian, `base_noise`. Trainable priors create their variables in `build`.

    Args:
        latent_dim: int or `None`. Size of `z`; `kvae.VAE` sets it when it is `None`.
    """

    # Where z lies, which has to be the space of the posterior. `None` is any space.
    space = "real"
    # True when p(z) is N(0, I), so that z is its own base noise. A class says so for itself: those
    # that derive from it may change `transform`.
    standard_normal = False
    factorized = False  # Whether p(z) is a product over the dimensions of z.
    conditional = False  # Whether p(z|y) is conditioned on the label of a conditional model.
    uses_posterior = False  # Whether p(z) is made of the model's q(z|x).

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.standard_normal = vars(cls).get("standard_normal", False)

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim

    def base_noise(self) -> dict[str, Noise]:
        """Returns the noise that `transform` takes, by name. Defaults to N(0, I), as `noise`.

        Draws, `PriorNoise` and exported models all start from it.
        """
        return {"noise": Noise(self.latent_dim)}

    @to_write
    def transform(self, noise, temperature=1.0):
        """Turns base noise into draws from the prior, `[n, latent_dim]`.

        Args:
            noise: dict of tensors `[n, size]`, as `base_noise` declares them.
            temperature: float or scalar tensor, at least 0. Scales the spread of the draws, where
                z has a scale. Defaults to `1.0`: draws from p(z).
        """
        raise NotImplementedError

    @to_write
    def log_prob(self, z):
        """Returns log p(z) in nats: `[..., latent_dim]` to `[...]`."""
        raise NotImplementedError

    def mean(self):
        """Returns E[z], `[latent_dim]`.

        By default it is where the medians of the base noise go, which is right for symmetry.
        """
        return self.transform(base_noise.middle(self.base_noise(), [1]))[0]

    def sample(self, n, seed, temperature=1.0):
        """Draws `n` latents, `[n, latent_dim]`; see `transform` for `temperature`."""
        return self.transform(base_noise.draw(self.base_noise(), [n], seed), temperature)

    def distribution(self):
        """Returns p(z) as a distribution of TFP, of events `[latent_dim]`.

        Raises:
            NotImplementedError: for a prior of which TFP has no distribution.
        """
        raise without_distribution(self)

    def conditioned_on(self, label):
        """Returns p(z|y), the prior conditioned on labels `[batch]`, with `[batch]` rows.

        By default it returns itself, since p(z) does not depend on the label, which may be `None`.
        """
        return self

    def precompute(self) -> dict:
        """Computes the tensors that densities and draws need and that depend on no z.

        By default there are none.
        """
        return {}

    def precomputed(self, tensors: dict | None = None):
        """Returns this prior with all that does not depend on z computed once.

        For code that uses the prior several times while no weight changes. By default itself.

        Args:
            tensors: dict. What `precompute` returned. Defaults to `None`: they are computed now.
        """
        return self

    def build(self, input_shape=None):
        self.built = True

    def call(self, z):
        return self.log_prob(z)

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim}


REGISTER = PartRegister("prior", Prior)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Prior | None:
    """Returns a prior from its name, its config or itself; `None`, for no prior, stays `None`."""
    return None if identifier is None else resolve(REGISTER, identifier, Prior)
