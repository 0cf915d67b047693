"""The hyperbolic secant as a likelihood: the density of which log-cosh is the loss."""

import math

from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.location_scale import LocationScale

__all__ = ["HyperbolicSecant"]


@register("log_cosh")
class HyperbolicSecant(LocationScale):
    """`p(x|z)` = Π sech((x_i − mean_i) / b_i) / (π b_i), with b = exp(log_scale).

    Minus its log-probability is the *log-cosh* loss `Σ log cosh((x_i − mean_i) / b)`, plus the
    constant `d · log(π b)` for `d` values: that of a squared error near the mean, and of an
    absolute error far from it, so that outliers pull less than with a Gaussian, and small errors
    are not rounded to zero as with a Laplace. Its variance is `π² b² / 4`.

    Args:
        variance, scale, log_scale_bound, standardize: as for `Laplace`, whose b is this one.

    The name `"log_cosh:learned"` stands for `HyperbolicSecant("global", standardize=True)`.

    Decoder output: means, of the shape of the event; twice as many channels for `"per_pixel"`.

    Raises:
        ValueError: for an unknown `variance`, and for a `scale` or bound that is not positive.

    Example:

    ```python
    likelihood = kvae.likelihoods.HyperbolicSecant("global", scale=0.1)
    ```

    References:
        - [Chen et al., Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder](
          https://openreview.net/forum?id=rkglvsC9Ym): the loss
        - [Fischer, Generalized Hyperbolic Secant Distributions](
          https://doi.org/10.1007/978-3-642-45138-6): the density
    """

    def element_log_prob(self, params, x):
        log_scale = params["log_scale"]
        size = ops.abs(x - params["mean"]) * ops.exp(-log_scale)
        log_cosh = size + ops.softplus(-2.0 * size) - math.log(2.0)
        return -log_cosh - log_scale - math.log(math.pi)

    def sample(self, params, seed):
        chance = random.open_uniform(ops.shape(params["mean"]), seed)
        noise = ops.log(ops.tan(0.5 * math.pi * chance))  # The inverse of the distribution.
        return params["mean"] + ops.exp(params["log_scale"]) * noise
