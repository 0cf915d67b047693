"""Waves of three forms, computed by a formula, whole and incomplete."""

import pathlib

import numpy as np

from kvae.datasets.dataset_info import DatasetInfo
from kvae.datasets.registry import register
from kvae.datasets.splits import PERMUTED, Splits, split_by_permutation


@register(
    "signals",
    title="64 steps of sine, square and sawtooth waves with noise, synthetic",
    event_shape=(64, 1),
    train=5_000,
    validation=500,
    test=500,
    classes=3,
    split_rule=PERMUTED,
    license="Apache-2.0",
    source="kvae.datasets",
    reference="this library",
    class_names=("sine", "square", "sawtooth"),
    dtype="float32",
)
def read_signals(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Draws waves of three forms, of random period, phase and height, with noise of 0.05."""
    from scipy.special import ndtri

    n, steps = sum(info.splits.values()), info.event_shape[0]
    bits = np.random.Philox(key=0).random_raw(n * (steps + 4)).reshape(n, steps + 4)
    uniform = (bits >> np.uint64(11)) * 2.0**-53 + 2.0**-54  # Inside (0, 1).
    form = np.minimum((uniform[:, 0] * 3).astype(np.int64), 2)
    cycles = 1.5 + 3.0 * uniform[:, 1]
    turns = cycles[:, None] * np.arange(steps) / steps + uniform[:, 2, None]
    sine = np.sin(2 * np.pi * turns)
    waves = np.stack([sine, np.sign(sine), 2 * (turns % 1) - 1])[form, np.arange(n)]
    noise = 0.05 * ndtri(uniform[:, 4:])
    x = (0.5 + 0.5 * uniform[:, 3, None]) * waves + noise
    return split_by_permutation(info, x.astype(np.float32)[..., None], form)


@register(
    "cut_signals",
    title="signals that end after 24 to 64 steps, with a gap of 4 to 12, synthetic",
    event_shape=(64, 1),
    train=5_000,
    validation=500,
    test=500,
    classes=3,
    split_rule=PERMUTED,
    license="Apache-2.0",
    source="kvae.datasets",
    reference="this library",
    class_names=("sine", "square", "sawtooth"),
    dtype="float32",
)
def read_cut_signals(info: DatasetInfo, folder: pathlib.Path | None) -> Splits:
    """Draws the signals of `signals`, with NaN in a gap of each, and after its end."""
    splits = read_signals(info, folder)
    bits = np.random.Philox(key=2).random_raw(3 * sum(info.splits.values())).reshape(-1, 3)
    steps, first, found = np.arange(info.event_shape[0]), 0, {}
    for split, (x, labels) in splits.items():
        own = (bits[first : first + len(x)] >> np.uint64(11)) * 2.0**-53
        length, gap = (24 + 41 * own[:, 0]).astype(int), (4 + 9 * own[:, 1]).astype(int)
        start = 4 + (own[:, 2] * (length - gap - 7)).astype(int)  # Four steps before it and after.
        after, end = steps >= start[:, None], steps < (start + gap)[:, None]
        there = (steps < length[:, None]) & ~(after & end)
        found[split] = np.where(there[..., None], x, np.float32(np.nan)), labels
        first += len(x)
    return found
