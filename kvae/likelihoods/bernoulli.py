"""The Bernoulli likelihood."""

import math

import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import Likelihood, register

__all__ = ["Bernoulli"]


@register("bernoulli")
class Bernoulli(Likelihood):
    """`p(x|z)` = Π Bernoulli(x_i; sigmoid(logits_i)), for x in [0, 1].

    Minus its log-probability is the *binary cross-entropy from logits*, summed over the event (with
    no further constants). For values strictly between 0 and 1 it stays a sensible loss, as in the
    Keras blog post, but is no normalised density any more; binarize the data where figures in nats
    are to be compared.

    Decoder output: logits, of the shape of the event.

    Example:

    ```python
    likelihood = kvae.likelihoods.Bernoulli()
    params = likelihood(np.zeros((2, 784), "float32"))
    likelihood.log_prob(params, np.ones((2, 784), "float32"))    # 784 · log(1/2) = -543.4 nats
    ```

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes, appendix C.1](
          https://arxiv.org/abs/1312.6114)
    """

    decoder_outputs = "logits"
    discrete = True  # Of zeros and ones.

    def call(self, outputs):
        return {"logits": outputs}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Bernoulli(logits=params["logits"], dtype=self.dtype)

    def element_log_prob(self, params, x):
        return _log_prob(params["logits"], ops.cast(x, params["logits"].dtype))

    def log_prob_gradient(self, params, x):
        if self._changed():
            return None
        logits = params["logits"]
        return {"logits": ops.cast(x, logits.dtype) - ops.sigmoid(logits)}

    def log_prob_of_many(self, params, x):
        if self._changed():
            return self.log_prob(params, x)
        logits = params["logits"]
        event = x.shape[1:]
        size = math.prod(event)
        # One logarithm is taken for so many values together: their product is at most 2**16.
        slices = max(number for number in range(1, 17) if size % number == 0)
        lead = tf.shape(logits)[: logits.shape.rank - len(event)]
        logits = tf.reshape(logits, tf.concat([lead, [slices, size // slices]], axis=0))
        x = tf.reshape(ops.cast(x, logits.dtype), (-1, slices, size // slices))
        return _log_prob_in_slices(logits, x, slices)

    def _changed(self) -> bool:
        """Checks whether log p(x|z) is another than the sum of `_log_prob` over all values."""
        own = type(self)
        known = (own.log_prob, own.element_log_prob)
        return self.takes_missing or known != (Bernoulli.log_prob, Bernoulli.element_log_prob)

    def mean(self, params):
        return ops.sigmoid(params["logits"])

    def mode(self, params):
        return ops.cast(params["logits"] > 0, self.dtype)

    def sample(self, params, seed):
        probabilities = self.mean(params)
        noise = random.uniform(ops.shape(probabilities), seed)
        return ops.cast(noise < probabilities, self.dtype)

    def support(self):
        return 0.0, 1.0, "Divide images of 0–255 by 255, or choose a Gaussian likelihood."


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _log_prob_in_slices(logits, x, slices: int):
    """Log-probabilities of `[..., slices, values]`, summed over both axes.

    x·l − softplus(l) is x·l − max(l, 0) − log(1 + exp(−|l|)), and the logarithms of one value of
    each slice are that of a product. XLA makes it one pass over the logits. It has a vector of
    values at once where the product is written out, and one value where it is a reduction.
    """
    linear, product = 0.0, 1.0
    for part in range(slices):
        values = logits[..., part, :]
        linear += x[:, part] * values - tf.maximum(values, 0.0)
        product *= 1.0 + tf.exp(-tf.abs(values))
    return tf.reduce_sum(linear - tf.math.log(product), axis=-1)


def _log_prob(logits, x):
    """log sigmoid(l)·x + log sigmoid(−l)·(1 − x), without overflow for any logit.

    Its automatic gradient costs little more than a `tf.custom_gradient` (some per cent of a dense
    step without XLA), which would register one in every graph for the life of the process.
    """
    return x * logits - tf.nn.softplus(logits)
