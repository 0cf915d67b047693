"""Estimates of log p(x), and imputation, row by row: no row's numbers depend on its neighbours."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import divergences, random
from kvae.distributions import base_noise
from kvae.evaluation.imputation import added, completed, weighted_sums
from kvae.evaluation.marginal_likelihood.importance import log_weight_terms
from kvae.utils import masks

__all__ = [
    "START",
    "added_draws",
    "by_row",
    "code_cost",
    "imputed",
    "row_imputation",
    "row_map",
    "row_noise",
    "row_seeds",
    "row_terms",
    "terms_of",
]

# The samples that are decoded at once. A row draws whole chunks, and drops the surplus.
_CHUNK = 16
_TERMS = ("reconstruction", "kl", "elbo", "log_prob", "effective_sample_size")
_NUMBER = tf.TensorSpec(())

# What `added_draws` adds to, before the first draw.
START = (-math.inf, 0.0, 0.0, 0.0, 0.0)


def by_row(
    model: Any,
    name: str,
    function: Callable,
    x: Any,
    label: ArrayLike | None = None,
    *,
    seed: int,
    num_samples: int,
) -> Iterator:
    """Yields `function(model, x, seeds, numbers of samples, labels)` of blocks of rows.

    Args:
        model: `kvae.VAE`.
        name: str. The name of what is computed, for the graph that the model keeps.
        function: `row_terms`, `row_map` or `row_imputation`.
        x: data of any kind that `vae.encode` takes.
        label: int array `[n]` for a conditional model. Defaults to `None`: those of the data.
        seed: int. The same noise for every row.
        num_samples: int.
    """
    noise = tf.constant(seed, tf.int64), tf.constant(num_samples, tf.int64)

    def of(x, label, *noise):
        for_each = [tf.fill(tf.shape(x)[:1], value) for value in noise]
        return function(model, x, *for_each, label)

    for rows in model.event_rows(x, label, 1024):
        yield model.run_compiled(name, of, rows, *noise)


def row_seeds(seed) -> tf.Tensor:
    """Turns integers int64 `[n]` into seeds `[n, 2]`, those of `kvae.random.as_seed`."""
    low = tf.bitwise.bitwise_and(seed, tf.constant(0x7FFFFFFF, tf.int64))
    high = tf.bitwise.right_shift(seed, tf.constant(31, tf.int64))
    return tf.cast(tf.stack([low, high], axis=-1), tf.int32)


def row_noise(posterior, seed: int, num_samples: int) -> dict[str, tf.Tensor]:
    """Draws the noise of which the functions here make the z of a row.

    Args:
        posterior: `kvae.posteriors.Posterior`.
        seed: int. That of the row.
        num_samples: int.

    Returns:
        dict of tensors `[num_samples, 1, size]`, by the names of the posterior's `base_noise`.
    """
    declared, own = posterior.base_noise(), row_seeds(tf.constant([seed], tf.int64))[0]
    chunks = [
        base_noise.draw(declared, [_CHUNK, 1], random.fold_in(own, done))
        for done in range(0, num_samples, _CHUNK)
    ]
    return {name: tf.concat([c[name] for c in chunks], axis=0)[:num_samples] for name in declared}


def row_terms(model, x, seed, num_samples, label=None) -> dict[str, tf.Tensor]:
    """Estimates the ELBO, its terms and log p(x) of each row, in nats, with noise of its own.

    Rows are taken one after another, so that a row's numbers keep their bits whatever it is batched
    with. More samples of one seed go on with those of fewer.

    Args:
        model: `kvae.VAE`.
        x: tensor `[batch, *event]`.
        seed: int64 tensor `[batch]`.
        num_samples: int64 tensor `[batch]`, at least 1.
        label: tensor `[batch]` of classes for a conditional model.

    Returns:
        dict of tensors `[batch]`: `reconstruction`, −E_q log p(x|z); `kl`, in closed form where one
        is known; `elbo`, the negative sum of both; `log_prob`, the logarithm of the average
        importance weight, which is never below the ELBO of the same samples (`kl` estimated) and
        grows to log p(x) with their number; `effective_sample_size` of the weights. The
        `reconstruction` is the only one of an autoencoder, that of its code.
    """
    if not model.posterior.has_density:
        return {"reconstruction": _by_row(_first_of(code_cost, model), (x,), label, _NUMBER)}
    prepared = model.prior.precomputed()

    def row(x, label, seed, count):
        given, prior = model.conditioned_on(label), prepared.conditioned_on(label)
        params = given.encode_params(x)
        count = tf.cast(count, tf.int32)

        def more(done, state):
            log_px, log_ratio = log_weight_terms(
                given, prior, x, params, _CHUNK, random.fold_in(seed, done)
            )
            kept = done + tf.range(_CHUNK) < count
            return done + _CHUNK, added_draws(state, log_px[:, 0], log_ratio[:, 0], kept)

        start = tuple(map(tf.constant, START))
        _, state = tf.while_loop(lambda done, _: done < count, more, (0, start))
        kl = divergences.closed_form_kl(given.posterior, given.prior)
        return terms_of(state, tf.cast(count, tf.float32), None if kl is None else kl(params)[0])

    outputs = dict.fromkeys(_TERMS, _NUMBER)
    return _by_row(row, (x, row_seeds(seed), num_samples), label, outputs)


def row_map(model, x, seed, num_samples, label=None) -> tf.Tensor:
    """Returns which value of an event costs how much of the reconstruction, in nats.

    Args:
        model, x, seed, num_samples, label: as for `row_terms`, with the same noise.

    Returns:
        Tensor `[batch, *event]`, −E_q log p(x_i|z), and 0 where nothing was observed. Its sums over
        the event are the `reconstruction` of `row_terms`.

    Raises:
        ValueError: for a likelihood that gives no log p of single values.
    """
    likelihood, event = model.likelihood, tf.TensorSpec(model.event_shape)
    if not likelihood.adds_values:
        raise ValueError(
            f"{type(likelihood).__name__} has a `log_prob` of its own, for whole events, which "
            "says nothing of single values: there is no map."
        )
    if not model.posterior.has_density:
        return _by_row(_first_of(code_cost, model, elements=True), (x,), label, event)
    axes = [1] * len(model.event_shape)

    def row(x, label, seed, count):
        given = model.conditioned_on(label)
        params = given.encode_params(x)
        count = tf.cast(count, tf.int32)

        def more(done, total):
            z, _ = given.posterior.sample_and_log_prob(
                params, _CHUNK, seed=random.fold_in(seed, done)
            )
            log_px = likelihood.log_prob_of_values(given.decode_params(z), x)[:, 0]
            kept = tf.reshape(done + tf.range(_CHUNK) < count, [_CHUNK, *axes])
            return done + _CHUNK, total + tf.reduce_sum(tf.where(kept, log_px, 0.0), axis=0)

        start = tf.zeros(model.event_shape)
        _, total = tf.while_loop(lambda done, _: done < count, more, (0, start))
        return -total / tf.cast(count, tf.float32)

    return _by_row(row, (x, row_seeds(seed), num_samples), label, event)


def row_imputation(model, x, seed, num_samples, label=None) -> dict[str, tf.Tensor]:
    """Fills in what was not observed of each row, with noise of its own.

    Rows are taken one after another, as those of `row_terms` are.

    Args:
        model: `kvae.VAE` with `missing`, whose posterior has a density.
        x: tensor `[batch, *event]`, with NaN where nothing was observed.
        seed, num_samples, label: as for `row_terms`.

    Returns:
        dict of tensors: `image` `[batch, *event]`, `log_prob` and `effective_sample_size`
        `[batch]`; see `kvae.evaluation.impute`.
    """
    prepared = model.prior.precomputed()

    def row(x, label, seed, count):
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
        found = imputed(given, x, state, tf.cast(count, tf.float32))
        return {name: value[0] for name, value in found.items()}

    outputs = {
        "image": tf.TensorSpec(model.event_shape),
        "log_prob": _NUMBER,
        "effective_sample_size": _NUMBER,
    }
    return _by_row(row, (x, row_seeds(seed), num_samples), label, outputs)


def code_cost(model, x, label=None, elements: bool = False):
    """Returns the reconstruction of a batch's codes, −log p(x|E[z]), or that of each value."""
    likelihood, given = model.likelihood, model.conditioned_on(label)
    log_prob = likelihood.log_prob_of_values if elements else likelihood.log_prob
    return -log_prob(given.decode_params(given.posterior.mean(given.encode_params(x))), x)


def imputed(model, x, state, number) -> dict[str, tf.Tensor]:
    """Returns what `row_imputation` does of a batch, from the sums over its draws.

    Args:
        model: `kvae.VAE`, or that of given labels.
        x: tensor `[batch, *event]`, with NaN where nothing was observed.
        state: as `weighted_sums` and `added` return it.
        number: float. How many draws there were.
    """
    largest, total, squares, sums = state
    log_prob = largest + tf.math.log(total / number)
    return {
        "image": completed(model, x, total, sums),
        # If nothing was observed, log p(x_obs) is exactly 0.
        "log_prob": tf.where(masks.some(masks.observed(x)), log_prob, 0.0),
        "effective_sample_size": total**2 / tf.maximum(squares, 1e-30),
    }


def terms_of(state, number, kl=None) -> dict[str, tf.Tensor]:
    """Returns the terms of `row_terms` from the sums over draws of `added_draws`.

    Args:
        state: tuple of tensors `[...]`.
        number: float. How many draws there were.
        kl: tensor `[...]` or `None`. The KL in closed form; else it is estimated.
    """
    largest, total, squares, log_px, log_ratio = state
    cost = -log_ratio / number if kl is None else kl
    return {
        "reconstruction": -log_px / number,
        "kl": cost,
        "elbo": log_px / number - cost,
        "log_prob": largest + tf.math.log(total / number),
        "effective_sample_size": total**2 / tf.maximum(squares, 1e-30),
    }


def _first_of(function, model, **options):
    return lambda x, label: function(model, x, label, **options)[0]


def _by_row(function, rows: tuple, label, outputs):
    """Returns `function(x, label, *others)` of each row; x and label keep an axis of one row."""

    def of(row):
        x, *others = row[: len(rows)]
        return function(x[None], None if label is None else row[-1][None], *others)

    return tf.map_fn(of, rows if label is None else (*rows, label), fn_output_signature=outputs)


def added_draws(state, log_px, log_ratio, kept=True):
    """Adds draws to the largest log-weight, and to the sums of what is told from them.

    Args:
        state: tuple of tensors `[...]`, at first `START`.
        log_px, log_ratio: tensors `[draws, ...]`, as of `log_weight_terms`.
        kept: bool tensor `[draws]`. The draws that count. Defaults to `True`: all.
    """
    largest, total, squares, sum_px, sum_ratio = state
    log_weight = tf.where(kept, log_px + log_ratio, -math.inf)
    new = tf.maximum(largest, tf.reduce_max(log_weight, axis=0))
    # All weights of an impossible image are 0.
    unit = tf.where(tf.math.is_finite(new), new, 0.0)
    weight, shrink = tf.exp(log_weight - unit), tf.exp(largest - unit)
    return (
        new,
        total * shrink + tf.reduce_sum(weight, axis=0),
        squares * shrink**2 + tf.reduce_sum(weight**2, axis=0),
        sum_px + tf.reduce_sum(tf.where(kept, log_px, 0.0), axis=0),
        sum_ratio + tf.reduce_sum(tf.where(kept, log_ratio, 0.0), axis=0),
    )
