"""The files of a model: their contents, and how they are written."""

import os

import keras

from kvae.models.inputs import require_built
from kvae.models.labels import label_spec
from kvae.utils import io

__all__ = ["Saving", "seed_states"]


class Saving:
    """The methods of `kvae.VAE` that write files, each of them whole or not at all."""

    def save(self, filepath, overwrite: bool = True, zipped: bool | None = None, **kwargs) -> None:
        """Saves the model as `keras.Model.save` does.

        A `.keras` file is written beside its place and renamed, after a look at whether the disk
        has room for it: what fails leaves an older file as it was.

        Raises:
            OSError: where there is no room, or no permission.
            ValueError: for a name that does not end in `.keras`: Keras's older HDF5 format cannot
                hold a model of several parts.
        """
        path = os.fspath(filepath)
        if zipped is not False and "://" not in path and not path.endswith(".keras"):
            raise ValueError(
                f"A kvae.VAE is saved as a .keras file, not as {path}. Weights alone are saved by "
                "save_weights('….weights.h5'), and SavedModel, TFLite and ONNX files are made by "
                "the package `export`."
            )
        if zipped is False or not _is_replaced(filepath, ".keras", overwrite):
            super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        with io.atomic_weights(filepath, self._saved_variables()) as temporary:
            super().save(temporary, zipped=zipped, **kwargs)

    def save_weights(self, filepath, overwrite: bool = True, **kwargs) -> None:
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

    def export(
        self, filepath, format: str = "tf_saved_model", *, input_signature=None, **kwargs
    ) -> None:
        """Exports the forward pass as `keras.Model.export` does: x to the mean of p(x|z).

        The package `export` writes files with all that a model can do; see `export.saved_model`.

        Args:
            filepath: str or path.
            format, input_signature, **kwargs: those of Keras. The signature defaults to batches of
                any size, of a conditional model to pairs of them and labels.

        Raises:
            ValueError: for a model that is not built yet.
        """
        require_built(self)
        if input_signature is None:
            x = keras.InputSpec(shape=(None, *self.event_shape), dtype="float32", name="image")
            label = label_spec(self)
            label = keras.InputSpec(shape=label.shape, dtype=label.dtype.name, name="label")
            input_signature = [(x, label) if self.conditional else x]
            # Training calls the parts and never the model, which Keras asks for.
            self(keras.tree.map_structure(_one_row, input_signature[0]))
        super().export(filepath, format=format, input_signature=input_signature, **kwargs)

    def save_own_variables(self, store):
        # Keras leaves the state of generators out; without it a resumed run repeats its noise.
        for name, state in seed_states(self).items():
            store[name] = state.numpy()

    def load_own_variables(self, store):
        for name, state in seed_states(self).items():
            if name in store.keys():
                state.assign(store[name])
        self.weights_are_known = True

    def _saved_variables(self) -> list:
        optimizer = getattr(self, "optimizer", None)
        return [*self.variables, *([] if optimizer is None else optimizer.variables)]


def seed_states(model) -> dict:
    """Returns the states of the model's seed generator and of its networks' (dropout), by name."""
    own = model.seed_generator.state
    others = (v for v in model.variables if v.name == own.name and v is not own)
    return {"seed_state": own, **{f"seed_state_{i}": v for i, v in enumerate(others, start=1)}}


def _one_row(spec):
    return keras.ops.zeros((1, *spec.shape[1:]), spec.dtype)


def _is_replaced(path, suffix: str, overwrite: bool) -> bool:
    """Checks whether a path names a local file of this kind that may be replaced without asking."""
    path = os.fspath(path)
    return path.endswith(suffix) and "://" not in path and (overwrite or not os.path.exists(path))
