"""The Poisson likelihood."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.scale import ScaledInput, Standardized

__all__ = ["Poisson"]

_LARGEST = math.log(2.0**24)
_STIRLING = 16.0  # Count from which on the first terms of Stirling's series are exact in float32.
_NORMAL = 1e5  # Rate from which on draws are those of the normal approximation.
_MANY = 100.0  # Mean count of a column, above which its scale is worth a warning.


@register("poisson")
class Poisson(ScaledInput, Standardized):
    """`p(x|z)` = Π exp(-r_i) r_i^x_i / x_i!, with rates r = exp(log_rate), for counts 0, 1, 2, ….

    Minus its log-probability is the *Poisson loss* `Σ r_i - x_i log r_i` of
    `keras.losses.Poisson` (there averaged over the last axis), plus the constant `Σ log x_i!`,
    which depends on the data alone. For large rates it approaches a Gaussian of variance r: a
    squared error `(x_i - r_i)² / 2r_i`.

    Args:
        log_rate_bound: float. Log-rates are cut off at ±this, while their gradient stays that of
            the bound. At most log 2²⁴ = 16.63: float32 does not hold all larger counts. Defaults
            to `10.0` (rates up to 22,026).
        standardize: bool. Whether encoder and decoder see each column of x (each entry of its last
            axis) relative to its mean and its relative deviation (at most 1) in the training data,
            which `fit` takes and the model keeps. A decoder that returns zeros then gives the mean
            counts as rates. For large counts. Defaults to `False`.
        scale_input: bool. Whether the encoder sees log(1 + x), and not the counts themselves, with
            which a training starts at losses of 10¹⁴ nats. Defaults to `True`.

    Decoder output: log-rates, of the shape of the event.

    Large counts are known precisely: at a rate of 10⁷ a decoder that is 1 % off pays 500 nats for
    each value. Where the data vary more than that, a Gaussian of log(1 + x) is the better model.

    Raises:
        ValueError: for a bound that is not in (0, 16.63].

    Example:

    ```python
    likelihood = kvae.likelihoods.Poisson()
    params = likelihood(np.zeros((2, 100), "float32"))
    likelihood.log_prob(params, np.ones((2, 100), "float32"))    # 100 · log(1/e) = -100 nats
    ```

    Reference:
        - Poisson, Recherches sur la probabilité des jugements (1837), section 81.
    """

    decoder_outputs = "log-rates"
    whole_numbers = True

    def __init__(
        self,
        log_rate_bound: float = 10.0,
        standardize: bool = False,
        scale_input: bool = True,
        **kwargs,
    ):
        super().__init__(scale_input, standardize=standardize, **kwargs)
        if not 0 < log_rate_bound <= _LARGEST:
            raise ValueError(f"`log_rate_bound` is in (0, {_LARGEST:.2f}], not {log_rate_bound}.")
        if standardize and not scale_input:
            raise ValueError("standardize=True scales what the encoder sees: leave `scale_input`.")
        self.log_rate_bound = log_rate_bound

    def encoder_input(self, x):
        if not self.scale_input:
            return x
        x = ops.cast(x, self.dtype)
        if not self.standardize:
            return ops.log1p(x)
        self.ensure_built(x.shape[1:])
        mean = ops.exp(self.data_location)
        # log(1 + x) - log(1 + mean), without the difference of large logarithms.
        return ops.log1p((x - mean) / (1.0 + mean)) / self.data_scale

    def from_encoder_input(self, values):
        if not self.scale_input:
            return values
        if not self.standardize:
            return ops.expm1(values)
        mean = ops.exp(self.data_location)
        return ops.expm1(values * self.data_scale) * (1.0 + mean) + mean

    def location_and_scale(self, mean, deviation):
        location = np.log(np.maximum(mean, math.exp(-self.log_rate_bound)))
        # For large counts these are the moments of log x.
        scale = np.minimum(deviation / np.maximum(mean, 1.0), 1.0)
        return location, np.where(scale > 0, scale, 1.0)

    def far_columns(self, mean, deviation, largest):
        beyond = largest > math.exp(self.log_rate_bound)
        return beyond | (not self.standardize) & (mean > _MANY)

    def advice(self):
        return (
            f"Rates end at exp(log_rate_bound) = {math.exp(self.log_rate_bound):,.0f}; use "
            f"Poisson(log_rate_bound=…, standardize=True)."
        )

    def call(self, outputs):
        if self.standardize:
            outputs = outputs * self.data_scale + self.data_location
        # The gradient passes the bound, so that a rate that starts beyond it can return.
        bounded = ops.clip(outputs, -self.log_rate_bound, self.log_rate_bound)
        return {"log_rate": ops.stop_gradient(bounded) + (outputs - ops.stop_gradient(outputs))}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Poisson(log_rate=params["log_rate"])

    def element_log_prob(self, params, x):
        log_rate = params["log_rate"]
        small = x * log_rate - ops.exp(log_rate) - tf.math.lgamma(x + 1.0)
        # For large counts the three terms are large and nearly cancel. Stirling's formula leaves
        # -x (e^d - 1 - d), where d is the logarithm of the rate over the count.
        count = ops.maximum(x, _STIRLING)
        d = log_rate - ops.log(count)
        rest = 0.5 * ops.log(2.0 * math.pi * count) + (1.0 - 1.0 / (30.0 * count**2)) / (
            12.0 * count
        )
        return ops.where(x < _STIRLING, small, -count * (ops.expm1(d) - d) - rest)

    def mean(self, params):
        return ops.exp(params["log_rate"])

    def mode(self, params):
        return ops.floor(self.mean(params))

    def sample(self, params, seed):
        # The smallest count k with P(X ≤ k) ≥ noise, by bisection: one number of noise for each
        # draw and a fixed number of steps. P(X ≤ k) is the regularised Q(k + 1, rate), which needs
        # float64 for rates in the thousands.
        mean = tf.cast(self.mean(params), tf.float64)
        noise = tf.cast(random.open_uniform(tf.shape(mean), seed), tf.float64)
        # For rates at which Q is not known well, the expansion of Cornish and Fisher is, to 0.01.
        w = tf.math.ndtri(noise)
        normal = tf.math.ceil(mean + tf.sqrt(mean) * w + (w**2 - 1.0) / 6.0 - 0.5)
        rate = tf.minimum(mean, _NORMAL)
        # 12 σ are enough, because the noise is at most 1 - 2**-24.
        low, high = tf.fill(tf.shape(rate), -1.0), tf.math.ceil(rate + 12 * tf.sqrt(rate) + 24)
        low = tf.cast(low, tf.float64)
        largest = min(math.exp(self.log_rate_bound), _NORMAL)
        for _ in range(math.ceil(math.log2(largest + 12 * math.sqrt(largest) + 26))):
            middle = tf.math.floor((low + high) / 2)
            # At -1 (once low and high are neighbours) Q's first argument would be 0.
            enough = tf.math.igammac(tf.maximum(middle, 0.0) + 1, rate) >= noise
            enough = enough & (middle >= 0)
            low, high = tf.where(enough, low, middle), tf.where(enough, middle, high)
        return tf.cast(tf.where(mean > _NORMAL, normal, high), self.dtype)

    def support(self):
        return 0.0, math.inf, "Give counts 0, 1, 2, …."

    def get_config(self):
        return {**super().get_config(), "log_rate_bound": self.log_rate_bound}
