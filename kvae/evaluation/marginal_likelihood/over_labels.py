"""log p(x) of models that guess labels: the sum over those that are not known."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.evaluation.marginal_likelihood.importance import importance_log_prob
from kvae.evaluation.marginal_likelihood.log_prob import LogProb

__all__ = ["log_prob_over_labels"]


def log_prob_over_labels(
    model: Any,
    x: Any,
    *,
    label: Any = None,
    seed: Any = 0,
    progress=None,
    cache: str | os.PathLike | None = None,
    **options,
) -> LogProb:
    """Estimates log p(x|y) where all labels are known, else log p(x) = log Σ_y p(y) p(x|y).

    The sum is exact, and each of its terms is an estimate by `importance_log_prob` with noise of
    its own.

    Args:
        model: `kvae.VAE` whose objective guesses labels.
        x, label: as of `importance_log_prob`; the memory holds all of x. A label of -1 is not
            known.
        seed, progress, cache, **options: those of `importance_log_prob`. With several labels there
            is a cache for each.

    Returns:
        `LogProb`. Errors are those of the terms by their shares of the sum, `pareto_k` is that of
        the largest term.
    """
    parts = list(model.event_batches(x, label, support=True, guess=False))
    x, label = (tf.concat(values, axis=0) for values in zip(*parts, strict=True))
    options["progress"] = progress
    if np.all(label >= 0):
        return importance_log_prob(model, x, label=label, seed=seed, cache=cache, **options)
    estimates, base = [], random.as_seed(seed)
    for one in range(model.num_classes):
        own = None if cache is None else f"{os.fspath(cache)}.{one}"
        given = {"label": np.full(len(x), one), "seed": random.fold_in(base, one), "cache": own}
        estimates.append(importance_log_prob(model, x, **given, **options))
    log_p = np.asarray(model.objective.log_class_probabilities(model.num_classes), np.float64)
    terms = np.stack([one.value for one in estimates]) + log_p[:, None]
    value = np.logaddexp.reduce(terms, axis=0)
    share = np.exp(terms - value)

    def stacked(name):
        return np.stack([getattr(one, name) for one in estimates])

    largest = np.argmax(share, axis=0)[None]
    return LogProb(
        value=value,
        monte_carlo_error=np.sqrt(np.sum((share * stacked("monte_carlo_error")) ** 2, axis=0)),
        effective_sample_size=1.0 / np.sum(share**2 / stacked("effective_sample_size"), axis=0),
        num_samples=estimates[0].num_samples,
        bias=np.sum(share * stacked("bias"), axis=0),
        pareto_k=np.take_along_axis(stacked("pareto_k"), largest, axis=0)[0],
    )
