"""The importance-sampled estimate of log p(x)."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from kvae import random

__all__ = ["LogProb", "importance_log_prob"]

# Latents decoded at once. Enough to keep the matrix products efficient, and few enough for the
# activations to stay in the processor's cache.
_ROWS = 4000


@dataclasses.dataclass(frozen=True)
class LogProb:
    """Estimates of log p(x) for `n` examples, in nats.

    Attributes:
        value: array `[n]`.
        standard_error: array `[n]`. Monte Carlo error of each value (delta method); NaN for a
            single sample.
        effective_sample_size: array `[n]`, from 1 to `num_samples`; near 1, a single sample
            dominates, and neither the value nor its error can be trusted.
        num_samples: int.
    """

    value: np.ndarray
    standard_error: np.ndarray
    effective_sample_size: np.ndarray
    num_samples: int

    def summary(self) -> dict:
        """Returns the negative log-likelihood of the set, as a dict of numbers, in nats.

        `value` is the mean of −log p(x), `standard_error` that of the mean over the examples (what
        another test set of this size would change), `monte_carlo_error` the part that comes from
        the importance samples (what another seed would change).
        """
        n = len(self.value)
        spread = float(np.std(self.value, ddof=1)) if n > 1 else math.nan
        return {
            "value": float(-np.mean(self.value)),
            "standard_error": spread / math.sqrt(n),
            "monte_carlo_error": float(np.sqrt(np.sum(self.standard_error**2)) / n),
            "num_samples": self.num_samples,
            "num_examples": n,
            "median_effective_sample_size": float(np.median(self.effective_sample_size)),
        }


def importance_log_prob(
    model,
    x,
    *,
    num_samples: int = 100,
    batch_size: int = 100,
    seed=0,
    progress=None,
    label=None,
) -> LogProb:
    """Estimates `log p(x) = log E_q[p(x|z) p(z) / q(z|x)]` with samples `z ~ q(z|x)`.

    The logarithm of the average weight is a lower bound of log p(x) in expectation; it is tight as
    `num_samples` grows. Weights are accumulated as a running log-sum-exp, so memory depends on
    neither `num_samples` nor `n`.

    Args:
        model: `kvae.VAE`.
        x: array `[n, *event]`, in the likelihood's support.
        num_samples: int. Samples for each example. Defaults to `100`.
        batch_size: int. Examples at once; the values depend on it through the noise only.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        label: int array `[n]` for a conditional model, whose log p(x|y) is estimated.

    Returns:
        `LogProb`.

    Raises:
        ValueError: for a posterior without a density (`Delta`).

    Reference:
        - [Burda et al., Importance Weighted Autoencoders, eq. 8](https://arxiv.org/abs/1509.00519)
    """
    if not model.posterior.has_density:
        raise ValueError(
            f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior): it "
            "defines no log p(x). Compare it by its reconstruction error."
        )
    if num_samples < 1 or batch_size < 1:
        raise ValueError("`num_samples` and `batch_size` are at least 1.")

    encode = tf.function(lambda x, label: model.given(label).encode_params(x))
    prior = model.prior.prepared()

    @tf.function(reduce_retracing=True)
    def accumulate(x, label, params, state, num, chunk_seed):
        largest, total, squares = state
        given = model.given(label)
        z, log_q = given.posterior.sample_and_log_prob(params, num, seed=chunk_seed)
        log_px = model.likelihood.log_prob(given.decode_params(z), x)
        log_weight = log_px + prior.given(label).log_prob(z) - log_q
        new = tf.maximum(largest, tf.reduce_max(log_weight, axis=0))
        weight = tf.exp(log_weight - new)
        shrink = tf.exp(largest - new)
        return (
            new,
            total * shrink + tf.reduce_sum(weight, axis=0),
            squares * shrink**2 + tf.reduce_sum(weight**2, axis=0),
        )

    base = random.as_seed(seed)
    chunk = max(1, min(num_samples, _ROWS // batch_size))
    values, errors, sizes = [], [], []
    for first in range(0, len(x), batch_size):
        batch = tf.constant(x[first : first + batch_size], tf.float32)
        own = None if label is None else tf.cast(label[first : first + batch_size], tf.int32)
        params = encode(batch, own)
        batch_seed = random.fold_in(base, first)
        rows = len(batch)
        state = (tf.fill([rows], -math.inf), tf.zeros([rows]), tf.zeros([rows]))
        for done in range(0, num_samples, chunk):
            num = min(chunk, num_samples - done)
            state = accumulate(batch, own, params, state, num, random.fold_in(batch_seed, done))
        largest, total, squares = (part.numpy().astype(np.float64) for part in state)
        values.append(largest + np.log(total) - math.log(num_samples))
        # Squared relative error of the mean weight, which is the variance of its logarithm.
        relative = np.maximum(squares / total**2 - 1 / num_samples, 0.0)
        correction = num_samples / (num_samples - 1) if num_samples > 1 else math.nan
        errors.append(np.sqrt(relative * correction))
        sizes.append(total**2 / squares)
        if progress is not None:
            progress(min(first + batch_size, len(x)))
    return LogProb(
        np.concatenate(values), np.concatenate(errors), np.concatenate(sizes), num_samples
    )
