"""The Poisson likelihood."""

import math

import keras
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import Likelihood

__all__ = ["PoissonLikelihood"]


@keras.saving.register_keras_serializable(package="kvae")
class PoissonLikelihood(Likelihood):
    """`p(x|z)` = Π exp(-r_i) r_i^x_i / x_i!, with rates r = exp(log_rate), for counts 0, 1, 2, ….

    Minus its log-probability is the *Poisson loss* `Σ r_i - x_i log r_i` of
    `keras.losses.Poisson` (there averaged over the last axis), plus the constant `Σ log x_i!`,
    which depends on the data alone. For large rates it approaches a Gaussian of variance r: a
    squared error `(x_i - r_i)² / 2r_i`.

    Args:
        log_rate_bound: float. Log-rates are cut off at ±this, while their gradient stays that of
            the bound. At most 15: float32 holds few digits of log p for larger counts. Defaults to
            `10.0` (rates up to 22,026).

    Decoder output: log-rates, of the shape of the event.

    Raises:
        ValueError: for a bound that is not in (0, 15].

    Example:

    ```python
    likelihood = kvae.likelihoods.PoissonLikelihood()
    params = likelihood(np.zeros((2, 100), "float32"))
    likelihood.log_prob(params, np.ones((2, 100), "float32"))    # 100 · log(1/e) = -100 nats
    ```

    Reference:
        - Poisson, Recherches sur la probabilité des jugements (1837), section 81.
    """

    decoder_outputs = "log-rates"
    whole_numbers = True

    def __init__(self, log_rate_bound: float = 10.0, **kwargs):
        super().__init__(**kwargs)
        if not 0 < log_rate_bound <= 15:
            raise ValueError(f"`log_rate_bound` is in (0, 15], not {log_rate_bound}.")
        self.log_rate_bound = log_rate_bound

    def call(self, outputs):
        # The gradient passes the bound: a rate that starts beyond it finds its way back.
        bounded = ops.clip(outputs, -self.log_rate_bound, self.log_rate_bound)
        return {"log_rate": ops.stop_gradient(bounded) + (outputs - ops.stop_gradient(outputs))}

    def element_log_prob(self, params, x):
        log_rate = params["log_rate"]
        return x * log_rate - ops.exp(log_rate) - tf.math.lgamma(x + 1.0)

    def mean(self, params):
        return ops.exp(params["log_rate"])

    def mode(self, params):
        return ops.floor(self.mean(params))

    def sample(self, params, seed):
        # The smallest count k with P(X ≤ k) ≥ noise, by bisection: one number of noise for each
        # draw and a fixed number of steps. P(X ≤ k) is the regularised Q(k + 1, rate), which needs
        # float64 for rates in the thousands.
        rate = tf.cast(self.mean(params), tf.float64)
        noise = tf.cast(random.open_uniform(tf.shape(rate), seed), tf.float64)
        # Beyond 12 σ and more: the noise, at most 1 - 2**-24, never asks for it.
        low, high = tf.fill(tf.shape(rate), -1.0), tf.math.ceil(rate + 12 * tf.sqrt(rate) + 24)
        low = tf.cast(low, tf.float64)
        largest = math.exp(self.log_rate_bound)
        for _ in range(math.ceil(math.log2(largest + 12 * math.sqrt(largest) + 26))):
            middle = tf.math.floor((low + high) / 2)
            # At -1 (once low and high are neighbours) Q's first argument would be 0.
            enough = tf.math.igammac(tf.maximum(middle, 0.0) + 1, rate) >= noise
            enough = enough & (middle >= 0)
            low, high = tf.where(enough, low, middle), tf.where(enough, middle, high)
        return tf.cast(high, self.dtype)

    def support(self):
        return 0.0, math.inf, "Give counts 0, 1, 2, …."

    def get_config(self):
        return {**super().get_config(), "log_rate_bound": self.log_rate_bound}
