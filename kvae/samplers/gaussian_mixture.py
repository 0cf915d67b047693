"""A mixture of Gaussians that is fitted to codes."""

import numpy as np

from kvae import priors
from kvae.priors.rescaled import moments
from kvae.samplers.sampler import Sampler, register
from kvae.utils import names

__all__ = ["GaussianMixture", "mixture_prior"]

_COVARIANCES = ("full", "diagonal")


@register("gaussian_mixture", "gmm")
class GaussianMixture(Sampler):
    """A mixture of Gaussians, fitted by expectation–maximisation (scikit-learn).

    It is `p(z) = Σ_k w_k N(z; mean_k, C_k)`. The codes are brought to mean 0 and variance 1 first,
    so that the regularisation of the covariances is relative to their scale. The prior is a
    `kvae.priors.GaussianMixture`.

    Args:
        num_components: int. Defaults to `10`.
        covariance: str. `"full"` or `"diagonal"`. Defaults to `"full"`.
        num_starts: int. The number of fits from different starts, of which the best is kept.
            Defaults to `1`.
        max_iterations: int. The largest number of iterations of a fit. Defaults to `100`.
        regularization: float. A number that is added to the variances of the components, relative
            to those of the codes. Defaults to `1e-6`.

    Raises:
        ValueError: by `fit`, for fewer codes than components.

    Example:

    ```python
    sampler = kvae.samplers.GaussianMixture(num_components=20).fit(vae, train)
    ```

    Reference:
        - [Ghosh et al., From Variational to Deterministic Autoencoders, section 4](
          https://arxiv.org/abs/1903.12436)
    """

    def __init__(
        self,
        num_components: int = 10,
        covariance: str = "full",
        num_starts: int = 1,
        max_iterations: int = 100,
        regularization: float = 1e-6,
    ):
        super().__init__()
        if covariance not in _COVARIANCES:
            raise names.unknown_name("covariance", covariance, _COVARIANCES)
        if min(num_components, num_starts, max_iterations) < 1 or not regularization > 0:
            raise ValueError(
                "`num_components`, `num_starts` and `max_iterations` are at least 1, and "
                "`regularization` is more than 0."
            )
        self.num_components, self.covariance = num_components, covariance
        self.num_starts, self.max_iterations = num_starts, max_iterations
        self.regularization = regularization

    def prior_of(self, codes, seed):
        import sklearn.mixture
        import threadpoolctl

        if len(codes) < self.num_components:
            raise ValueError(
                f"{self.num_components} components take as many codes at least, not {len(codes)}."
            )
        shift, scale = moments(codes)
        full = self.covariance == "full"
        mixture = sklearn.mixture.GaussianMixture(
            self.num_components,
            covariance_type="full" if full else "diag",
            n_init=self.num_starts,
            max_iter=self.max_iterations,
            reg_covar=self.regularization,
            random_state=seed % 2**32,
        )
        # Several threads would add up in another order in every run.
        with threadpoolctl.threadpool_limits(1):
            mixture.fit((codes - shift) / scale)
        factors = mixture.covariances_
        if full:
            factors = scale[:, None] * np.linalg.cholesky(factors)
        else:
            factors = scale * np.sqrt(factors)
        return mixture_prior(mixture.weights_, shift + scale * mixture.means_, factors)


def mixture_prior(weights, means, factors) -> priors.GaussianMixture:
    """Makes the prior with these parameters, built.

    Args:
        weights: array `[K]`.
        means: array `[K, latent_dim]`.
        factors: array `[K, latent_dim, latent_dim]` of Cholesky factors, or `[K, latent_dim]` of
            standard deviations.
    """
    full = factors.ndim == 3
    deviations = np.diagonal(factors, axis1=1, axis2=2) if full else factors
    log_vars = 2.0 * np.log(deviations)
    latent_dim = means.shape[1]
    largest = np.abs(log_vars).max()
    if full:
        largest = max(largest, 2.0 * np.log(max(np.abs(factors).max(), 1.0)))
    prior = priors.GaussianMixture(
        len(weights),
        latent_dim,
        log_var_bound=float(np.ceil(max(10.0, largest + 1.0))),
        covariance="full" if full else "diagonal",
    )
    prior.build()
    prior.means.assign(means)
    prior.raw_log_vars.assign(log_vars)
    prior.logits.assign(np.log(np.maximum(weights, 1e-30)))
    if full and latent_dim > 1:
        rows, columns = np.tril_indices(latent_dim, -1)
        prior.raw_parameters["z_lower"].assign(factors[:, rows, columns])
    return prior
