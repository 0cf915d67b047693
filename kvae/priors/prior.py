"""The interface of every prior p(z)."""

from keras import ops

from kvae import random
from kvae.parts import Part

__all__ = ["Prior"]


class Prior(Part):
    """A prior `p(z)` over latents of shape `[..., latent_dim]`.

    A new prior gives `transform` and `log_prob`, and where it starts from other noise than a
    standard Gaussian, `noise`. Trainable priors create their variables in `build`.

    Args:
        latent_dim: int or `None`. Size of `z`; `kvae.VAE` sets it when it is `None`.
    """

    # Where z lies; a posterior's has to be the same. `None` is wherever the posterior's is.
    space = "real"
    standard_normal = False  # Whether p(z) is N(0, I), so that z is its own base noise.
    factorized = False  # Whether p(z) is a product over the dimensions of z.
    conditional = False  # Whether p(z|y) is conditioned on the label of a conditional model.
    uses_posterior = False  # Whether p(z) is made of the model's q(z|x).

    def __init__(self, latent_dim: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim

    def transform(self, noise):
        """Turns noise `[n, latent_dim]` into draws from the prior."""
        raise NotImplementedError

    def log_prob(self, z):
        """Returns log p(z) in nats: `[..., latent_dim]` to `[...]`."""
        raise NotImplementedError

    def mean(self):
        """Returns E[z], `[latent_dim]`. By default where zero noise goes: right for symmetry."""
        return self.transform(ops.zeros((1, self.latent_dim)))[0]

    def noise(self, shape, seed):
        """Draws the noise that `transform` takes. By default N(0, 1)."""
        return random.normal(shape, seed)

    def plain_noise(self) -> dict[str, int]:
        """Names the noise of `place`, which any platform can draw: a row's numbers, by name.

        They are N(0, 1); those whose name ends in `"uniform"` are uniform on [0, 1).
        """
        return {"noise": self.latent_dim}

    def place(self, noise: dict):
        """Turns plain noise, tensors `[n, size]` by name, into draws from the prior.

        For exported models: in float32, by operators that devices have, and of the distribution of
        `transform`, not always of its bits.
        """
        return self.transform(noise["noise"])

    def sample(self, n, seed, temperature: float = 1.0):
        """Draws `n` latents, `[n, latent_dim]`; `temperature` scales the noise."""
        return self.transform(temperature * self.noise([n, self.latent_dim], seed))

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
