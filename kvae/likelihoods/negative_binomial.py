"""The negative binomial likelihood, for counts that vary more than Poisson's."""

import math

import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import register
from kvae.likelihoods.poisson import Poisson

__all__ = ["NegativeBinomial"]

_MOST_CONCENTRATED = 5.0  # log r: of larger ones float32 loses the difference to a Poisson.
_STEPS = 42  # Of the bisection, for counts up to 2 ** 40.


@register("negative_binomial")
class NegativeBinomial(Poisson):
    """`p(x|z)` = Π NB(x_i; mean exp(log_rate_i), concentration r_i), for counts 0, 1, 2, ….

    It is a Poisson distribution whose rate is drawn from a gamma distribution of shape r: the
    variance is rate + rate² / r, above that of a Poisson, which is its limit for large r. Counts of
    most tables (visits, children, claims, cells of a genome) are so spread.

    Args:
        log_rate_bound, standardize, scale_input: as of `Poisson`.

    Decoder output: log-rates, and log r, concatenated on the last axis. log r stays within ±5.

    Raises:
        ValueError: as of `Poisson`.

    Example:

    ```python
    likelihood = kvae.likelihoods.NegativeBinomial()
    params = likelihood(np.zeros((2, 6), "float32"))              # of rate 1 and r = 1: geometric
    likelihood.log_prob(params, np.zeros((2, 3), "float32"))      # 3 · log(1/2) = -2.08 nats
    ```

    Reference:
        - [Lopez et al., Deep generative modeling for single-cell transcriptomics](
          https://doi.org/10.1038/s41592-018-0229-2), where r belongs to the column.
    """

    decoder_outputs = "log-rates and log-concentrations"
    num_parameters = 2

    def call(self, outputs):
        log_rate, log_r = ops.split(outputs, 2, axis=-1)
        bound = _MOST_CONCENTRATED
        return {**super().call(log_rate), "log_concentration": ops.clip(log_r, -bound, bound)}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        log_r = params["log_concentration"]
        return tfd.NegativeBinomial(ops.exp(log_r), logits=params["log_rate"] - log_r)

    def element_log_prob(self, params, x):
        log_rate, log_r = params["log_rate"], params["log_concentration"]
        r = ops.exp(log_r)
        # log of r / (r + rate), and of rate / (r + rate).
        stays, goes = ops.log_sigmoid(log_r - log_rate), ops.log_sigmoid(log_rate - log_r)
        ways = tf.math.lgamma(x + r) - tf.math.lgamma(r) - tf.math.lgamma(x + 1.0)
        return ways + r * stays + x * goes

    def mode(self, params):
        r = ops.exp(params["log_concentration"])
        return ops.floor(ops.maximum(self.mean(params) * (1.0 - 1.0 / r), 0.0))

    def sample(self, params, seed):
        # The smallest k with P(X ≤ k) ≥ noise, by bisection, as of `Poisson`: P(X ≤ k) is the
        # regularised incomplete beta function at r / (r + rate).
        r = tf.exp(tf.cast(params["log_concentration"], tf.float64))
        rate = tf.cast(self.mean(params), tf.float64)
        noise = tf.cast(random.open_uniform(tf.shape(rate), seed), tf.float64)
        stays = r / (r + rate)
        low, high = (
            tf.fill(tf.shape(rate), tf.constant(-1.0, tf.float64)),
            tf.fill(tf.shape(rate), tf.constant(2.0**40, tf.float64)),
        )
        for _ in range(_STEPS):
            middle = tf.math.floor((low + high) / 2)
            enough = tf.math.betainc(r, tf.maximum(middle, 0.0) + 1, stays) >= noise
            enough = enough & (middle >= 0)
            low, high = tf.where(enough, low, middle), tf.where(enough, middle, high)
        return tf.cast(tf.minimum(high, math.exp(16.6)), self.dtype)
