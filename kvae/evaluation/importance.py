"""The importance-sampled estimate of log p(x)."""

import dataclasses
import math
import warnings

import numpy as np
import tensorflow as tf

from kvae import arguments, random
from kvae.evaluation.cache import BatchCache, data_fingerprint, weights_fingerprint

__all__ = ["LogProb", "importance_log_prob", "log_weight_terms"]

# A few samples decide the value of an example whose effective sample size is below this ...
_FEW = 5.0
# ... and the estimate of the set cannot be trusted where that is so of more than this share.
_SHARE = 0.1
# From so many log-probabilities of single values on, compiling their sum pays.
_MANY = 2 * 10**8
_NAMES = ("value", "standard_error", "effective_sample_size")


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
    max_rows: int = 4000,
    cache=None,
) -> LogProb:
    """Estimates `log p(x) = log E_q[p(x|z) p(z) / q(z|x)]` with samples `z ~ q(z|x)`.

    The logarithm of the average weight is a lower bound of log p(x) in expectation; it is tight as
    `num_samples` grows. Weights are accumulated as a running log-sum-exp, so memory depends on
    neither `num_samples` nor `n`.

    Args:
        model: `kvae.VAE`.
        x: array `[n, *event]` in the likelihood's support, or data of any kind that `vae.encode`
            takes; a `Stream` or `tf.data.Dataset` is read batch by batch.
        num_samples: int. Samples for each example. Defaults to `100`.
        batch_size: int. Examples at once; the values depend on it through the noise only.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        label: int array `[n]` for a conditional model, whose log p(x|y) is estimated. Defaults to
            `None`: the labels of the data.
        max_rows: int. Latents decoded at once, which bounds the memory: lower it for large
            decoders. By default enough to keep the matrix products efficient, and few enough for
            the activations to stay in the processor's cache. Like `batch_size` it changes the
            noise. Defaults to `4000`.
        cache: optional path of a file that keeps finished batches. An estimate that is interrupted
            goes on where it was when it is called again with equal arguments, to the same bits.

    Returns:
        `LogProb`.

    Warns:
        UserWarning: when more than a tenth of the examples have an effective sample size below 5,
            from 10 samples on. Fewer samples estimate a looser bound, not log p(x).

    Raises:
        ValueError: for a posterior without a density (`Delta`), and for a `cache` that is not
            whole, or of another model, other data or other settings.

    Reference:
        - [Burda et al., Importance Weighted Autoencoders, eq. 8](https://arxiv.org/abs/1509.00519)
    """
    if not model.posterior.has_density:
        raise ValueError(
            f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior): it "
            "defines no log p(x). Compare it by its reconstruction error."
        )
    num_samples = arguments.whole("num_samples", num_samples)
    batch_size = arguments.whole("batch_size", batch_size)
    max_rows = arguments.whole("max_rows", max_rows)

    rows = len(x) if hasattr(x, "__len__") else 0  # Else not known before they are read.
    many = num_samples * rows * math.prod(model.event_shape or ()) >= _MANY
    encode = tf.function(lambda x, label: model.given(label).encode_params(x))
    prior = model.prior.prepared()

    @tf.function(reduce_retracing=True)
    def accumulate(x, label, params, state, num, chunk_seed):
        largest, total, squares = state
        given = model.given(label)
        log_px, log_ratio = log_weight_terms(
            given, prior.given(label), x, params, num, chunk_seed, many
        )
        log_weight = log_px + log_ratio
        new = tf.maximum(largest, tf.reduce_max(log_weight, axis=0))
        weight = tf.exp(log_weight - new)
        shrink = tf.exp(largest - new)
        return (
            new,
            total * shrink + tf.reduce_sum(weight, axis=0),
            squares * shrink**2 + tf.reduce_sum(weight**2, axis=0),
        )

    base = random.as_seed(seed)
    chunk = max(1, min(num_samples, max_rows // batch_size))
    settings = f"{num_samples} samples by {chunk}, batches of {batch_size}, seed {base.numpy()}"
    finished = _cache(cache, model, x, label, batch_size, settings)
    try:
        first = 0
        for batch, own in model.event_rows(x, label, batch_size):
            rows, first = len(batch), first + len(batch)
            if first <= finished.done:
                continue
            params = encode(batch, own)
            batch_seed = random.fold_in(base, first - rows)
            state = (tf.fill([rows], -math.inf), tf.zeros([rows]), tf.zeros([rows]))
            for done in range(0, num_samples, chunk):
                num = min(chunk, num_samples - done)
                state = accumulate(batch, own, params, state, num, random.fold_in(batch_seed, done))
            largest, total, squares = (part.numpy().astype(np.float64) for part in state)
            # Squared relative error of the mean weight, which is the variance of its logarithm.
            relative = np.maximum(squares / total**2 - 1 / num_samples, 0.0)
            correction = num_samples / (num_samples - 1) if num_samples > 1 else math.nan
            finished.add(
                value=largest + np.log(total) - math.log(num_samples),
                standard_error=np.sqrt(relative * correction),
                effective_sample_size=total**2 / squares,
            )
            if progress is not None:
                progress(first)
    finally:
        finished.close()
    estimate = LogProb(**finished.arrays(), num_samples=num_samples)
    _warn(estimate)
    return estimate


def log_weight_terms(model, prior, x, params, num_samples, seed, many: bool = False):
    """Draws z from q(z|x) and returns the two terms of the logarithms of its weights, in nats.

    Args:
        model: `kvae.VAE`, or that of given labels.
        prior: `kvae.priors.Prior`. That of the model, `prepared` where it is used several times.
        x: tensor `[batch, *event]`.
        params: dict. The posterior's parameters for `x`.
        num_samples: int. Samples for each example.
        seed: of the noise.
        many: bool. Whether there are so many, and no gradient is needed, that the likelihood's
            `log_prob_of_many` pays.

    Returns:
        Pair of tensors `[num_samples, batch]`: log p(x|z), and log p(z) − log q(z|x).
    """
    z, log_q = model.posterior.sample_and_log_prob(params, num_samples, seed=seed)
    likelihood = model.likelihood
    log_prob = likelihood.log_prob_of_many if many else likelihood.log_prob
    log_px = log_prob(model.decode_params(z), x)
    return log_px, prior.log_prob(z) - log_q


def _cache(path, model, x, label, batch_size: int, settings: str) -> BatchCache:
    if path is None:
        return BatchCache(None, {}, _NAMES)
    # Batch by batch, since the data may be larger than the memory.
    batches = [data_fingerprint(*part) for part in model.event_rows(x, label, batch_size)]
    keys = {
        "weights": weights_fingerprint(model),
        "data": data_fingerprint(np.frombuffer("".join(batches).encode(), np.uint8)),
        "settings": settings,
    }
    return BatchCache(path, keys, _NAMES)


def _warn(estimate: LogProb) -> None:
    few = int(np.sum(estimate.effective_sample_size < _FEW))
    n, num_samples = len(estimate.value), estimate.num_samples
    if num_samples < 2 * _FEW or few <= _SHARE * n:
        return
    warnings.warn(
        f"The effective sample size of {few} of {n} examples is below {_FEW:g}, of {num_samples} "
        f"samples (its median is {np.median(estimate.effective_sample_size):.3g}): a few samples "
        "decide their log p(x), which is then too low, with a `standard_error` that is too small. "
        "Give more `num_samples`, and compare some examples with "
        "kvae.evaluation.annealed_log_prob.",
        stacklevel=3,
    )
