"""The log-normal likelihood, for positive numbers."""

import math

import numpy as np
from keras import ops

from kvae import random
from kvae.distributions.gaussian import gaussian_log_density
from kvae.layers.sampling import reparameterize
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.scale import Standardized

__all__ = ["LogNormal"]

_LEAST = float(np.finfo(np.float32).tiny)
_LARGEST = math.log(np.finfo(np.float32).max) - 1.0
_WIDEST = 4.0  # Of a larger log-variance, the mean of x would leave float32.


@register("log_normal")
class LogNormal(Standardized):
    """`p(x|z)` = Π N(log x_i; location_i, exp(log_var_i)) / x_i, for positive x with a long tail.

    Minus its log-probability is a squared error of log x, divided by 2σ², plus log σ, log x and a
    constant. Incomes, prices, durations and concentrations are often nearer to it than to a
    Gaussian.

    Args:
        log_var_bound: float. Log-variances are at least minus this and at most 4. Defaults to
            `10.0`.
        standardize: bool. Whether encoder and decoder see log x relative to its mean and standard
            deviation in the training data, which `fit` takes (by the moments of x) and the model
            keeps. Defaults to `False`.

    Decoder output: locations and log-variances of log x, concatenated on the last axis. The encoder
    sees log x.

    `mean` is exp(location + σ²/2), `mode` exp(location − σ²).

    Raises:
        ValueError: for a bound that is not positive; `check` for x that is not.

    Example:

    ```python
    likelihood = kvae.likelihoods.LogNormal()
    params = likelihood(np.zeros((2, 6), "float32"))
    likelihood.log_prob(params, np.ones((2, 3), "float32"))    # -3/2 · log(2π) = -2.76 nats
    ```

    Reference:
        - [Nazábal et al., Handling Incomplete Heterogeneous Data using VAEs, section 2.2](
          https://arxiv.org/abs/1807.03653)
    """

    decoder_outputs = "locations and log-variances"
    num_parameters = 2

    def __init__(self, log_var_bound: float = 10.0, standardize: bool = False, **kwargs):
        super().__init__(standardize=standardize, **kwargs)
        if not 0 < log_var_bound < math.inf:
            raise ValueError(f"`log_var_bound` is positive, not {log_var_bound}.")
        self.log_var_bound = log_var_bound

    def encoder_input(self, x):
        x = ops.log(ops.maximum(ops.cast(x, self.dtype), _LEAST))
        return super().encoder_input(x)

    def from_encoder_input(self, values):
        return ops.exp(super().from_encoder_input(values))

    def location_and_scale(self, mean, deviation):
        # The moments of log x, of a log-normal with these moments of x.
        mean = np.maximum(mean, _LEAST)
        variance = np.log1p((deviation / mean) ** 2)
        return np.log(mean) - variance / 2, np.sqrt(np.where(variance > 1e-12, variance, 1.0))

    def far_columns(self, mean, deviation, largest):
        location, scale = self.location_and_scale(mean, deviation)
        return super().far_columns(location, scale, largest)

    def call(self, outputs):
        location, log_var = ops.split(outputs, 2, axis=-1)
        if self.standardize:
            location = location * self.data_scale + self.data_location
            log_var = log_var + 2.0 * ops.log(self.data_scale)
        return {"location": location, "log_var": ops.clip(log_var, -self.log_var_bound, _WIDEST)}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.LogNormal(params["location"], ops.exp(0.5 * params["log_var"]))

    def element_log_prob(self, params, x):
        log_x = ops.log(ops.maximum(x, _LEAST))
        return gaussian_log_density(params["location"], params["log_var"], log_x) - log_x

    def mean(self, params):
        return self._exp(params["location"] + 0.5 * ops.exp(params["log_var"]))

    def mode(self, params):
        return self._exp(params["location"] - ops.exp(params["log_var"]))

    def _exp(self, values):
        """Returns a positive number that float32 holds."""
        return ops.maximum(ops.exp(ops.minimum(values, _LARGEST)), _LEAST)

    def sample(self, params, seed):
        noise = random.normal(ops.shape(params["location"]), seed)
        log_x = reparameterize(params["location"], params["log_var"], noise)
        return self._exp(log_x)

    def support(self):
        return _LEAST, math.inf, "Give positive numbers."

    def get_config(self):
        return {**super().get_config(), "log_var_bound": self.log_var_bound}
