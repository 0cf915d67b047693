"""What is in a model's files, and how they are written."""

import os

from kvae import io

__all__ = ["Saving"]


class Saving:
    """The part of `kvae.VAE` that writes files: whole, or not at all."""

    def save(self, filepath, overwrite: bool = True, zipped: bool | None = None, **kwargs):
        """Saves the model as `keras.Model.save` does.

        A `.keras` file is written beside its place and renamed, after a look at whether the disk
        has room for it: what fails leaves an older file as it was.

        Raises:
            OSError: where there is no room, or no permission.
        """
        if zipped is False or not _is_replaced(filepath, ".keras", overwrite):
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        with io.atomic_weights(filepath, self._saved_variables()) as temporary:
            super().save(temporary, zipped=zipped, **kwargs)

    def save_weights(self, filepath, overwrite: bool = True, **kwargs):
        """Saves the weights as `keras.Model.save_weights` does; the file is written as by `save`.

        Raises:
            OSError: where there is no room, or no permission.
        """
        sharded = kwargs.get("max_shard_size") is not None
        if sharded or not _is_replaced(filepath, ".weights.h5", overwrite):
            super().save_weights(filepath, overwrite=overwrite, **kwargs)
            return
        with io.atomic_weights(filepath, self._saved_variables()) as temporary:
            super().save_weights(temporary, **kwargs)

    def save_own_variables(self, store):
        # Keras leaves the state of generators out; without it a resumed run repeats its noise.
        for name, state in self._seed_states().items():
            store[name] = state.numpy()

    def load_own_variables(self, store):
        for name, state in self._seed_states().items():
            if name in store.keys():
                state.assign(store[name])

    def _saved_variables(self) -> list:
        optimizer = getattr(self, "optimizer", None)
        return [*self.variables, *([] if optimizer is None else optimizer.variables)]

    def _seed_states(self) -> dict:
        """The states of the model's generator and of those of its networks (dropout), by name."""
        own = self.seed_generator.state
        others = (v for v in self.variables if v.name == own.name and v is not own)
        return {"seed_state": own, **{f"seed_state_{i}": v for i, v in enumerate(others, start=1)}}


def _is_replaced(path, suffix: str, overwrite: bool) -> bool:
    """Whether a path names a local file of this kind that nobody is to be asked about."""
    path = os.fspath(path)
    return path.endswith(suffix) and "://" not in path and (overwrite or not os.path.exists(path))
