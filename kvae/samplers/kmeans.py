"""K-means clusters of codes, each with a density of its own."""

import numpy as np

from kvae import priors
from kvae.samplers.gaussian_mixture import mixture_prior
from kvae.samplers.sampler import Sampler, register

__all__ = ["KMeans"]


@register("kmeans")
class KMeans(Sampler):
    """K-means clusters: one is drawn in proportion to its size, and then z around its centre.

    In R^latent_dim a cluster is a Gaussian with the variance of its codes in each dimension,
    `p(z) = Σ_k n_k / n N(z; centre_k, diag(variance_k))`, a cheap relative of `GaussianMixture`. On
    the unit sphere, where clusters are found by their directions, it is a power-spherical
    distribution with the mean of its codes. Variances and concentrations are drawn towards those of
    all clusters by the weight of one code, so that a cluster of one code does not repeat it.

    The prior is a `kvae.priors.GaussianMixture` or `SphericalMixture`.

    Args:
        num_clusters: int. Defaults to `10`.
        num_starts: int. The number of fits from different starts, of which the best is kept.
            Defaults to `4`.

    Raises:
        ValueError: by `fit`, for fewer codes than clusters.

    Example:

    ```python
    sampler = kvae.samplers.KMeans(num_clusters=50).fit(vae, train)
    ```

    Reference:
        - [Lloyd, Least Squares Quantization in PCM, IEEE Transactions on Information Theory 28
          (1982)](https://doi.org/10.1109/TIT.1982.1056489): the clusters
    """

    spaces = ("real", "sphere")

    def __init__(self, num_clusters: int = 10, num_starts: int = 4):
        super().__init__()
        if min(num_clusters, num_starts) < 1:
            raise ValueError("`num_clusters` and `num_starts` are at least 1.")
        self.num_clusters, self.num_starts = num_clusters, num_starts
        self._on_sphere = False

    def _check(self, vae):
        super()._check(vae)
        self._on_sphere = vae.posterior.space == "sphere"

    def prior_of(self, codes, seed):
        import sklearn.cluster
        import threadpoolctl

        if len(codes) < self.num_clusters:
            raise ValueError(
                f"{self.num_clusters} clusters take as many codes at least, not {len(codes)}."
            )
        kmeans = sklearn.cluster.KMeans(
            self.num_clusters, n_init=self.num_starts, random_state=seed % 2**32
        )
        # Several threads would add up in another order in every run. Distances
        # between points of the sphere grow with the angle between them.
        with threadpoolctl.threadpool_limits(1):
            cluster = kmeans.fit_predict(codes)
        one_hot = np.eye(self.num_clusters)[cluster]
        counts = one_hot.sum(axis=0)
        means = one_hot.T @ codes / np.maximum(counts, 1)[:, None]
        weights = counts / len(codes)
        if self._on_sphere:
            return _spherical(weights, means, counts)
        squares = np.square(codes - means[cluster])
        pooled = squares.mean(axis=0)
        # A dimension that does not vary gets a narrow Gaussian, and not a point.
        pooled = np.maximum(pooled, 1e-12 * max(codes.var(axis=0).max(), 1e-12))
        variances = (one_hot.T @ squares + pooled) / (counts + 1)[:, None]
        return mixture_prior(weights, means, np.sqrt(variances))


def _spherical(weights, means, counts) -> priors.SphericalMixture:
    """Returns the mixture whose components have these weights and means within the sphere."""
    latent_dim = means.shape[1]
    lengths = np.linalg.norm(means, axis=1)
    pooled = weights @ lengths
    # With t = (1 + cosine) / 2 ~ Beta((d − 1)/2 + κ, (d − 1)/2), E[cosine] = κ / (κ + d − 1).
    cosine = np.clip((counts * lengths + pooled) / (counts + 1), 0.0, 1.0 - 1e-9)
    concentration = np.clip(cosine / (1.0 - cosine) * (latent_dim - 1), 0.02, 1e6)
    prior = priors.SphericalMixture(
        len(weights), latent_dim, max_concentration=float(max(1000.0, concentration.max()))
    )
    prior.build()
    prior.raw_parameters["z_mean"].assign(means / np.maximum(lengths, 1e-12)[:, None])
    # The inverse of 0.01 + softplus.
    rest = concentration - 0.01
    prior.raw_parameters["z_concentration"].assign((rest + np.log(-np.expm1(-rest)))[:, None])
    prior.logits.assign(np.log(np.maximum(weights, 1e-30)))
    return prior
