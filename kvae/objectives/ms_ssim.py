"""Reconstruction by structural similarity."""

from kvae import schedules
from kvae.divergences.ms_ssim import ms_ssim, scales_that_fit
from kvae.objectives.objective import register
from kvae.objectives.similarity import Similarity

__all__ = ["MSSSIM"]


@register("ms_ssim")
class MSSSIM(Similarity):
    """Likeness by structure: `w (1 − MS-SSIM(x, x̃)) − r E_q log p(x|z) + β KL(q(z|x) ‖ p(z))`.

    MS-SSIM, from 0 to 1, compares brightness, contrast and structure in small windows at several
    scales; errors where there is much to see weigh less, and lost edges more, than in a squared
    error. x̃ is the mean of p(x|z). `1 − MS-SSIM` is in the logs as `structure`. It is no logarithm
    of a density: the loss bounds no likelihood, and what `elbo`, `reconstruction` and log p(x) say
    is what the model's likelihood gives images that were not trained by it. Where `x̃` and x are so
    unlike that a mean over windows is negative, the term has no gradient; a little of the
    likelihood, e.g. `reconstruction_weight=0.1`, leads out of there.

    Args:
        weight: float or schedule (`kvae.schedules`). w, in nats. Defaults to `100.0`.
        window: int or `None`. The side of a window, with Gaussian weights. Defaults to `None`: 11,
            or for images below 44 × 44 an odd number near a quarter of their side.
        power_factors: sequence of float or `None`. How much each scale counts, the finest first;
            each is half as large as the one before. Defaults to `None`: the paper's five, or of
            images that have fewer scales that hold a window, the factors of as many of the coarsest
            scales, divided by their sum.
        **settings: `reconstruction_weight`, `beta` and `value_range` of
            `kvae.objectives.Similarity`, `num_samples` and `kl` of `kvae.objectives.Bound`.

    Raises:
        ValueError: for settings out of range, and with the model, for examples that are no images
            or smaller than a window at some scale, an autoregressive likelihood and missing values.

    Example:

    ```python
    objective = kvae.objectives.MSSSIM(weight=200.0, reconstruction_weight=0.1)
    vae = kvae.VAE(encoder, decoder, latent_dim=16, objective=objective)
    ```

    References:
        - [Snell et al., Learning to Generate Images with Perceptual Similarity Metrics](
          https://arxiv.org/abs/1511.06409)
        - [Wang et al., Multi-Scale Structural Similarity for Image Quality Assessment](
          https://doi.org/10.1109/ACSSC.2003.1292216)
    """

    measure = "structure"

    def __init__(
        self,
        weight: schedules.Number = 100.0,
        window: int | None = None,
        power_factors=None,
        **settings,
    ):
        super().__init__(weight, **settings)
        if window is not None and window < 2:
            raise ValueError(f"`window` is at least 2, not {window}.")
        if power_factors is not None:
            power_factors = tuple(float(factor) for factor in power_factors)
            if not power_factors or not all(factor > 0 for factor in power_factors):
                raise ValueError(f"`power_factors` are positive, not {power_factors}.")
        self.window, self.power_factors = window, power_factors

    def prepare(self, vae):
        super().prepare(vae)
        window, factors = self._scales(vae)
        side = min(vae.event_shape[:2])
        for index in range(len(factors)):
            if side < window:
                raise ValueError(
                    f"Images of {tuple(vae.event_shape[:2])} pixels have {side} at scale "
                    f"{index + 1} of {len(factors)}, fewer than the window of {window}. Give fewer "
                    "`power_factors`, a smaller `window`, or neither."
                )
            side = (side + 1) // 2

    def _scales(self, vae) -> tuple:
        window, factors = scales_that_fit(min(vae.event_shape[:2]))
        return self.window or window, self.power_factors or factors

    def unlikeness(self, vae, x, decoded):
        window, factors = self._scales(vae)
        return 1.0 - ms_ssim(x, decoded, factors, window)

    def get_config(self):
        return {
            **super().get_config(),
            "window": self.window,
            "power_factors": self.power_factors,
        }
