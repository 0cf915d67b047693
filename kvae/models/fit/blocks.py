"""Blocks of steps, which `kvae.VAE.fit` runs in one call into the runtime where it can."""

import tensorflow as tf

from kvae.datasets.batches import Batches, ordered_blocks
from kvae.datasets.dataset import Dataset
from kvae.models.fit import fused_adam
from kvae.models.fit.plan import Plan

__all__ = ["Blocks", "Cache"]

_XLA_FAILURES = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.InternalError,
    tf.errors.NotFoundError,
)


class Cache:
    """The training functions of a compiled model, so that the next `fit` need not trace them again.

    Attributes:
        present: `Blocks` or `None`. That of the `fit` that runs.
    """

    def __init__(self):
        self._made: dict = {}
        self.present: Blocks | None = None

    def begin(self, vae, data: Dataset, batch_size: int, plan: Plan, first_epoch, shuffle):
        """Makes the blocks of `data` the present ones; returns what `fit` iterates over."""
        batches = data.maker(shuffle, vae.conditional)
        stored = data.stored(batches)
        types = tuple((name, values.dtype.name) for name, values in stored.items())
        key = batches, types, batch_size, plan, len(data) % batch_size == 0
        if key not in self._made:
            self._made[key] = Blocks(vae, batches, stored, batch_size, plan)
        self.present = self._made[key]
        self.present.stored = stored
        return ordered_blocks(
            len(data),
            batch_size,
            plan.steps,
            seed=data.seed,
            shuffle=shuffle,
            first_epoch=first_epoch,
        )

    def end(self) -> None:
        """Drops the present blocks and their data."""
        self.present.stored = None
        self.present = None


class Blocks:
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
        self._vae, self._batches, self._batch_size = vae, batches, batch_size
        self._plan, self.stored = plan, stored
        self._whole = len(stored["x"]) % batch_size == 0  # True without a smaller last batch.
        rows, seed, number = (tf.TensorSpec(shape, tf.int32) for shape in ([None], [2], []))
        examples = {
            name: tf.TensorSpec([None, *values.shape[1:]], values.dtype)
            for name, values in stored.items()
        }
        options = {"input_signature": (examples, rows, seed, number), "autograph": False}
        self._steps = self._many
        if plan.jit:
            self._steps = tf.function(self._many, jit_compile=True, autograph=False)
        self._block = tf.function(self._run, **options)
        self._single = tf.function(self._step_by_step, **options)
        self._works = not plan.jit

    def __call__(self, iterator):
        rows, epoch_seed, first = next(iterator)
        block = self.stored, rows, epoch_seed, first
        if self._block is None:
            return self._one_by_one(*block)
        try:
            logs = self._block(*block)
        except _XLA_FAILURES:
            if self._works:
                raise
            # XLA refuses some operations. It does so before it runs anything.
            self._block = None
            return self._one_by_one(*block)
        self._works = True
        return logs

    def _run(self, stored, rows, epoch_seed, first):
        size = self._batch_size
        full = tf.size(rows) // size
        block = self._batches.gather(stored, self._filled(rows, full))
        sums = self._steps(block, full, epoch_seed, first)
        if self._whole:
            return self._logs(sums)
        left = rows[full * size :]  # The last batch of an epoch.
        more = tf.cond(
            tf.size(left) > 0,
            lambda: self._step(self._batches.gather(stored, left), epoch_seed, first + full),
            lambda: tf.zeros_like(sums),
        )
        return self._logs(sums + more)

    def _filled(self, rows, full):
        """Returns the rows of whole batches; under XLA they are padded to a fixed number."""
        size = self._batch_size
        rows = rows[: full * size]
        if not self._plan.jit:
            return rows
        rows = tf.pad(rows, [[0, self._plan.steps * size - tf.size(rows)]])
        return tf.ensure_shape(rows, (self._plan.steps * size,))

    def _many(self, block, count, epoch_seed, first):
        size = self._batch_size

        def part(values, step):
            begin = [step * size, *[0] * (values.shape.rank - 1)]
            return tf.slice(values, begin, [size, *values.shape[1:]])

        def body(step, sums):
            batch = {name: part(values, step) for name, values in block.items()}
            return step + 1, sums + self._step(batch, epoch_seed, first + step)

        return tf.while_loop(
            lambda step, sums: step < count, body, [0, self._zeros()], parallel_iterations=1
        )[1]

    def _step(self, gathered, epoch_seed, number):
        """One step of the optimizer; returns the weighted sums of what is reported, and of 1."""
        vae = self._vae
        data = self._batches.make(gathered, epoch_seed, number)
        # XLA fuses the update by itself.
        with fused_adam.adam(None if self._plan.jit else vae.optimizer), vae.guard.off():
            terms, weight = vae.optimize(data)
        reported = [terms[name] for name in vae.metric_trackers]
        if weight is None:
            count = tf.cast(tf.shape(gathered["x"])[0], tf.float32)
            return tf.stack([*map(tf.reduce_sum, reported), count])
        return tf.stack([tf.reduce_sum(weight * values) for values in [*reported, 1.0]])

    def _zeros(self):
        return tf.zeros([len(self._vae.metric_trackers) + 1])

    def _logs(self, sums):
        *totals, count = tf.unstack(sums)
        trackers = self._vae.metric_trackers
        for total, tracker in zip(totals, trackers.values(), strict=True):
            tracker.total.assign_add(total)
            tracker.count.assign_add(count)
        return {**self._vae.results(), **self._vae.report()}

    def _step_by_step(self, stored, rows, epoch_seed, number):
        sums = self._step(self._batches.gather(stored, rows), epoch_seed, number)
        return self._logs(sums)

    def _one_by_one(self, stored, rows, epoch_seed, first):
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            logs = self._single(stored, batch, epoch_seed, first)
            first += 1
        return logs
