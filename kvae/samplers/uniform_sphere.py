"""The uniform distribution on the sphere."""

import numpy as np

from kvae import priors
from kvae.samplers.sampler import Sampler, register

__all__ = ["UniformSphere"]


@register("uniform_sphere")
class UniformSphere(Sampler):
    """The uniform distribution on the unit sphere, for codes that lie on it.

    It is `p(z) = Γ(d/2) / (2 π^(d/2))` where ‖z‖ = 1. Nothing is fitted; `fit` checks that the
    codes are of length 1. It is the prior that posteriors on the sphere are trained with, and
    serves autoencoders whose encoder normalises its codes.

    Example:

    ```python
    sampler = kvae.samplers.UniformSphere().fit(autoencoder, train)
    ```

    Reference:
        - [Davidson et al., Hyperspherical Variational Auto-Encoders](
          https://arxiv.org/abs/1804.00891)
    """

    spaces = ("real", "sphere")

    def prior_of(self, codes, seed):
        length = np.linalg.norm(codes, axis=1)
        if np.abs(length - 1.0).max() > 1e-3:
            raise ValueError(
                f"The codes are not on the unit sphere: their lengths go from {length.min():.3g} "
                f"to {length.max():.3g}. Choose another sampler, e.g. 'gaussian_mixture'."
            )
        prior = priors.UniformSphere(codes.shape[1])
        prior.build()
        return prior
