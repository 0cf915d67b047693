"""The trainable mixture of Gaussians."""

from keras import ops

from kvae.posteriors.diagonal_gaussian import DiagonalGaussian
from kvae.posteriors.full_covariance import FullCovariance
from kvae.priors.mixture import Mixture
from kvae.priors.prior import register
from kvae.utils import names

__all__ = ["GaussianMixture"]

_COVARIANCES = ("diagonal", "full")


@register("gaussian_mixture")
class GaussianMixture(Mixture):
    """`p(z) = Σ_k w_k N(z; mean_k, L_k L_kᵀ)`, trained with the model.

    The KL of the ELBO pulls the posteriors towards the prior and the prior towards the posteriors'
    average: clusters in the data need not be squeezed into one cloud. No closed-form KL is known;
    it is estimated by Monte Carlo.

    Draws are differentiable in the means and variances of their component, not in the weights.
    `temperature` scales the noise within the components, and leaves their weights.

    The diagonal of L is `exp(log_var / 2)`; below it stands 0, or with `covariance="full"` a
    trained value, as in the posterior `FullCovariance`.

    Args:
        num_components: int. K. Defaults to `10`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        log_var_bound: float. Bound of `|log_var|`. Defaults to `10.0`.
        seed: int. The means start as draws from N(0, I) with this seed. Defaults to `0`.
        covariance: str. `"diagonal"` or `"full"`. Defaults to `"diagonal"`.

    Example:

    ```python
    prior = kvae.priors.GaussianMixture(num_components=20)
    vae = kvae.VAE(encoder, decoder, latent_dim=2, prior=prior)
    ```

    Reference:
        - [Dilokthanakul et al., Deep Unsupervised Clustering with Gaussian Mixture Variational
          Autoencoders](https://arxiv.org/abs/1611.02648); as a plain marginal prior:
          [Tomczak & Welling, VAE with a VampPrior, section 2](https://arxiv.org/abs/1705.07120)
    """

    variable_names = {"z_mean": "means", "z_log_var": "log_vars", "z_lower": "lower"}

    def __init__(
        self,
        num_components: int = 10,
        latent_dim: int | None = None,
        log_var_bound: float = 10.0,
        seed: int = 0,
        covariance: str = "diagonal",
        **kwargs,
    ):
        super().__init__(num_components, latent_dim, seed, **kwargs)
        if covariance not in _COVARIANCES:
            raise names.unknown_name("covariance", covariance, _COVARIANCES)
        self.log_var_bound, self.covariance = log_var_bound, covariance

    @property
    def component(self):
        kind = FullCovariance if self.covariance == "full" else DiagonalGaussian
        return kind(self.latent_dim, log_var_bound=self.log_var_bound)

    @property
    def means(self):
        """The means, a variable `[num_components, latent_dim]`."""
        return self.raw_parameters["z_mean"]

    @property
    def raw_log_vars(self):
        """The log-variances before they are bounded, a variable."""
        return self.raw_parameters["z_log_var"]

    @property
    def log_vars(self):
        """The logarithms of the squared diagonals of L, `[num_components, latent_dim]`."""
        return ops.clip(self.raw_log_vars, -self.log_var_bound, self.log_var_bound)

    def get_config(self):
        return {
            **super().get_config(),
            "log_var_bound": self.log_var_bound,
            "covariance": self.covariance,
        }
