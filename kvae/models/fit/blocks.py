"""Blocks of steps, which `kvae.VAE.fit` runs in one call into the runtime where it can."""

import tensorflow as tf

from kvae.datasets.batches import Batches
from kvae.models.fit import fused_adam
from kvae.models.fit.plan import Plan

__all__ = ["XLA_FAILURES", "Blocks", "Loop", "step_sums", "updated_logs"]

XLA_FAILURES = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
)


def step_sums(vae, data, fused: bool):
    """Takes one step of the optimizer; returns the weighted sums of what is reported, and of 1.

    Each name has two numbers: the sum of its values, and that of their weights.

    Args:
        vae: `kvae.VAE`, compiled.
        data: a batch, see `kvae.VAE.optimize`.
        fused: bool. Whether Adam's update is one operation for each variable.
    """
    with fused_adam.adam(vae.optimizer if fused else None):
        terms, weight = vae.optimize(data)
    size = tf.cast(tf.size(terms["loss"]), tf.float32)
    sums, counts = [], []
    for name in vae.metric_trackers:
        own = vae.metric_weight(name, terms, weight)
        sums.append(tf.reduce_sum(terms[name] if own is None else own * terms[name]))
        counts.append(size if own is None else tf.reduce_sum(own))
    return tf.stack([*sums, *counts])


def updated_logs(vae, sums):
    """Adds to the metrics the sums of steps, and returns the logs so far."""
    totals, counts = (tf.unstack(half) for half in tf.split(sums, 2))
    for total, count, tracker in zip(totals, counts, vae.metric_trackers.values(), strict=True):
        tracker.total.assign_add(total)
        tracker.count.assign_add(count)
    return {**vae.results(), **vae.report()}


class Loop:
    """A loop over the steps of a block in one graph, which updates the metrics once.

    Args:
        vae: `kvae.VAE`, compiled.
        batch_size: int.
        plan: `Plan`.
    """

    def __init__(self, vae, batch_size: int, plan: Plan):
        self._vae, self._batch_size = vae, batch_size
        self._plan, self._steps = plan, self._many
        if plan.jit:
            self._steps = tf.function(self._many, jit_compile=True, autograph=False)

    def _many(self, block, count, epoch_seed, first):
        """Takes `count` steps on rows that have been gathered."""
        size = self._batch_size

        def part(values, step):
            begin = [step * size, *[0] * (values.shape.rank - 1)]
            return tf.slice(values, begin, [size, *values.shape[1:]])

        def batch(step):
            return {name: part(values, step) for name, values in block.items()}

        return self._loop(batch, count, epoch_seed, first)

    def _loop(self, batch, count, epoch_seed, first):
        def body(step, sums):
            return step + 1, sums + self._step(batch(step), epoch_seed, first + step)

        return tf.while_loop(
            lambda step, sums: step < count, body, [0, self._zeros()], parallel_iterations=1
        )[1]

    def _step(self, gathered, epoch_seed, number):
        """One step of the optimizer on checked rows; see `step_sums`."""
        data = self._batch(gathered, epoch_seed, number)
        with self._vae.guard.off():
            return step_sums(self._vae, data, fused=not self._plan.jit)  # XLA fuses by itself.

    def _batch(self, gathered: dict, epoch_seed, number):
        """Returns the batch of gathered rows, as models take it."""
        raise NotImplementedError

    def _zeros(self):
        return tf.zeros([2 * len(self._vae.metric_trackers)])


class Blocks(Loop):
    """A training function of Keras's form, for `Plan.steps` steps over data in memory.

    The data stay on the device as they are stored; an element of `dataset` names the rows of a
    block. Gathering, scaling, binarization, noise and the steps are one graph, and the metrics are
    updated once for each block. The batches, their order and the noise are those of
    `Dataset.batches`, so the weights are those of one step at a time but for rounding.

    Args:
        vae: `kvae.VAE`, compiled.
        batches: `kvae.datasets.batches.Batches`. How rows become a batch.
        stored: dict of tensors `[n, ...]`. The examples; others of their kind may take their place.
        batch_size: int.
        plan: `Plan`.
    """

    def __init__(self, vae, batches: Batches, stored: dict, batch_size: int, plan: Plan):
        super().__init__(vae, batch_size, plan)
        self._batches, self.stored = batches, stored
        self._whole = len(stored["x"]) % batch_size == 0  # True without a smaller last batch.
        rows, seed, number = (tf.TensorSpec(shape, tf.int32) for shape in ([None], [2], []))
        examples = {
            name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
            for name, values in stored.items()
        }
        options = {"input_signature": (examples, rows, seed, number), "autograph": False}
        several = plan.jit or plan.steps > 1
        self._block = tf.function(self._run, **options) if several else None
        self._single = tf.function(self._step_by_step, **options)
        self._works = not plan.jit

    def __call__(self, iterator):
        rows, epoch_seed, first = next(iterator)
        block = self.stored, rows, epoch_seed, first
        if self._plan.steps == 1 and self._block is None:
            return self._single(*block)
        if self._block is None:
            return self._one_by_one(*block)
        try:
            logs = self._block(*block)
        except XLA_FAILURES:
            if self._works:
                raise
            # XLA refuses some operations. It does so before it runs anything.
            self._block = None
            return self._one_by_one(*block)
        self._works = True
        return logs

    def end(self) -> None:
        """Drops the data at the end of a training."""
        self.stored = None

    def _batch(self, gathered: dict, epoch_seed, number):
        return self._batches.make(gathered, epoch_seed, number)

    def _run(self, stored, rows, epoch_seed, first):
        run = self._under_xla if self._plan.jit else self._in_turn
        return updated_logs(self._vae, run(stored, rows, epoch_seed, first))

    def _in_turn(self, stored, rows, epoch_seed, first):
        """Takes a step on each batch, the smaller one at the end of an epoch among them."""
        n, size = tf.size(rows), self._batch_size

        def batch(step):
            some = rows[step * size : tf.minimum((step + 1) * size, n)]
            if self._whole:
                some = tf.ensure_shape(some, (size,))
            return self._batches.gather(stored, some)

        return self._loop(batch, (n + size - 1) // size, epoch_seed, first)

    def _under_xla(self, stored, rows, epoch_seed, first):
        """As above, with shapes that are fixed: the smaller batch has a graph of its own."""
        size = self._batch_size
        full = tf.size(rows) // size
        padded = tf.pad(rows[: full * size], [[0, (self._plan.steps - full) * size]])
        padded = tf.ensure_shape(padded, (self._plan.steps * size,))
        sums = self._steps(self._batches.gather(stored, padded), full, epoch_seed, first)
        if self._whole:
            return sums
        left = rows[full * size :]
        return sums + tf.cond(
            tf.size(left) > 0,
            lambda: self._step(self._batches.gather(stored, left), epoch_seed, first + full),
            lambda: tf.zeros_like(sums),
        )

    def _step_by_step(self, stored, rows, epoch_seed, number):
        sums = self._step(self._batches.gather(stored, rows), epoch_seed, number)
        return updated_logs(self._vae, sums)

    def _one_by_one(self, stored, rows, epoch_seed, first):
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            logs = self._single(stored, batch, epoch_seed, first)
            first += 1
        return logs
