"""A prior in the units of the codes."""

import keras
import numpy as np
from keras import ops

from kvae.parts import SharesLatentDim
from kvae.priors.prior import Prior, get, register

__all__ = ["Rescaled", "moments"]


@register()
class Rescaled(SharesLatentDim, Prior):
    """`z = shift + scale ⊙ u` with `u ~ p_0(u)`: another prior, moved and scaled.

    For priors that are fitted to the codes of a trained model. Networks learn best from numbers of
    mean 0 and variance 1, which the codes of an autoencoder are not; `standardize` sets shift and
    scale by a sample of codes. Both are kept with the weights and are not trained.

    Args:
        base: str, `Prior` or its config, on R^latent_dim. `p_0`.
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.

    Raises:
        ValueError: for a `base` elsewhere than on R^latent_dim, or one of labels or of the model's
            posterior.

    Example:

    ```python
    prior = kvae.priors.Rescaled("standard_normal", latent_dim=2)
    prior.standardize(codes)            # [n, 2]: now the Gaussian of their means and variances
    ```
    """

    def __init__(self, base, latent_dim: int | None = None, **kwargs):
        super().__init__(None, **kwargs)
        self.base = get(base)
        if self.base.conditional or self.base.uses_posterior or self.base.space != "real":
            raise ValueError(
                f"Rescaled takes a prior on R^latent_dim, of no labels and without a model, not "
                f"{type(self.base).__name__}."
            )
        self.latent_dim = self.base.latent_dim if latent_dim is None else latent_dim

    def inner(self):
        return (self.base,) if hasattr(self, "base") else ()

    def build(self, input_shape=None):
        if self.built:
            return
        self.base.build(input_shape)
        for name, start in (("shift", "zeros"), ("scale", "ones")):
            weight = self.add_weight(
                shape=(self.latent_dim,), initializer=start, trainable=False, name=name
            )
            setattr(self, name, weight)
        self.built = True

    def standardize(self, codes) -> np.ndarray:
        """Sets shift and scale to the moments of codes `[n, latent_dim]`; returns u of them."""
        codes = np.asarray(codes, np.float64)
        if not self.built:
            self.build()
        shift, scale = moments(codes)
        self.shift.assign(shift)
        self.scale.assign(scale)
        return ((codes - shift) / scale).astype(np.float32)

    def base_noise(self):
        return self.base.base_noise()

    def transform(self, noise, temperature=1.0):
        return self.shift + self.scale * self.base.transform(noise, temperature)

    def mean(self):
        return self.shift + self.scale * self.base.mean()

    def log_prob(self, z):
        return self.base.log_prob((z - self.shift) / self.scale) - ops.sum(ops.log(self.scale))

    def get_config(self):
        return {**super().get_config(), "base": keras.saving.serialize_keras_object(self.base)}


def moments(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations of `[n, latent_dim]`, what to move and to scale by.

    A coordinate that does not vary gets the scale of the one that varies most.
    """
    scale = codes.std(axis=0)
    largest = scale.max() or 1.0
    return codes.mean(axis=0), np.where(scale > 1e-6 * largest, scale, largest)
