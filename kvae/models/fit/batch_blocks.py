"""Blocks of steps on data that come in batches: `tf.data`, generators, `PyDataset` and streams."""

import dataclasses
import math

import tensorflow as tf

from kvae.models.fit.blocks import XLA_FAILURES, Loop, step_sums, updated_logs
from kvae.models.fit.plan import MOST_BYTES, Plan

__all__ = ["BatchBlocks"]


class BatchBlocks:
    """A training function of Keras's form, for `Plan.steps` steps on the batches of an iterator.

    Batches of one form are joined, checked together and run in one call. Others, such as a smaller
    one at the end of an epoch, run one by one. A batch with values that do not fit ends the
    training after the steps before it.

    Args:
        vae: `kvae.VAE`, compiled.
        plan: `Plan`.
    """

    def __init__(self, vae, plan: Plan):
        self._vae, self._plan = vae, plan
        self._made: dict = {}
        self._singles: dict = {}
        self.begin(None)

    def begin(self, steps: int | None) -> None:
        """Starts a training; `steps` are those of an epoch, `None` where the iterator ends it."""
        self._steps, self._taken = steps, 0
        self._block: _Block | None = None  # Of batches like the first one.

    def end(self) -> None:
        """Ends a training. Nothing of its data has been kept."""

    def __call__(self, iterator):
        left, logs = self._plan.steps, None
        if self._steps is not None:
            left = min(left, self._steps - self._taken % self._steps)
        while left:
            batches, error = self._next(iterator, left)
            if batches:
                logs = self._run(batches)
            left -= len(batches)
            self._taken += len(batches)
            if isinstance(error, StopIteration) and logs is not None:
                break  # The next call ends the epoch.
            if error is not None:
                raise error
        return logs

    def _next(self, iterator, left: int) -> tuple[list, Exception | None]:
        """Returns the batches of a block, and the error that came in place of the next one."""
        batches: list = []
        try:
            while not batches or len(batches) < min(left, self._most()):
                batches.append(tf.nest.map_structure(_or_none, next(iterator)))
                if self._block is None:
                    self._block = self._block_of(batches[0])
        except Exception as error:  # After the steps on the batches before it.
            return batches, error
        return batches, None

    def _most(self) -> int:
        return self._block.most if self._taken >= self._plan.alone else 1

    def _block_of(self, batch) -> "_Block":
        form = _form(batch)
        if form not in self._made:
            self._made[form] = _Block(self._vae, batch, self._plan)
        return self._made[form]

    def _run(self, batches: list):
        """Takes the steps on batches, in their order."""
        logs, taken = self._block(batches) if self._most() > 1 else (None, 0)
        for batch in batches[taken:]:
            logs = self._single(batch)
        return logs

    def _single(self, batch):
        """Takes a step on a batch, which the step checks before it learns anything from it."""
        form = _form(batch)
        kind = None if form is None else form[0]
        if kind not in self._singles:
            if kind is None:
                step = tf.function(self._one, autograph=False, reduce_retracing=True)
            else:
                pack = _packer(batch)
                step = _function(lambda parts: self._one(pack(parts)), _present(batch), None)
            self._singles[kind] = self._vae.guard.watched(step)
        return self._singles[kind](batch if kind is None else _present(batch))

    def _one(self, batch):
        return updated_logs(self._vae, step_sums(self._vae, batch, fused=True))


class _Block(Loop):
    """The steps on batches of one form in one graph.

    Args:
        vae: `kvae.VAE`, compiled.
        like: a batch of this form.
        plan: `Plan`.

    Attributes:
        most: int. The most batches of a call.
    """

    def __init__(self, vae, like, plan: Plan):
        self._form, self.most = _form(like), 1
        if self._form is None:
            return
        self._pack, parts = _packer(like), _present(like)
        bytes_each = sum(part.shape.num_elements() * part.dtype.size for part in parts)
        calls = math.ceil(plan.steps / max(1, MOST_BYTES // max(1, bytes_each)))
        self.most = math.ceil(plan.steps / calls)
        size = parts[0].shape[0]
        super().__init__(vae, size, dataclasses.replace(plan, steps=self.most))
        rows = self.most * size if plan.jit else None
        self._call = _function(self._steps_of, parts, rows, tf.TensorSpec([], tf.int32))
        self._fits = _function(self._all_fit, parts, None)
        self._works = not plan.jit

    def __call__(self, batches: list) -> tuple:
        """Takes the steps on the first batches, as far as they are of this form and fit.

        Returns:
            `(logs, taken)`, the logs and the number of steps.
        """
        count = 0
        while count < len(batches) and _form(batches[count]) == self._form:
            count += 1
        if not count:
            return None, 0
        joined = self._joined(batches[:count])
        if not self._fits(joined):
            fit = (bool(self._fits(_present(batch))) for batch in batches[:count])
            count = next(place for place, fits in enumerate(fit) if not fits)
            if not count:
                return None, 0
            joined = self._joined(batches[:count])
        try:
            logs = self._call(joined, count)
        except XLA_FAILURES:
            if self._works:
                raise
            self.most = 1  # XLA refuses some operations. It does so before it runs anything.
            return None, 0
        self._works = True
        return logs, count

    def _joined(self, batches: list) -> list:
        """Returns the rows of batches; XLA takes a fixed number, and the last batch fills it up."""
        if self._plan.jit:
            batches = batches + [batches[-1]] * (self.most - len(batches))
        return [tf.concat(parts, 0) for parts in zip(*map(_present, batches), strict=True)]

    def _steps_of(self, parts, count):
        sums = self._steps(dict(enumerate(parts)), count, tf.zeros([2], tf.int32), 0)
        return updated_logs(self._vae, sums)

    def _all_fit(self, parts):
        return self._vae.batch_fits(self._pack(parts))

    def _batch(self, gathered, *_):
        return self._pack([gathered[place] for place in range(len(gathered))])


def _or_none(leaf):
    """Returns a part of a batch; Keras has an empty `Optional` in place of `None`."""
    return None if isinstance(leaf, tf.experimental.Optional) else leaf


def _present(batch) -> list:
    return [leaf for leaf in tf.nest.flatten(batch) if leaf is not None]


def _packer(like):
    """Returns a function that makes of parts a batch like this one."""
    structure = tf.nest.map_structure(lambda leaf: None, like)
    there = [leaf is not None for leaf in tf.nest.flatten(like)]

    def pack(parts):
        left = iter(parts)
        return tf.nest.pack_sequence_as(structure, [next(left) if t else None for t in there])

    return pack


def _form(batch) -> tuple | None:
    """Returns what kind of batch this is, and its size; `None` where it makes no block.

    Batches of one kind have parts of the same shapes and types, but for their size.
    """
    found, sizes = [], set()
    for leaf in tf.nest.flatten(batch):
        if leaf is not None and not (isinstance(leaf, tf.Tensor) and leaf.shape.rank):
            return None
        found.append(None if leaf is None else (tuple(leaf.shape[1:]), leaf.dtype.name))
        sizes |= set() if leaf is None else {leaf.shape[0]}
    structure = str(tf.nest.map_structure(lambda leaf: None, batch))
    return ((structure, *found), *sizes) if len(sizes) == 1 and sizes != {0} else None


def _function(method, parts, rows: int | None, *more):
    """Makes a function of so many rows of parts like these."""
    specs = [tf.TensorSpec([rows, *part.shape[1:]], part.dtype) for part in parts]
    return tf.function(method, input_signature=(specs, *more), autograph=False)
