"""Kalman smoothers of signals with gaps, exact, their parameters by maximum likelihood.

Three structural models of Harvey (1989), Forecasting, Structural Time Series Models and the Kalman
Filter: a local level, a local linear trend, and a level with a stochastic cycle. Each signal has
parameters of its own: those of a grid under which it is most probable.
"""

import itertools

import numpy as np

__all__ = ["MODELS", "best", "smoothed"]

DIFFUSE = 1e6  # Variance of the first state, in units of that of the noise.


def _level(q):
    return np.eye(1), np.ones(1), np.diag([q])


def _trend(q, slope):
    return np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0]), np.diag([q, slope])


def _cycle(frequency, damping, q):
    c, s = damping * np.cos(frequency), damping * np.sin(frequency)
    transition = np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])
    return transition, np.array([1.0, 1.0, 0.0]), np.diag([0.0, q, q])


_Q = 10.0 ** np.arange(-4, 4)
# Variances are relative to that of the noise, which has its most probable value.
MODELS = {
    "local level": [_level(q) for q in 10.0 ** np.arange(-4, 4.5, 0.5)],
    "local linear trend": [_trend(*one) for one in itertools.product((0.0, *_Q), _Q)],
    "level and cycle": [
        _cycle(*one)
        for one in itertools.product(
            2 * np.pi * np.linspace(1.0, 6.0, 41) / 64,
            (0.9, 0.98, 1.0),
            (0.0, 0.1, 1.0, 10.0, 100.0),
        )
    ],
}


def smoothed(y: np.ndarray, transition, reads, noise) -> tuple[np.ndarray, np.ndarray]:
    """Returns the log-likelihood of signals, and the expected signal given all observed values.

    Args:
        y: array `[n, steps]`, NaN where nothing was observed.
        transition: array `[d, d]`, from the state of one step to that of the next.
        reads: array `[d]`, from the state to the signal.
        noise: array `[d, d]`. Covariance of the state's noise, relative to the signal's.

    Returns:
        Arrays `[n]`, up to a constant, with the most probable variance, and `[n, steps]`.
    """
    n, steps = y.shape
    d = len(reads)
    state, spread = np.zeros((n, d)), np.broadcast_to(DIFFUSE * np.eye(d), (n, d, d))
    kept, count, squares, log_f = [], np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(steps):
        there = ~np.isnan(y[:, t])
        to_signal = spread @ reads
        f = to_signal @ reads + 1.0
        v = np.where(there, np.nan_to_num(y[:, t]) - state @ reads, 0.0)
        gain = np.where(there[:, None], to_signal / f[:, None], 0.0)
        kept.append((state, spread, v / f, gain, there))
        count, squares = count + there, squares + v**2 / f
        log_f = log_f + np.where(there, np.log(f), 0.0)
        state = (state + gain * v[:, None]) @ transition.T
        spread = spread - gain[:, :, None] * to_signal[:, None, :]
        spread = transition @ spread @ transition.T + noise
    back, means = np.zeros((n, d)), np.empty((n, steps))
    for t in reversed(range(steps)):
        state, spread, scaled, gain, there = kept[t]
        back = back @ transition  # To the step before, without the observation's part of it.
        read = scaled - np.einsum("nd,nd->n", gain, back)
        back = back + np.where(there, read, 0.0)[:, None] * reads
        means[:, t] = (state + np.einsum("nde,ne->nd", spread, back)) @ reads
    return -0.5 * (count * np.log(np.maximum(squares, 1e-12) / count) + log_f), means


def best(y: np.ndarray, models) -> np.ndarray:
    """Returns the expected signals `[n, steps]` under the most probable model of each."""
    found, value = np.empty_like(y), np.full(len(y), -np.inf)
    for model in models:
        log_p, means = smoothed(y, *model)
        better = log_p > value
        found[better], value[better] = means[better], log_p[better]
    return found
