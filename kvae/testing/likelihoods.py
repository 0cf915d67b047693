"""The checks of every likelihood."""

import numpy as np
import tensorflow as tf

from kvae import random
from kvae.testing import numerics
from kvae.testing.models import BATCH
from kvae.testing.parts import check_part, copied

__all__ = ["check_likelihood"]

_DRAWS = 4000


def check_likelihood(likelihood, *, event_shape=None, xla: bool = True) -> None:
    """Checks what every likelihood promises.

    - What `check_part` checks.
    - Means, modes and draws have the shape of the event, and lie in the support.
    - `log_prob` is the sum of `element_log_prob` over the event, whatever the leading axes are.
    - Draws repeat with their seed, and are the same in eager mode, in a graph and compiled by XLA.
    - The density is that of the draws and integrates to 1; their average is the mean; no draw is
      more probable than the mode.
    - The gradient of the density is that of finite differences, and `log_prob_gradient` is the
      same where there is one.
    - Extreme outputs of a decoder give finite densities and gradients, and draws in the support.
    - log p of x with NaN, after `take_missing`, is the sum over what is there, and `point` is a
      value of x.
    - `from_encoder_input` is the inverse of `encoder_input`.

    Args:
        likelihood: `kvae.likelihoods.Likelihood`, new. It is not changed.
        event_shape: tuple of int or `None`. The shape of one example. Defaults to `None`: `(3,)`,
            and `(3, 1)` where the likelihood is autoregressive. Of such a one single values have no
            means and no densities of their own, and what is said of them is not checked.
        xla: bool. Whether to compile, which takes some seconds. Defaults to `True`.

    Raises:
        AssertionError: for a promise that is broken.

    Example:

    ```python
    kvae.testing.check_likelihood(kvae.likelihoods.Poisson(), xla=False)
    ```
    """
    name = type(likelihood).__name__
    check_part(likelihood)
    own = copied(likelihood)
    if event_shape is None:
        event_shape = (3, 1) if own.autoregressive else (3,)
    shape = own.output_shape(event_shape)
    outputs = np.random.default_rng(0).normal(size=(2, BATCH, *shape)).astype("float32")
    params = own(tf.constant(outputs[0]))
    x = own.sample(params, seed=1)
    event = (BATCH, *event_shape)
    for what, value in (("mean", own.mean(params)), ("mode", own.mode(params)), ("sample", x)):
        assert value.shape == event, f"{name}: `{what}` has shape {value.shape}, not {event}."
        assert value.dtype == tf.float32, f"{name}: `{what}` is {value.dtype.name}."
        if what != "mean":
            assert np.all(own.in_support(value)), f"{name}: `{what}` is not in its own support."
    own.check(np.asarray(x))
    _check_density(own, params, outputs, x, name)
    numerics.same(own.sample(params, seed=1), x, f"{name}: draws of one seed")
    many = own(tf.constant(np.tile(outputs[0], (8, *(1 for _ in shape)))))
    draws = [own.sample(many, seed=seed) for seed in (1, 2)]
    assert not np.array_equal(*draws), f"{name}: draws do not depend on the seed."
    numerics.agree_in_graphs(own.sample, (params, random.as_seed(1)), f"{name}: draws", xla)
    numerics.agree_in_graphs(own.log_prob, (params, x), f"{name}: log p", xla)
    numerics.close(own.from_encoder_input(own.encoder_input(x)), x, f"{name}: from_encoder_input")
    if not own.autoregressive:
        _check_draws(own, outputs[0, :1], event_shape, name)
    numerics.gradients_are_right(
        lambda v: own.log_prob(own(v["outputs"]), x),
        {"outputs": tf.constant(outputs[0])},
        f"{name}: log p",
    )
    if not own.autoregressive:
        _check_missing(copied(own), outputs[0], np.array(x), name)
    _check_extremes(own, x, shape, name)


def _check_missing(own, outputs, x, name) -> None:
    """log p of what was observed is the sum over it, and has a gradient."""
    try:
        own.take_missing()
    except ValueError:  # One whose values depend on one another.
        return
    each = own.element_log_prob(own(outputs), tf.cast(x, tf.float32))
    observed = np.random.default_rng(1).random(x.shape) < 0.5
    observed[0] = False
    x[~observed] = np.nan
    assert np.all(own.in_support(own.filled(x))), f"{name}: `filled` leaves the support."
    own.check(x, missing=True)
    outputs = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        log_p = own.log_prob(own(outputs), x)
    total = tf.reduce_sum(tf.where(observed, each, 0.0), axis=list(range(1, len(x.shape))))
    numerics.close(log_p, total, f"{name}: log p of incomplete x is that of what was observed")
    numerics.finite(tape.gradient(log_p, outputs), f"{name}: gradients of log p of incomplete x")
    point = own.point(own.averaged(own(outputs)))
    assert np.all(own.in_support(point)), f"{name}: `point` is not in the support."


def _check_density(own, params, outputs, x, name) -> None:
    log_p = own.log_prob(params, x)
    assert log_p.shape == (BATCH,), f"{name}: log p has shape {log_p.shape}, not {(BATCH,)}."
    each = own.element_log_prob(params, tf.cast(x, tf.float32))
    assert each.shape == x.shape, f"{name}: element_log_prob has shape {each.shape}, not {x.shape}."
    total = tf.reduce_sum(each, axis=list(range(1, len(x.shape))))
    numerics.close(log_p, total, f"{name}: log p is the sum of its elements")
    flat = own(tf.constant(outputs.reshape(-1, *outputs.shape[2:])))
    two = {key: tf.reshape(value, (2, BATCH, *value.shape[1:])) for key, value in flat.items()}
    both = own.log_prob(two, x)
    assert both.shape == (2, BATCH), f"{name}: log p of two samples has shape {both.shape}."
    numerics.close(both[0], log_p, f"{name}: log p of two samples of z")
    numerics.close(own.log_prob_of_many(two, x), both, f"{name}: log_prob_of_many")
    known = own.log_prob_gradient(two, x)
    if known is not None:
        assert set(known) == set(two), f"{name}: log_prob_gradient has {sorted(known)}."
        with tf.GradientTape() as tape:
            tape.watch(two)
            both = own.log_prob(two, x)
        right = tape.gradient(both, two, unconnected_gradients="zero")
        numerics.close(known, right, f"{name}: log_prob_gradient")


def _check_draws(own, outputs, event_shape, name) -> None:
    """Draws of the first value of one example against density, mean and mode."""
    many = own(tf.constant(np.repeat(outputs, _DRAWS, axis=0)))
    draws = np.asarray(own.sample(many, seed=3), np.float64)
    columns = draws.reshape(_DRAWS, -1)
    mean = np.asarray(own.mean(own(tf.constant(outputs))), np.float64).ravel()
    error = columns.std(axis=0) / np.sqrt(_DRAWS)
    off = np.abs(columns.mean(axis=0) - mean)
    assert (off < 5 * error + 1e-4).all(), (
        f"{name}: draws have the mean {columns.mean(axis=0)}, and `mean` says {mean}."
    )

    def log_prob(first):
        """Returns log p of values of the first entry; the others do not count."""
        x = columns.copy()
        x[:, :1] = np.resize(first, (_DRAWS, 1))
        each = own.element_log_prob(many, tf.constant(x.reshape(draws.shape), tf.float32))
        return np.asarray(each).reshape(_DRAWS, -1)[: len(first), 0]

    numerics.agree_with_draws(columns[:, :1], log_prob, f"{name}: p(x|z)")
    mode = np.broadcast_to(np.asarray(own.mode(own(tf.constant(outputs)))), draws.shape)
    best = np.asarray(own.element_log_prob(many, tf.constant(mode, tf.float32)))
    found = np.asarray(own.element_log_prob(many, tf.constant(draws, tf.float32)))
    assert (found <= best + 1e-4).all(), f"{name}: a draw is more probable than the mode."


def _check_extremes(own, x, shape, name) -> None:
    """Outputs far outside of what is sensible: a decoder may return anything."""
    signs = np.random.default_rng(0).choice([-1e3, 1e3], size=(BATCH, *shape))
    sizes = [np.full_like(signs, -1e4), np.zeros_like(signs), np.full_like(signs, 1e4), signs]
    outputs, x = tf.constant(np.concatenate(sizes), tf.float32), tf.concat([x] * len(sizes), axis=0)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        params = own(outputs)
        log_p = own.log_prob(params, x)
    numerics.finite(log_p, f"{name}: log p of extreme outputs")
    gradient = tape.gradient(log_p, outputs)
    numerics.finite(gradient, f"{name}: gradients at extreme outputs")
    mean, mode, draws = own.mean(params), own.mode(params), own.sample(params, seed=0)
    numerics.finite((mean, mode, draws), f"{name}: means, modes, draws of extreme outputs")
    assert np.all(own.in_support(mode)) and np.all(own.in_support(draws)), (
        f"{name}: a mode or a draw of extreme outputs is not in the support."
    )
