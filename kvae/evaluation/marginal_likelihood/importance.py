"""The importance-sampled estimate of log p(x)."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import random
from kvae.evaluation.marginal_likelihood.cache import (
    BatchCache,
    data_fingerprint,
    weights_fingerprint,
)
from kvae.evaluation.marginal_likelihood.log_prob import LogProb, log_mean, num_kept, warn_of_few
from kvae.priors.prior import Prior
from kvae.utils import arguments, masks
from kvae.utils.eager import evaluated_eagerly

__all__ = ["importance_log_prob", "log_weight_terms", "rows_at_once", "weighted_draws"]

# Latents decoded at once: enough to keep the matrix products efficient, few enough for the
# activations to stay in the processor's cache, and those of large images in the memory.
_ROWS, _VALUES = 4000, 4000 * 64 * 64

# Weights that are kept before they are summed: enough to do it rarely, few enough for any memory.
_WEIGHTS = 2**20

# From this number of log-probabilities of single values on, compiling their sum pays.
_MANY = 2 * 10**8
_NAMES = ("value", "monte_carlo_error", "effective_sample_size", "bias", "pareto_k")


@evaluated_eagerly
def importance_log_prob(
    model: Any,
    x: Any,
    *,
    num_samples: int = 100,
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    label: ArrayLike | None = None,
    max_rows: int | None = None,
    cache: str | os.PathLike | None = None,
) -> LogProb:
    """Estimates `log p(x) = log E_q[p(x|z) p(z) / q(z|x)]` with samples `z ~ q(z|x)`.

    The logarithm of the average weight is a lower bound of log p(x) in expectation; it is tight as
    `num_samples` grows. Weights are accumulated as a running log-sum-exp, of which the largest 1024
    of an example are kept at most, so memory does not grow with `num_samples` and `n`. The graphs
    are made once for a model and a number of samples, and kept until it is compiled anew.

    Args:
        model: `kvae.VAE`.
        x: array `[n, *event]` in the likelihood's support, or data of any kind that `vae.encode`
            takes; a `Stream` or `tf.data.Dataset` is read batch by batch.
        num_samples: int. Samples for each example. Defaults to `100`.
        batch_size: int. Examples at once; the values depend on it through the noise only.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        label: int array `[n]` for a conditional model, whose log p(x|y) is estimated. Defaults to
            `None`: the labels of the data. With an objective that guesses labels, its guess is y
            where none is known; `kvae.VAE.log_prob` estimates log p(x) there.
        max_rows: int. Latents decoded at once, which bounds the memory: lower it for large
            decoders. Like `batch_size` it changes the noise. Defaults to `None`: 4000, and fewer
            for examples of more than 64 × 64 values.
        cache: optional path of a file that keeps finished batches. An estimate that is interrupted
            goes on where it was when it is called again with equal arguments, to the same bits.

    Returns:
        `LogProb`.

    Warns:
        UserWarning: when more than a tenth of the examples have an effective sample size below 5 or
            a `pareto_k` over 0.7, from 10 samples on. Fewer samples estimate a looser bound, not
            log p(x).

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
    if max_rows is None:
        max_rows = rows_at_once(model.event_shape or ())
    max_rows = arguments.whole("max_rows", max_rows)

    # Others are not known before they are read; a tf.data.Dataset may not know its own length.
    counted = hasattr(x, "__len__") and not isinstance(x, tf.data.Dataset)
    rows = len(x) if counted else 0
    many = num_samples * rows * math.prod(model.event_shape or ()) >= _MANY
    base = random.as_seed(seed)
    chunk = max(1, min(num_samples, max_rows // batch_size))
    # So many chunks are weighed in one call; their weights are kept until its end.
    most = max(1, _WEIGHTS // (chunk * batch_size))
    kept = num_kept(num_samples)
    constants = {}
    if type(model.prior).precompute is not Prior.precompute:
        constants = model.run_compiled("prepare the prior", lambda: model.prior.precompute(), ())
    finished = _cache(cache, model, x, label, batch_size, (num_samples, chunk, base))
    try:
        first = 0
        for batch, own in model.event_rows(x, label, batch_size):
            rows, first = len(batch), first + len(batch)
            if first <= finished.done:
                continue
            state, done = None, 0
            while done < num_samples:
                num = min(chunk, num_samples - done)
                count = min(most, (num_samples - done) // num)
                alone = num == num_samples  # The only chunk needs no loop.
                state = model.run_compiled(
                    ("add importance weights", num, kept, many, alone),
                    _adder(model, num, kept, many, alone),
                    (batch, own, state),
                    constants,
                    base,
                    np.array([first - rows, done, count], np.int32),
                )
                done += num * count
            finished.add(**log_mean(*state, num_samples))
            if progress is not None:
                progress(first)
    finally:
        finished.close()
    estimate = LogProb(**finished.arrays(), num_samples=num_samples)
    warn_of_few(estimate)
    return estimate


def rows_at_once(event_shape) -> int:
    """Returns how many latents are decoded at once into events of this shape."""
    return max(1, min(_ROWS, _VALUES // math.prod(event_shape)))


def _adder(model, num: int, kept: int, many: bool, alone: bool):
    """Returns the function that adds the weights of chunks of `num` samples to a state.

    A state is what `log_mean` takes; before the first chunk it is `None`.
    """

    def add(x, label, state, constants, base, place):
        first, done, count = tf.unstack(place)
        seed = random.fold_in(base, first)
        given, prior = model.conditioned_on(label), model.prior.precomputed(constants)
        params, prior = given.encode_params(x), prior.conditioned_on(label)

        def weights_of(index):
            own = random.fold_in(seed, done + index * num)
            return tf.add(*log_weight_terms(given, prior, x, params, num, own, many))

        if alone:
            log_weight = weights_of(0)
        else:
            weights = tf.TensorArray(tf.float32, count, element_shape=[num, None])
            _, weights = tf.while_loop(
                lambda index, _: index < count,
                lambda index, weights: (index + 1, weights.write(index, weights_of(index))),
                (0, weights),
                parallel_iterations=1,
            )
            log_weight = weights.concat()
        largest = tf.reduce_max(log_weight, axis=0)
        candidates = tf.transpose(log_weight)
        if state is None:  # `-inf` stands where there are fewer weights than are kept.
            candidates = tf.pad(candidates, [[0, 0], [0, kept]], constant_values=-math.inf)
        else:
            largest = tf.maximum(largest, state[0])
            candidates = tf.concat([state[3], candidates], axis=1)
        weight = tf.exp(log_weight - largest)
        total, squares = tf.reduce_sum(weight, axis=0), tf.reduce_sum(weight**2, axis=0)
        if state is not None:
            shrink = tf.exp(state[0] - largest)
            total, squares = total + state[1] * shrink, squares + state[2] * shrink**2
        return largest, total, squares, tf.math.top_k(candidates, kept).values

    return add


def log_weight_terms(
    model: Any,
    prior: Any,
    x: Any,
    params: dict[str, Any],
    num_samples: int,
    seed: Any,
    many: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws z from q(z|x) and returns the two terms of the logarithms of its weights, in nats.

    Args:
        model: `kvae.VAE`, or that of given labels.
        prior: `kvae.priors.Prior`. That of the model, `precomputed` where it is used often.
        x: tensor `[batch, *event]`.
        params: dict. The posterior's parameters for `x`.
        num_samples: int. Samples for each example.
        seed: int or tensor. The seed of the noise.
        many: bool. Whether there are so many, and no gradient is needed, that the likelihood's
            `log_prob_of_many` pays.

    Returns:
        Pair of tensors `[num_samples, batch]`: log p(x|z), and log p(z) − log q(z|x). Both are 0
        where nothing of an example was observed, since log p(x) = 0 is known then.
    """
    _, _, log_px, log_ratio = weighted_draws(model, prior, x, params, num_samples, seed, many)
    if model.missing is not None:
        log_ratio = tf.where(masks.some(masks.observed(x)), log_ratio, 0.0)
    return log_px, log_ratio


def weighted_draws(
    model: Any,
    prior: Any,
    x: Any,
    params: dict[str, Any],
    num_samples: int,
    seed: Any,
    many: bool = False,
    complete: bool = False,
) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Draws z from q(z|x) and decodes it; the arguments are those of `log_weight_terms`.

    With `complete` the parameters are those of p(x_mis|x_obs, z); see `Likelihood.completed`.

    Returns:
        z `[num_samples, batch, latent_dim]`, the parameters of p(x|z), and the two terms of the
        logarithms of the weights, `[num_samples, batch]` in nats.
    """
    z, log_q = model.posterior.sample_and_log_prob(params, num_samples, seed=seed)
    likelihood, decoded = model.likelihood, model.decode_params(z)
    if complete and likelihood.autoregressive:
        # Noise that a caller gives is that of z.
        own = None if isinstance(seed, Mapping) else random.fold_in(seed, num_samples)
        decoded, log_px = likelihood.completed(decoded, x, own)
        return z, decoded, log_px, prior.log_prob(z) - log_q
    log_prob = likelihood.log_prob_of_many if many else likelihood.log_prob
    return z, decoded, log_prob(decoded, x), prior.log_prob(z) - log_q


def _cache(path, model, x, label, batch_size: int, settings: tuple) -> BatchCache:
    if path is None:
        return BatchCache(None, {}, _NAMES)
    num_samples, chunk, base = settings
    said = f"{num_samples} samples by {chunk}, batches of {batch_size}, seed {base.numpy()}"
    # Batch by batch, since the data may be larger than the memory.
    batches = [data_fingerprint(*part) for part in model.event_rows(x, label, batch_size)]
    keys = {
        "weights": weights_fingerprint(model),
        "data": data_fingerprint(np.frombuffer("".join(batches).encode(), np.uint8)),
        "settings": said,
    }
    return BatchCache(path, keys, _NAMES)
