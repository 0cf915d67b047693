"""The continuous Bernoulli likelihood."""

from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import Likelihood, register

__all__ = ["ContinuousBernoulli"]

# Below this |logit| the closed forms cancel, and series in the logit take over.
_SERIES_BELOW = 1.0


@register("continuous_bernoulli")
class ContinuousBernoulli(Likelihood):
    """`p(x|z)` = Π C(λ_i) λ_i^x_i (1 - λ_i)^(1 - x_i), with λ = sigmoid(logits), for x in [0, 1].

    Minus its log-probability is the *binary cross-entropy from logits*, summed over the event,
    less `Σ log C(λ_i)`: the constant that makes it a density on [0, 1] where the Bernoulli's
    cross-entropy of grey values is none. It depends on λ, from log 2 at λ = 1/2 upwards without
    bound towards 0 and 1, so it is no constant of the training. In the logit l it is
    `log C = log(l / tanh(l/2))`, computed by its series near l = 0.

    λ is not the mean: `mean` gives E[x], which lies nearer to 1/2. Log-probabilities are of a
    density and may be positive; they compare with those of other densities of the same x, and not
    with the masses of a `Bernoulli` or a discretised likelihood.

    Decoder output: logits, of the shape of the event.

    Example:

    ```python
    likelihood = kvae.likelihoods.ContinuousBernoulli()
    params = likelihood(np.zeros((2, 784), "float32"))
    likelihood.log_prob(params, np.random.rand(2, 784))    # 0 nats: at λ = 1/2 it is uniform
    ```

    Reference:
        - [Loaiza-Ganem & Cunningham, The continuous Bernoulli, eqs. 6-8](
          https://arxiv.org/abs/1907.06845)
    """

    decoder_outputs = "logits"

    def call(self, outputs):
        return {"logits": outputs}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.ContinuousBernoulli(logits=params["logits"])

    def element_log_prob(self, params, x):
        # With C in terms of the logit, p(x) = exp(l (x - 1/2)) / (sinh(l/2) / (l/2)).
        logits = params["logits"]
        return (x - 0.5) * logits - _log_sinhc(logits)

    def mean(self, params):
        logits = params["logits"]
        small, a = _large_part(logits)
        squared = ops.square(ops.where(small, logits, 0.0))
        series = 1 / 12 - squared * (1 / 720 - squared * (1 / 30240 - squared / 1209600))
        tail = ops.exp(-a)
        away = ops.sign(logits) * (0.5 + tail / (1.0 - tail) - 1.0 / a)
        return 0.5 + ops.where(small, logits * series, away)

    def mode(self, params):
        return ops.cast(params["logits"] > 0, self.dtype)

    def sample(self, params, seed):
        # The inverse of the distribution function, for the falling density with -|l|; the rising
        # one is its mirror image.
        logits = params["logits"]
        a = ops.maximum(ops.abs(logits), 1e-6)
        noise = random.open_uniform(ops.shape(logits), seed)
        rising = logits > 0
        noise = ops.where(rising, 1.0 - noise, noise)
        fallen = ops.clip(-ops.log1p(noise * ops.expm1(-a)) / a, 0.0, 1.0)
        return ops.where(rising, 1.0 - fallen, fallen)

    def support(self):
        return 0.0, 1.0, "Divide images of 0–255 by 255, or choose a Gaussian likelihood."


def _large_part(logits):
    """Returns where the series holds, and |logits| with a harmless 1 there, against NaN."""
    small = ops.abs(logits) < _SERIES_BELOW
    return small, ops.abs(ops.where(small, ops.ones_like(logits), logits))


def _log_sinhc(logits):
    """log(sinh(l/2) / (l/2))."""
    small, a = _large_part(logits)
    squared = ops.square(ops.where(small, logits, 0.0))
    series = squared * (1 / 24 - squared * (1 / 2880 - squared * (1 / 181440 - squared / 9676800)))
    return ops.where(small, series, 0.5 * a + ops.log(-ops.expm1(-a) / a))
