"""The Gaussian likelihood."""

import math

import keras
from keras import ops

from kvae import random
from kvae.likelihoods.location_scale import LocationScale

__all__ = ["GaussianLikelihood"]


@keras.saving.register_keras_serializable(package="kvae")
class GaussianLikelihood(LocationScale):
    """`p(x|z)` = Π N(x_i; mean_i, exp(log_var_i)).

    With a fixed scale σ, minus its log-probability is the *squared error* `Σ(x_i - mean_i)²`
    divided by `2σ²`, plus the constant `d/2 · log(2πσ²)` for `d` values: training on plain MSE
    means σ² = 1/2, a choice that decides how much the KL weighs.

    Args:
        variance: str. `"fixed"` (σ = `scale`), `"global"` (one learned σ that starts at `scale`) or
            `"per_pixel"` (the decoder returns mean and log-variance, concatenated on the last
            axis). Defaults to `"fixed"`.
        scale: float. σ, or its start. Defaults to `1.0`.
        log_var_bound: float. Learned log-variances stay within ±this. Defaults to `10.0`.

    Decoder output: means, of the shape of the event; twice as many channels for `"per_pixel"`.

    Example:

    ```python
    likelihood = kvae.likelihoods.GaussianLikelihood("global", scale=0.1)
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, appendix C.2](
          https://arxiv.org/abs/1312.6114)
    """

    spread = "log_var"
    power = 2

    def __init__(
        self,
        variance: str = "fixed",
        scale: float = 1.0,
        log_var_bound: float = 10.0,
        **kwargs,
    ):
        super().__init__(variance, scale, log_var_bound, **kwargs)

    def element_log_prob(self, params, x):
        log_var = params["log_var"]
        squared = ops.square(x - params["mean"]) * ops.exp(-log_var)
        return -0.5 * (squared + log_var + math.log(2 * math.pi))

    def sample(self, params, seed):
        noise = random.normal(ops.shape(params["mean"]), seed)
        return params["mean"] + ops.exp(0.5 * params["log_var"]) * noise
