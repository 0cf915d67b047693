"""The Laplace likelihood."""

import math

from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.location_scale import LocationScale

__all__ = ["Laplace"]


@register("laplace")
class Laplace(LocationScale):
    """`p(x|z)` = Π exp(-|x_i - mean_i| / b_i) / (2 b_i), with b = exp(log_scale).

    With a fixed scale b, minus its log-probability is the *absolute error* (L1)
    `Σ|x_i - mean_i|` divided by b, plus the constant `d · log(2b)` for `d` values: training on a
    plain summed L1 means b = 1. Its variance is `2b²`. What the decoder learns is the median
    rather than the mean of x, so outliers pull less than with a Gaussian.

    Args:
        variance: str. `"fixed"` (b = `scale`), `"global"` (one learned b that starts at `scale`)
            or `"per_pixel"` (the decoder returns mean and log b, concatenated on the last axis).
            Defaults to `"fixed"`.
        scale: float. b, or its start. Defaults to `1.0`.
        log_scale_bound: float. Learned values of log b stay within ±this. Defaults to `10.0`.
        standardize: bool. Whether encoder and decoder see each column of x relative to its mean and
            standard deviation in the training data; see `Gaussian`. Defaults to `False`.

    The name `"laplace:learned"` stands for `Laplace("global", standardize=True)`.

    Decoder output: means, of the shape of the event; twice as many channels for `"per_pixel"`.

    Raises:
        ValueError: for an unknown `variance`, and for a `scale` or bound that is not positive.

    Example:

    ```python
    likelihood = kvae.likelihoods.Laplace("global", scale=0.1)
    ```

    Reference:
        - Laplace, Mémoire sur la probabilité des causes par les événements (1774): the density.
    """

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Laplace(params["mean"], ops.exp(params["log_scale"]))

    def element_log_prob(self, params, x):
        log_scale = params["log_scale"]
        return -ops.abs(x - params["mean"]) * ops.exp(-log_scale) - log_scale - math.log(2)

    def sample(self, params, seed):
        noise = random.laplace(ops.shape(params["mean"]), seed)
        return params["mean"] + ops.exp(params["log_scale"]) * noise
