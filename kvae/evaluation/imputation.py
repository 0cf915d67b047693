"""Values for what was not observed, by importance sampling from p(z | what was)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import random
from kvae.evaluation.marginal_likelihood.importance import rows_at_once, weighted_draws
from kvae.utils import arguments, masks
from kvae.utils.eager import evaluated_eagerly

__all__ = ["Imputation", "added", "completed", "impute", "weighted_sums"]


@dataclasses.dataclass(frozen=True)
class Imputation:
    """Examples whose gaps are filled. `np.asarray(imputation)` is its `value`.

    Attributes:
        value: array `[n, *event]`, or `[num_imputations, n, *event]` for multiple imputations.
            Observed values are those that were given, bit for bit. Of a model of several modalities
            a dict of such by name, and so is `observed`.
        observed: bool array `[n, *event]`. The mask: False where a value was filled in.
        effective_sample_size: array `[n]`, from 1 to `num_samples`. Near 1, a single sample
            decides, and the imputation cannot be trusted.
        num_samples: int.
    """

    value: Any
    observed: Any
    effective_sample_size: np.ndarray
    num_samples: int

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.value, dtype=dtype) if copy else np.asarray(self.value, dtype=dtype)

    def __str__(self) -> str:
        several = isinstance(self.value, Mapping)
        values = list(self.value.values()) if several else [self.value]
        masks_of = list(self.observed.values()) if several else [self.observed]
        filled = sum(int(np.sum(~mask)) for mask in masks_of)
        times = f", {len(values[0])} times" if values[0].ndim > masks_of[0].ndim else ""
        return (
            f"{filled:,} values filled in of {len(masks_of[0]):,} "
            f"examples{times}; {self.num_samples} samples, of which "
            f"{np.median(self.effective_sample_size):.3g} count (median)"
        )

    __repr__ = __str__


@evaluated_eagerly
def impute(
    model: Any,
    x: Any,
    *,
    num_samples: int = 100,
    num_imputations: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    label: ArrayLike | None = None,
    max_rows: int | None = None,
) -> Imputation:
    """Fills in what was not observed of x: NaN, in data of any kind that `vae.encode` takes.

    Samples `z ~ q(z|x_obs)` have the weights `w ∝ p(x_obs|z) p(z) / q(z|x_obs)`. A single
    imputation is the self-normalized average `Σ w E[x_mis|z]`, an estimate of `E[x_mis|x_obs]`; of
    a likelihood over whole numbers it is the whole number that is nearest to that, over levels the
    nearest level, and of classes the most probable class of `Σ w p(x_mis|z)`. Multiple imputations
    are draws from p(x_mis|x_obs): each resamples one z by the weights, and draws x_mis from
    p(x|z) (sampling importance resampling). Their spread says how uncertain the values are.

    Sums are accumulated over chunks of samples, so that memory does not grow with `num_samples`.

    Args:
        model: `kvae.VAE` with `missing`.
        x: data as `vae.encode` takes them.
        num_samples: int. Importance samples for each example. Defaults to `100`.
        num_imputations: int or `None`. The number of draws for each example; at most a tenth of
            `num_samples` differ much. Defaults to `None`: a single imputation.
        batch_size: int. Examples at once; the values depend on it through the noise only.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        label: int array `[n]`, or a dict of conditions, for a conditional model. Defaults to
            `None`: the labels of the data.
        max_rows: int. Latents decoded at once, which bounds the memory. Defaults to `None`: 4000,
            and fewer for examples of more than 64 × 64 values.

    Returns:
        `Imputation`.

    Raises:
        ValueError: for a model without `missing`, and for one whose posterior has no density.

    Reference:
        - [Mattei & Frellsen, MIWAE: Deep Generative Modelling and Imputation of Incomplete Data
          Sets, section 3.3](https://arxiv.org/abs/1812.02633)
    """
    if model.missing is None:
        raise ValueError(
            f"{model.name} takes no missing values. Make and train it with "
            "kvae.VAE(..., missing='mean')."
        )
    if not model.posterior.has_density:
        raise ValueError(
            f"{model.name} is an autoencoder ({type(model.posterior).__name__} posterior), whose "
            "codes have no importance weights: fill gaps with reconstruct(x)."
        )
    num_samples = arguments.whole("num_samples", num_samples)
    num_imputations = arguments.whole_or_none("num_imputations", num_imputations)
    batch_size = arguments.whole("batch_size", batch_size)
    max_rows = rows_at_once(model.event_shape or ()) if max_rows is None else max_rows
    max_rows = arguments.whole("max_rows", max_rows)

    chunk = max(1, min(num_samples, max_rows // batch_size))
    draws = num_imputations or 0
    constants = model.run_compiled("prepare the prior", lambda: model.prior.precompute(), ())
    base, first = random.as_seed(seed), 0
    values, there, sizes = [], [], []
    for batch, own in model.event_rows(x, label, batch_size):
        params = model.run_compiled("encode", model.encode_params, (batch, own))
        batch_seed, state = random.fold_in(base, first), None
        for done in range(0, num_samples, chunk):
            num = min(chunk, num_samples - done)
            new = model.run_compiled(
                ("weigh draws for imputation", num, draws),
                _weigher(model, num, draws),
                (batch, own, params),
                constants,
                random.fold_in(batch_seed, done),
            )
            if state is not None:
                new = model.run_compiled("add weighted draws", added, (state, new))
            state = new
        first += len(batch)
        largest, total, squares, averages, *chosen = state
        if num_imputations is None:
            filled = model.run_compiled("impute", _single(model), (batch, total, averages))[None]
        else:
            filled = _multiple(model, batch, own, chosen[1], random.fold_in(batch_seed, -1))
        values.append(np.asarray(filled))
        there.append(np.asarray(masks.observed(batch)))
        sizes.append(np.asarray(total**2 / squares))
        if progress is not None:
            progress(first)
    value = np.concatenate(values, axis=1)
    return Imputation(
        value[0] if num_imputations is None else value,
        np.concatenate(there),
        np.concatenate(sizes),
        num_samples,
    )


def weighted_sums(model, prior, x, params, num: int, seed, kept=None):
    """Draws z, and returns what is known of their weights and of the values of x.

    Args:
        model: `kvae.VAE`, or that of given labels.
        prior: `kvae.priors.Prior`, `precomputed`.
        x: tensor `[batch, *event]`.
        params: dict. The posterior's parameters.
        num: int. Samples for each example.
        seed: int32 tensor `[2]`.
        kept: bool tensor `[num]` or `None`. The samples that count. Defaults to `None`: all.

    Returns:
        The largest logarithm of a weight, `[batch]`; the sums of the weights and of their squares,
        as multiples of that one and its square; and the weighted sums of
        `Likelihood.averaged`. Beside them what decides the missing values, z or the completed x
        (`Likelihood.completed`), `[num, batch, …]`, and the logarithms, `[num, batch]`.
    """
    z, decoded, log_px, log_ratio = weighted_draws(
        model, prior, x, params, num, seed, complete=True
    )
    log_weight = log_px + log_ratio
    if kept is not None:
        log_weight = tf.where(kept[:, None], log_weight, -np.inf)
    largest = tf.reduce_max(log_weight, axis=0)
    weight = tf.exp(log_weight - _finite(largest))

    averaged = model.likelihood.averaged(decoded)
    sums = {k: tf.reduce_sum(_like(weight, v) * v, axis=0) for k, v in averaged.items()}
    totals = tf.reduce_sum(weight, axis=0), tf.reduce_sum(weight**2, axis=0)
    if model.likelihood.autoregressive:
        z = tf.reshape(decoded["completed"], (*z.shape[:1], -1, math.prod(model.event_shape)))
    return (largest, *totals, sums), z, log_weight


def added(first, second):
    """Returns the sums over two lots of draws, and of what was chosen of each the better one."""
    largest = tf.maximum(first[0], second[0])
    unit = _finite(largest)
    a, b = (tf.exp(one[0] - unit) for one in (first, second))

    def sum_of(x, y, power=1):
        return _like(a**power, x) * x + _like(b**power, y) * y

    sums = {k: sum_of(value, second[3][k]) for k, value in first[3].items()}
    totals = sum_of(first[1], second[1]), sum_of(first[2], second[2], 2)
    if len(first) == 4:
        return (largest, *totals, sums)
    (score, z), (other, other_z) = first[4:], second[4:]
    better = other > score
    return (
        *(largest, *totals, sums),
        tf.where(better, other, score),
        tf.where(better[..., None], other_z, z),
    )


def completed(model, x, total, sums):
    """Returns x `[batch, *event]` with the value that stands for each NaN.

    Args:
        model: `kvae.VAE`.
        x: tensor `[batch, *event]`.
        total, sums: as `weighted_sums` and `added` return them.
    """
    averages = {name: value / _like(total, value) for name, value in sums.items()}
    point = model.likelihood.point(averages)
    return tf.where(masks.observed(x), x, tf.cast(point, x.dtype))


def _weigher(model, num: int, draws: int):
    """Returns the function that weighs `num` samples, and chooses `draws` of them by weight."""

    def weigh(x, label, params, constants, seed):
        given = model.conditioned_on(label)
        prior = model.prior.precomputed(constants).conditioned_on(label)
        state, z, log_weight = weighted_sums(given, prior, x, params, num, seed)
        if not draws:
            return state
        # The largest sum of a log-weight and Gumbel noise is a draw by weight (Yellott 1977), also
        # of samples that come one lot after another.
        shape = tf.concat([[draws], tf.shape(log_weight)], axis=0)
        scores = log_weight + random.gumbel(shape, random.fold_in(seed, num))
        best = tf.argmax(scores, axis=1)  # [draws, batch]
        chosen = tf.gather(tf.transpose(z, (1, 0, 2)), tf.transpose(best), batch_dims=1)
        return (*state, tf.transpose(tf.reduce_max(scores, axis=1)), chosen)

    return weigh


def _single(model):
    return lambda x, total, sums: completed(model, x, total, sums)


def _multiple(model, x, label, chosen, seed):
    """Returns x with draws in the place of NaN, `[draws, batch, *event]`."""

    def draw(x, label, z, seed):
        if model.likelihood.autoregressive:
            drawn = tf.reshape(z, tf.shape(x))
        else:
            params = model.conditioned_on(label).decode_params(z)
            drawn = tf.cast(model.likelihood.sample(params, seed), x.dtype)
        return tf.where(masks.observed(x), x, drawn)

    # One imputation after another, so that no more is in memory than of a single one.
    return tf.stack(
        [
            model.run_compiled(
                "draw missing values",
                draw,
                (x, label, chosen[:, number]),
                random.fold_in(seed, number),
            )
            for number in range(chosen.shape[1])
        ]
    )


def _like(values, other):
    """Returns values `[...]` with axes of size 1 at the end, as many as `other` has."""
    return values[(..., *[None] * (other.shape.rank - values.shape.rank))]


def _finite(largest):
    """Returns a number to subtract from log-weights, which may all be −∞."""
    return tf.where(tf.math.is_finite(largest), largest, 0.0)
