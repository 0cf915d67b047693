"""The terms of an objective, and their means over a dataset."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae import random
from kvae.utils.eager import evaluated_eagerly

__all__ = ["batch_terms", "mean_terms"]


def batch_terms(model: Any, x: Any, label: Any, target: Any, seed: Any) -> dict[str, tf.Tensor]:
    """Returns the objective's terms of a batch, each `[batch]`, as in validation."""

    def terms(x, label, target, seed):
        return model.objective.terms(
            model.conditioned_on(label), x, target, training=False, seed=seed
        )

    return model.run_compiled("terms of the objective", terms, (x, label, target), seed)


@evaluated_eagerly
def mean_terms(model: Any, data: Any, *, batch_size: int = 100, seed: int = 0) -> dict[str, float]:
    """Returns the means of the terms that the objective reports, in nats per example.

    These are `elbo`, `reconstruction`, `kl` and the other `metric_names`. Further entries of its
    `terms` need not be one number for each example, nor nats, and are left out. So is what no
    example counts in, such as the accuracy where no label is known.

    For an autoencoder they include the `squared_error` at the code's reconstruction, summed over
    the event, and the `standard_error` of the mean reconstruction term over the examples.
    """
    reported = {"elbo", "reconstruction", "kl", *model.objective.metric_names()}
    data = model.as_dataset(data)
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    errors = []
    for index, batch in enumerate(data.batches(batch_size, labels=model.conditional)):
        inputs, target, _ = keras.utils.unpack_x_y_sample_weight(batch)
        x, label = inputs if model.conditional else (inputs, None)
        target = x if target is None else target
        terms = batch_terms(model, x, label, target, random.fold_in(seed, index))
        for name in reported & terms.keys():
            counted = model.objective.counted(name, terms)
            values = terms[name] if counted is None else counted * terms[name]
            sums[name] = sums.get(name, 0.0) + float(np.sum(values))
            if counted is not None:
                counts[name] = counts.get(name, 0.0) + float(np.sum(counted))
        if not model.posterior.has_density:
            squared = float(tf.reduce_sum(tf.square(model(inputs) - target)))
            sums["squared_error"] = sums.get("squared_error", 0.0) + squared
            errors.append(np.asarray(terms["reconstruction"], np.float64))
    sums = {name: value for name, value in sums.items() if counts.get(name, 1.0)}
    means = {name: value / counts.get(name, len(data)) for name, value in sums.items()}
    if errors:
        spread = np.std(np.concatenate(errors), ddof=min(1, len(data) - 1))
        means["standard_error"] = float(spread / np.sqrt(len(data)))
    return means
