"""One call that measures a model on a data set."""

import keras
import numpy as np
import tensorflow as tf

from kvae import random
from kvae.likelihoods import Bernoulli

__all__ = ["evaluate", "mean_terms"]


def evaluate(
    model,
    data,
    *,
    num_samples: int = 100,
    batch_size: int = 100,
    seed: int = 0,
    progress=None,
    cache=None,
) -> dict:
    """Measures a model: its objective's terms, and log p(x) or the reconstruction error.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset`, with labels for a conditional model.
        num_samples: int. Importance samples for each example. Defaults to `100`.
        batch_size: int. Examples at once. Defaults to `100`.
        seed: int. Defaults to `0`.
        progress: optional callable, called with the number of finished examples.
        cache: optional path. Keeps finished batches of log p(x), see `importance_log_prob`.

    Returns:
        dict. `elbo`, `reconstruction` and `kl` in nats per example (β = 1). For a VAE also `nll`, a
        dict with `value`, `standard_error`, `monte_carlo_error`, `num_samples`. For an autoencoder
        `mse` and, with a Bernoulli likelihood, `bce_per_pixel`, both at the code's reconstruction.

    Example:

    ```python
    result = kvae.evaluation.evaluate(vae, kvae.datasets.load("digits", "test"), num_samples=500)
    result["nll"]["value"]
    ```
    """
    terms = mean_terms(model, data, batch_size=batch_size, seed=seed)
    result = {name: terms[name] for name in ("elbo", "reconstruction", "kl")}
    pixels = int(np.prod(data.event_shape))
    if model.posterior.has_density:
        estimate = model.log_prob(
            data,
            num_samples=num_samples,
            batch_size=batch_size,
            seed=seed,
            progress=progress,
            cache=cache,
        )
        return {**result, "nll": estimate.summary()}
    result["mse"] = terms["squared_error"] / pixels
    if isinstance(model.likelihood, Bernoulli):
        result["bce_per_pixel"] = result["reconstruction"] / pixels
    return result


def mean_terms(model, data, *, batch_size: int = 100, seed: int = 0) -> dict[str, float]:
    """Returns the means of the objective's terms over a data set, in nats per example.

    Of an autoencoder also the `squared_error` at the code's reconstruction, summed over the event.
    """
    step = tf.function(
        lambda x, label, target, seed: model.objective.terms(
            model.given(label), x, target, training=False, seed=seed
        ),
        reduce_retracing=True,
    )
    sums: dict[str, float] = {}
    for index, batch in enumerate(data.batches(batch_size, labels=model.conditional)):
        inputs, target, _ = keras.utils.unpack_x_y_sample_weight(batch)
        x, label = inputs if model.conditional else (inputs, None)
        target = x if target is None else target
        terms = step(x, label, target, random.fold_in(seed, index))
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(np.sum(value))
        if not model.posterior.has_density:
            squared = float(tf.reduce_sum(tf.square(model(inputs) - target)))
            sums["squared_error"] = sums.get("squared_error", 0.0) + squared
    return {name: value / len(data) for name, value in sums.items()}
