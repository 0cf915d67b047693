"""Estimates log p(x), and imputes, row by row: no row's numbers depend on its neighbours."""

import math

import tensorflow as tf

from kvae import divergences, random
from kvae.evaluation.imputation import added, completed, weighted_sums
from kvae.evaluation.marginal_likelihood.importance import log_weight_terms
from kvae.utils import masks

__all__ = ["halves", "impute", "score"]

# The samples that are decoded at once. A row draws whole chunks, and drops the surplus.
_CHUNK = 16


def halves(seed) -> tf.Tensor:
    """Turns integers int64 `[n]` into seeds `[n, 2]`, those of `kvae.random.as_seed`."""
    low = tf.bitwise.bitwise_and(seed, tf.constant(0x7FFFFFFF, tf.int64))
    high = tf.bitwise.right_shift(seed, tf.constant(31, tf.int64))
    return tf.cast(tf.stack([low, high], axis=-1), tf.int32)


def score(model, x, seed, num_samples, label=None) -> dict[str, tf.Tensor]:
    """Estimates the ELBO and log p(x) of each row, in nats, with noise of its own.

    Rows are taken one after another, so that a row's numbers keep their bits whatever it is batched
    with. More samples of one seed go on with those of fewer.

    Args:
        model: `kvae.VAE` whose posterior has a density.
        x: tensor `[batch, *event]`.
        seed: int64 tensor `[batch]`.
        num_samples: int64 tensor `[batch]`, at least 1.
        label: tensor `[batch]` of classes for a conditional model.

    Returns:
        dict of tensors `[batch]`: `elbo`, with the closed-form KL where one is known; `log_prob`,
        the logarithm of the average importance weight, which is never below the ELBO of the same
        samples (`kl` estimated) and grows to log p(x) with their number; `effective_sample_size` of
        the weights.
    """
    prepared = model.prior.precomputed()

    def row(own):
        x, seed, count, *label = own
        x, label = x[None], label[0][None] if label else None
        given, prior = model.conditioned_on(label), prepared.conditioned_on(label)
        params = given.encode_params(x)
        count = tf.cast(count, tf.int32)

        def more(done, state):
            log_px, log_ratio = log_weight_terms(
                given, prior, x, params, _CHUNK, random.fold_in(seed, done)
            )
            kept = done + tf.range(_CHUNK) < count
            return done + _CHUNK, _add(state, log_px[:, 0], log_ratio[:, 0], kept)

        start = (tf.constant(-math.inf), *(tf.zeros([]) for _ in range(4)))
        _, state = tf.while_loop(lambda done, _: done < count, more, (0, start))
        largest, total, squares, log_px, log_ratio = state
        number = tf.cast(count, tf.float32)
        kl = divergences.closed_form_kl(given.posterior, given.prior)
        cost = -log_ratio / number if kl is None else kl(params)[0]
        return (
            log_px / number - cost,
            largest + tf.math.log(total / number),
            total**2 / tf.maximum(squares, 1e-30),
        )

    rows = (x, halves(seed), num_samples) + (() if label is None else (label,))
    outputs = tf.map_fn(row, rows, fn_output_signature=(tf.TensorSpec(()),) * 3)
    return dict(zip(("elbo", "log_prob", "effective_sample_size"), outputs, strict=True))


def impute(model, x, seed, num_samples, label=None) -> dict[str, tf.Tensor]:
    """Fills in what was not observed of each row, with noise of its own.

    Rows are taken one after another, as those of `score` are.

    Args:
        model: `kvae.VAE` with `missing`, whose posterior has a density.
        x: tensor `[batch, *event]`, with NaN where nothing was observed.
        seed, num_samples, label: as for `score`.

    Returns:
        dict of tensors: `image` `[batch, *event]`, `log_prob` and `effective_sample_size`
        `[batch]`; see `kvae.evaluation.impute`.
    """
    prepared = model.prior.precomputed()

    def row(own):
        x, seed, count, *label = own
        x, label = x[None], label[0][None] if label else None
        given, prior = model.conditioned_on(label), prepared.conditioned_on(label)
        params = given.encode_params(x)
        count = tf.cast(count, tf.int32)

        def one(state):  # A loop asks for the same shapes each time: one row.
            return tf.nest.map_structure(
                lambda value: tf.ensure_shape(value, [1, *value.shape[1:]]), state
            )

        def chunk(done):
            kept = done + tf.range(_CHUNK) < count
            seeds = random.fold_in(seed, done)
            return one(weighted_sums(given, prior, x, params, _CHUNK, seeds, kept)[0])

        def more(done, state):
            return done + _CHUNK, one(added(state, chunk(done)))

        _, state = tf.while_loop(
            lambda done, _: done < count, more, (_CHUNK, chunk(tf.constant(0)))
        )
        largest, total, squares, sums = state
        log_prob = largest + tf.math.log(total / tf.cast(count, tf.float32))
        # Of nothing it is known.
        log_prob = tf.where(masks.some(masks.observed(x)), log_prob, 0.0)
        size = total**2 / tf.maximum(squares, 1e-30)
        return completed(given, x, total, sums)[0], log_prob[0], size[0]

    rows = (x, halves(seed), num_samples) + (() if label is None else (label,))
    specs = (tf.TensorSpec(model.event_shape), tf.TensorSpec(()), tf.TensorSpec(()))
    outputs = tf.map_fn(row, rows, fn_output_signature=specs)
    return dict(zip(("image", "log_prob", "effective_sample_size"), outputs, strict=True))


def _add(state, log_px, log_ratio, kept):
    """Adds samples to the largest log-weight, and to the sums of what is told from them."""
    largest, total, squares, sum_px, sum_ratio = state
    log_weight = tf.where(kept, log_px + log_ratio, -math.inf)
    new = tf.maximum(largest, tf.reduce_max(log_weight))
    # All weights of an impossible image are 0.
    unit = tf.where(tf.math.is_finite(new), new, 0.0)
    weight, shrink = tf.exp(log_weight - unit), tf.exp(largest - unit)
    return (
        new,
        total * shrink + tf.reduce_sum(weight),
        squares * shrink**2 + tf.reduce_sum(weight**2),
        sum_px + tf.reduce_sum(tf.where(kept, log_px, 0.0)),
        sum_ratio + tf.reduce_sum(tf.where(kept, log_ratio, 0.0)),
    )
