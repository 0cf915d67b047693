"""The trainable mixture on the unit sphere."""

from kvae.posteriors.spherical import PowerSpherical
from kvae.priors.mixture import Mixture
from kvae.priors.prior import register

__all__ = ["SphericalMixture"]


@register("spherical_mixture")
class SphericalMixture(Mixture):
    """`p(z) = Σ_k w_k PowerSpherical(z; mean_k, concentration_k)` on the unit sphere.

    For posteriors on the sphere whose codes lie in clusters. It is trained with the model, or
    fitted to its codes afterwards (`kvae.samplers.KMeans`). No closed-form KL is known; it
    is estimated by Monte Carlo. `temperature` has nothing to scale: directions have no length.

    Args:
        num_components: int. K. Defaults to `10`.
        latent_dim: int or `None`, at least 2. Set by `kvae.VAE` when `None`.
        max_concentration: float. The largest concentration. Defaults to `1000.0`.
        seed: int. The means start as directions drawn with this seed. Defaults to `0`.

    Example:

    ```python
    prior = kvae.priors.SphericalMixture(num_components=20)
    vae = kvae.VAE(encoder, decoder, latent_dim=8, posterior="power_spherical", prior=prior)
    ```

    Reference:
        - [De Cao & Aziz, The Power Spherical distribution](https://arxiv.org/abs/2006.04437): the
          components
    """

    space = "sphere"
    variable_names = {"z_mean": "means", "z_concentration": "concentrations"}

    def __init__(
        self,
        num_components: int = 10,
        latent_dim: int | None = None,
        max_concentration: float = 1000.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(num_components, latent_dim, seed, **kwargs)
        self.max_concentration = max_concentration

    @property
    def component(self):
        return PowerSpherical(self.latent_dim, max_concentration=self.max_concentration)

    def build(self, input_shape=None):
        if self.latent_dim is None or self.latent_dim < 2:
            raise ValueError(f"A sphere needs a latent_dim of at least 2, not {self.latent_dim}.")
        super().build(input_shape)

    def get_config(self):
        return {**super().get_config(), "max_concentration": self.max_concentration}
