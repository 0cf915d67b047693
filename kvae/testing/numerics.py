"""Comparisons for the checks: graphs, finite differences, and averages with their errors."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

__all__ = [
    "agree_in_graphs",
    "agree_with_draws",
    "close",
    "finite",
    "finite_gradients",
    "gradients_are_right",
    "same",
]

# How many standard errors an average may be off: by chance once in two million.
_ERRORS = 5.0


def finite_gradients(loss, tape: tf.GradientTape, variables, what: str) -> None:
    """Asserts that a loss is finite, and its gradients where there are some.

    Args:
        loss: tensor. It may have any shape.
        tape: `tf.GradientTape`, which has seen the loss.
        variables: list of Keras variables.
        what: str. For the message.
    """
    assert np.isfinite(loss).all(), f"{what}: the loss is not finite."
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        finite = gradient is None or np.isfinite(tf.convert_to_tensor(gradient)).all()
        assert finite, f"{what}: the gradient of {variable.path} is not finite."


def _flat(values) -> list[np.ndarray]:
    return [np.asarray(value) for value in keras.tree.flatten(values)]


def same(first, second, what: str) -> None:
    """Asserts that two structures of tensors have equal bits."""
    for one, other in zip(_flat(first), _flat(second), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=what)


def close(first, second, what: str, rtol: float = 1e-4, atol: float = 1e-4) -> None:
    """Asserts that two structures of tensors agree up to rounding."""
    for one, other in zip(_flat(first), _flat(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol, err_msg=what)


def finite(values, what: str) -> None:
    """Asserts that no number of a structure is NaN or infinite."""
    for value in _flat(values):
        assert np.isfinite(value).all(), f"{what}: not finite."


def agree_in_graphs(function: Callable, arguments: tuple, what: str, xla: bool) -> None:
    """Asserts that a function gives the same in eager mode, in a graph and compiled by XLA."""
    eager = function(*arguments)
    for compiled in (False, True) if xla else (False,):
        graph = tf.function(function, autograph=False, jit_compile=compiled)
        where = "compiled by XLA" if compiled else "in a graph"
        close(graph(*arguments), eager, f"{what}, {where}", rtol=2e-3, atol=1e-4)


def gradients_are_right(
    function: Callable, values: dict[str, tf.Tensor], what: str, rtol: float = 2e-2
) -> None:
    """Asserts that the gradient of a sum is that of finite differences, in a random direction.

    Args:
        function: from a dict of tensors like `values` to a tensor.
        values: dict of float32 tensors. The point.
        what: str. For the message.
        rtol: float. Relative error. Defaults to `2e-2`: the differences are of float32 numbers.
    """
    rng = np.random.default_rng(0)
    values = {name: tf.convert_to_tensor(value, tf.float32) for name, value in values.items()}
    shape = np.shape(function(values))
    weights = rng.normal(size=shape)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(function(values) * tf.constant(weights, tf.float32))
    gradients = tape.gradient(total, values)
    for name, gradient in gradients.items():
        direction, step = rng.normal(size=values[name].shape), 1e-2
        ends = [
            np.float64(
                function({**values, name: values[name] + np.float32(sign * step) * direction})
            )
            for sign in (1, -1)
        ]
        expected = float(np.sum(weights * (ends[0] - ends[1])) / (2 * step))
        found = 0.0 if gradient is None else float(np.sum(np.asarray(gradient) * direction))
        size = np.sqrt(np.sum(np.square(weights))) * 1e-3 + abs(expected)
        assert abs(found - expected) <= rtol * size + 1e-3, (
            f"{what}: the gradient in {name!r} is {found:.5g} along a direction, and by finite "
            f"differences {expected:.5g}."
        )


def agree_with_draws(draws: np.ndarray, log_prob: Callable, what: str, space: str = "real"):
    """Asserts that a density integrates to 1 and is that of the draws.

    For draws z of the density p and any density r that is 0 wherever p is, `E[r(z) / p(z)] = 1`,
    unless the draws have another density or p is not normalized. r is a bump between quantiles of
    the draws (on the sphere, von Mises and Fisher's distribution); several of them are tried. If z
    has few values, their frequencies are compared with the probabilities instead.

    Args:
        draws: array `[n, dim]`.
        log_prob: function of a float32 array `[n, dim]` to nats `[n]`.
        what: str. For the message.
        space: str. `"real"`, `"ball"`, `"sphere"` (of 3 dimensions), or another for discrete draws.
    """
    draws = np.asarray(draws, np.float32)
    found, counts = np.unique(draws, axis=0, return_counts=True)
    if len(found) < len(draws) / 2:
        _frequencies(found, counts, log_prob, what)
        return
    assert space in ("real", "sphere", "ball"), (
        f"{what}: draws in the space {space!r} are not discrete."
    )
    log_p = np.float64(log_prob(draws))
    for log_r in _inner_densities(np.float64(draws), space):
        weights = np.exp(log_r - log_p)
        error = weights.std() / math.sqrt(len(weights))
        assert error < 0.2, f"{what}: the weights vary too much ({error:.2g}) to say anything."
        assert abs(weights.mean() - 1.0) < _ERRORS * error + 2e-3, (
            f"{what}: the density does not integrate to 1 or is not that of the draws: the average "
            f"ratio of densities is {weights.mean():.4f} ± {error:.4f}, and has to be 1."
        )


def _frequencies(found, counts, log_prob, what) -> None:
    """Compares how often each value is drawn with its probability."""
    n = counts.sum()
    probabilities = np.exp(np.float64(log_prob(found)))
    assert probabilities.sum() < 1.0 + 1e-3, (
        f"{what}: the probabilities of the values drawn add up to {probabilities.sum():.4f}."
    )
    error = np.sqrt(np.maximum(n * probabilities * (1 - probabilities), 1.0))
    off = np.abs(counts - n * probabilities) / error
    worst = int(np.argmax(off))
    assert off[worst] < _ERRORS + 1.0, (
        f"{what}: a value of probability {probabilities[worst]:.4g} was drawn {counts[worst]} "
        f"times of {n}."
    )
    # What was not drawn is improbable.
    rare = len(found) / n + 5.0 / math.sqrt(n)
    assert probabilities.sum() > 1.0 - rare, (
        f"{what}: the probabilities of all values that {n} draws found add up to "
        f"{probabilities.sum():.4f} only."
    )


def _inner_densities(draws: np.ndarray, space: str):
    """Yields log-densities at the draws of distributions that lie within that of the draws."""
    mean = draws.mean(axis=0)
    if space == "sphere":
        concentration = 1.0
        log_normalizer = math.log(concentration / (4 * math.pi * math.sinh(concentration)))
        yield np.full(len(draws), -math.log(4 * math.pi))
        yield log_normalizer + concentration * draws @ (mean / np.linalg.norm(mean))
        return
    # Bumps between quantiles of the draws: they stay within the support, and heavy tails are cut.
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    for place in (0.5, 0.3, 0.7):
        centre = np.quantile(draws, place, axis=0)
        width = np.minimum(centre - low, high - centre)
        t = np.clip((draws - centre) / width, -1.0, 1.0)
        with np.errstate(divide="ignore"):
            yield np.sum(np.log((1.0 + np.cos(np.pi * t)) / (2.0 * width)), axis=1)
