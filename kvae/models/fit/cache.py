"""The training functions of a model, by the form of what they train on."""

from kvae.datasets.batches import ordered_blocks
from kvae.datasets.dataset import Dataset
from kvae.models.fit.batch_blocks import BatchBlocks
from kvae.models.fit.blocks import Blocks
from kvae.models.fit.plan import Plan

__all__ = ["Cache"]


class Cache:
    """The training functions of a compiled model, so that the next `fit` need not trace them again.

    Attributes:
        present: `Blocks`, `BatchBlocks` or `None`. That of the `fit` that runs.
    """

    def __init__(self):
        self._made: dict = {}
        self.present: Blocks | BatchBlocks | None = None

    def begin(self, vae, data: Dataset, batch_size: int, plan: Plan, first_epoch, shuffle):
        """Makes the blocks of `data` the present ones; returns what `fit` iterates over."""
        batches = data.maker(shuffle, vae.conditional)
        stored = data.stored(batches)
        types = tuple((name, values.dtype.name) for name, values in stored.items())
        # Without XLA a graph takes any number of steps.
        steps = plan if plan.jit else plan.steps > 1
        key = batches, types, batch_size, steps, len(data) % batch_size == 0
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

    def begin_batches(self, vae, plan: Plan, steps: int | None) -> None:
        """Makes the blocks of data that come in batches the present ones; see `BatchBlocks`."""
        if plan not in self._made:
            self._made[plan] = BatchBlocks(vae, plan)
        self.present = self._made[plan]
        self.present.begin(steps)

    def end(self) -> None:
        """Drops the present blocks and their data."""
        self.present.end()
        self.present = None
