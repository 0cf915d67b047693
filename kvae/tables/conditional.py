"""Rows of which some columns are given, by importance resampling of the joint distribution."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import random
from kvae.datasets.schema import Column
from kvae.utils import arguments, callers
from kvae.utils.eager import evaluated_eagerly
from kvae.utils.names import unknown_name

__all__ = ["Conditional", "given"]

_CHUNK = 4096  # Latents decoded at once, to bound the memory.
_FEW = 10  # Samples that carry the weight, below which a warning says so.


@dataclasses.dataclass(frozen=True)
class Conditional:
    """Rows of p(x | some columns). `np.asarray(conditional)` is its `value`.

    Attributes:
        value: float32 array `[n, columns]`. The columns that were given hold these values.
        effective_sample_size: float, from 1 to `num_samples`. How many latents carry the weight:
            all rows come of about so many.
        log_prob: float. An estimate of log p of the given values, in nats.
        num_samples: int.
    """

    value: np.ndarray
    effective_sample_size: float
    log_prob: float
    num_samples: int

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.value, dtype=dtype) if copy else np.asarray(self.value, dtype=dtype)

    def __str__(self) -> str:
        return (
            f"{len(self.value):,} rows, of {self.effective_sample_size:.3g} latents out of "
            f"{self.num_samples:,} that count; log p of the given values is "
            f"{self.log_prob:.3f} nats"
        )

    __repr__ = __str__


@evaluated_eagerly
def given(
    model: Any,
    values: Mapping[str, Any],
    n: int = 100,
    *,
    num_samples: int = 10_000,
    seed: int = 0,
    label: int | Mapping[str, Any] | None = None,
) -> Conditional:
    """Draws rows of p(x | x_given) from any model of a table.

    Latents z of the prior have the weights p(x_given|z). n of them are drawn anew by these weights
    (systematic resampling), and the other columns from p(x|z). Where the model takes missing values
    and the density of q(z|x_given) is known everywhere, half of the latents come from there, with
    the weights p(x_given|z) p(z) / (p(z) / 2 + q(z|x_given) / 2), which are never above twice those
    of the prior alone. The rows are exact in the limit of many samples.

    Args:
        model: `kvae.VAE` with a prior, whose likelihood is a sum over the columns.
        values: mapping from names of columns (of `model.schema`) to values as the table has them:
            texts of categories, numbers, truth values, dates. Of a model without a schema the names
            are the numbers of the columns, from 0.
        n: int. The number of rows. Defaults to `100`.
        num_samples: int. The number of latents. Defaults to `10_000`.
        seed: int. Defaults to `0`.
        label: int, or mapping from conditions to values. That of all rows, for a conditional model
            alone. Defaults to `None`.

    Returns:
        `Conditional`.

    Raises:
        ValueError: without values, for unknown columns and categories, for values that are missing
            or outside of the support, for a missing, wrong or superfluous label, and for a model
            without a prior or whose rows have no columns.

    Warns:
        UserWarning: where fewer than ten latents, or than a tenth of `n`, carry the weight: the
            values hardly ever come together. More `num_samples` help.

    Example:

    ```python
    vae = zoo.load("tabular_vae.breast_cancer")
    vae.schema = kvae.datasets.info("breast_cancer").schema
    rows = kvae.tables.given(vae, {"benign": 0}, n=200, seed=1)
    print(rows.value[:, 0].mean() > vae.sample(200, seed=1)[:, 0].numpy().mean())    # True
    ```

    Reference:
        - Rubin, The calculation of posterior distributions by data augmentation: Comment, JASA 82
          (1987): sampling importance resampling.
    """
    n, num_samples = arguments.whole("n", n), arguments.whole("num_samples", num_samples)
    x = _row(model, values)
    observed = np.flatnonzero(~np.isnan(x[0]))
    if model.conditional and label is None:
        raise ValueError(f"{model.name} is conditional: give the `label` of the rows.")
    own = model
    if label is not None:
        classes = model.conditions is None
        own = model.conditioned_on(np.atleast_1d(label) if classes else label)
        label = own.label
        if len(label) != 1 or (classes and int(label[0]) < 0):
            raise ValueError("`label` is one known class, or one value of each condition.")
    # NaN means something to models with `missing` alone.
    filled = model.likelihood.filled(tf.constant(x), tf.constant(~np.isnan(x)))
    seeds = random.split(random.as_seed(seed), 5)
    z, log_ratio = _proposed(own, x, num_samples, seeds)

    def decoded(z):
        rows = None if label is None else tf.repeat(label, len(z), axis=0)
        return model.decode_params(z, rows)

    def weigh(z):
        params = decoded(z)
        rows = tf.repeat(filled, tf.shape(z)[0], axis=0)
        each = model.likelihood.element_log_prob(params, rows)
        return tf.reduce_sum(tf.gather(each, observed, axis=-1), axis=-1)

    log_weight = np.float64(_in_chunks(weigh, z)) + log_ratio
    top = log_weight.max()
    if not math.isfinite(top):
        raise ValueError(
            "None of the latents gives these values a positive probability: "
            f"{', '.join(f'{name}={value}' for name, value in values.items())}."
        )
    weight = np.exp(log_weight - top)
    size = float(weight.sum() ** 2 / (weight**2).sum())
    if size < max(_FEW, n / 10):
        callers.warn(
            f"{size:.1f} of {num_samples} latents carry the weight, of which {n} rows are to be "
            "drawn: these values hardly ever come together. Give more num_samples, or fewer "
            "values.",
        )
    chosen = _resampled(weight, n, seeds[2])
    drawn = np.concatenate(
        [
            model.likelihood.sample(
                decoded(tf.gather(z, chosen[start : start + _CHUNK])),
                random.fold_in(seeds[3], start),
            )
            for start in range(0, n, _CHUNK)
        ]
    )
    drawn[:, observed] = x[:, observed]
    return Conditional(drawn, size, float(top + np.log(weight.mean())), num_samples)


def _row(model, values: Mapping[str, Any]) -> np.ndarray:
    """Returns one row with the given values, and NaN elsewhere, `[1, columns]`.

    Raises:
        ValueError: as `given`.
    """
    if len(model.event_shape or ()) != 1 or not model.likelihood.adds_values:
        raise ValueError(f"{model.name} is no model of a table whose columns have a log p each.")
    if model.prior is None:
        raise ValueError(f"{model.name} is an autoencoder without a prior, and draws no rows.")
    if not values:
        raise ValueError("Give a value of at least one column, e.g. {'age': 40}.")
    x = np.full((1, *model.event_shape), np.nan, np.float32)
    columns = () if model.schema is None else model.schema.columns
    columns = columns or [Column(str(place), "gaussian") for place in range(model.event_shape[0])]
    places = {column.name: place for place, column in enumerate(columns)}
    for name, value in values.items():
        if str(name) not in places:
            raise unknown_name("column", name, places)
        place = places[str(name)]
        x[0, place] = columns[place].code(value)
        if np.isnan(x[0, place]):
            raise ValueError(f"Column {str(name)!r} is given {value!r}, which is no value.")
    model.likelihood.check(
        np.where(np.isnan(x), np.asarray(model.likelihood.filled(x, ~np.isnan(x))), x), "values"
    )
    return x


def _proposed(model, x, num_samples: int, seeds):
    """Returns latents `[num_samples, latent_dim]` and log p(z) − log of their density, float64."""
    prior, posterior = model.prior, model.posterior
    proposes = num_samples > 1 and model.missing is not None and posterior.tractable
    proposes = proposes and not posterior.deterministic
    of_prior = num_samples // 2 if proposes else num_samples
    z = prior.sample(of_prior, seeds[0])
    if not proposes:
        return z, np.zeros(num_samples)
    params = model.encode_params(tf.constant(x))
    params = tf.nest.map_structure(lambda one: tf.repeat(one, num_samples, axis=0), params)
    part = tf.nest.map_structure(lambda one: one[: num_samples - of_prior], params)
    z = tf.concat([z, posterior.sample(part, seed=seeds[1])], axis=0)
    log_p, log_q = (np.float64(one) for one in (prior.log_prob(z), posterior.log_prob(params, z)))
    share = of_prior / num_samples
    return z, log_p - np.logaddexp(log_p + np.log(share), log_q + np.log1p(-share))


def _in_chunks(function, z) -> np.ndarray:
    return np.concatenate(
        [np.asarray(function(z[start : start + _CHUNK])) for start in range(0, len(z), _CHUNK)]
    )


def _resampled(weight: ArrayLike, n: int, seed) -> np.ndarray:
    """Returns n indices drawn by weight, in an order of chance (systematic resampling)."""
    weight = np.asarray(weight)
    start, order = random.split(seed)
    place = (float(random.uniform((), start)) + np.arange(n)) / n
    ends = np.cumsum(weight) / weight.sum()
    found = np.minimum(np.searchsorted(ends, place, side="right"), len(weight) - 1)
    return np.asarray(random.shuffled(tf.constant(found), tf.cast(order, tf.int64)))
