"""Changes of a training that were tried and are no default; docs/PERFORMANCE.md has what they gave.

`python -m benchmarks variants` measures them beside the ways that `fit` knows.
"""

import os

import keras
import tensorflow as tf

from kvae import random
from kvae.likelihoods import bernoulli
from kvae.models.fit.hooks import Hooks

__all__ = ["HALVES", "ONE_THREAD", "PINNED", "SHARED_EXP", "begin", "callbacks"]

HALVES = "halves"  # The networks see the two halves of a batch, of which neither needs the other.
ONE_THREAD = "one thread"  # Each operation has one thread, and two operations run at once.
PINNED = "pinned"  # Each of the busiest threads has a core of its own.
SHARED_EXP = "shared exponential"  # Cross-entropy and gradient share their exponentials.

_BUSIEST = 6


def begin(names: tuple[str, ...]) -> None:
    """Makes the changes that have to be made before TensorFlow is used."""
    if ONE_THREAD in names:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(2)
    if HALVES in names:
        Hooks.terms_of_the_step = _of_halves(Hooks.terms_of_the_step)
    if SHARED_EXP in names:
        bernoulli._log_prob = _log_prob


def callbacks(names: tuple[str, ...]) -> list:
    """Returns what makes the changes that follow the first epochs."""
    return [_Pin()] if PINNED in names else []


def _of_halves(whole):
    def terms(self, x, label, target, weight, *, training, seed):
        half, found = (x.shape[0] or tf.shape(x)[0]) // 2, []
        for number, rows in enumerate((slice(None, half), slice(half, None))):
            own = random.fold_in(seed, number)
            part = (None if one is None else one[rows] for one in (x, label, target, weight))
            found.append(whole(self, *part, training=training, seed=own))
        return {name: tf.concat([part[name] for part in found], 0) for name in found[0]}

    return terms


def _log_prob(logits, x):
    most = tf.stop_gradient(tf.maximum(logits, 0.0))
    return x * logits - most - tf.math.log(tf.exp(-most) + tf.exp(logits - most))


class _Pin(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:  # The threads that are busy are known then.
            threads = sorted(map(int, os.listdir("/proc/self/task")), key=_ticks)[-_BUSIEST:]
            cores = sorted(os.sched_getaffinity(0))
            for place, thread in enumerate(reversed(threads)):
                os.sched_setaffinity(thread, {cores[place % len(cores)]})


def _ticks(thread: int) -> int:
    with open(f"/proc/self/task/{thread}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
