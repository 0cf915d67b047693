"""The Gaussian likelihood."""

import math

import keras
import numpy as np
from keras import ops

from kvae import names, random
from kvae.likelihoods.likelihood import Likelihood

__all__ = ["GaussianLikelihood"]

_VARIANCES = ("fixed", "global", "per_pixel")


@keras.saving.register_keras_serializable(package="kvae")
class GaussianLikelihood(Likelihood):
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

    def __init__(
        self,
        variance: str = "fixed",
        scale: float = 1.0,
        log_var_bound: float = 10.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if variance not in _VARIANCES:
            raise names.unknown_name("variance", variance, _VARIANCES)
        if not scale > 0:
            raise ValueError(f"`scale` is positive, not {scale}.")
        self.variance, self.scale, self.log_var_bound = variance, scale, log_var_bound
        self.num_parameters = 2 if variance == "per_pixel" else 1

    def build(self, outputs_shape):
        if self.variance == "global":
            self.log_var = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(2 * math.log(self.scale)),
                name="log_var",
            )
        self.built = True

    def call(self, outputs):
        if self.variance == "per_pixel":
            mean, log_var = ops.split(outputs, 2, axis=-1)
        else:
            mean = outputs
            log_var = self.log_var if self.variance == "global" else 2 * math.log(self.scale)
            log_var = ops.zeros_like(mean) + log_var
        if self.variance != "fixed":
            log_var = ops.clip(log_var, -self.log_var_bound, self.log_var_bound)
        return {"mean": mean, "log_var": log_var}

    def element_log_prob(self, params, x):
        log_var = params["log_var"]
        squared = ops.square(x - params["mean"]) * ops.exp(-log_var)
        return -0.5 * (squared + log_var + math.log(2 * math.pi))

    def mean(self, params):
        return params["mean"]

    def mode(self, params):
        return params["mean"]

    def sample(self, params, seed):
        noise = random.normal(ops.shape(params["mean"]), seed)
        return params["mean"] + ops.exp(0.5 * params["log_var"]) * noise

    def support(self):
        return -np.inf, np.inf, ""

    def get_config(self):
        return {
            **super().get_config(),
            "variance": self.variance,
            "scale": self.scale,
            "log_var_bound": self.log_var_bound,
        }
