"""What a model is given: checked, built for, and turned into what Keras trains on."""

import keras
import numpy as np
import tensorflow as tf

from kvae.datasets.dataset import Dataset

__all__ = ["Inputs", "in_batches", "is_concrete"]

_NO_LABELS = (
    "Labels are not a target: leave them out, e.g. fit(x) or dataset.map(lambda x, label: x)."
)


class Inputs:
    """The part of `kvae.VAE` that takes data in: arrays, datasets, batches, latents."""

    def _build_for(self, shape) -> None:
        """Builds a model whose encoder has no `keras.Input`, for the first data that it sees."""
        if not self.built and shape is not None:
            with self.distribute_strategy.scope():
                self.build(tuple(shape))

    def _unpack(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x = tf.convert_to_tensor(x)
        target = x if y is None else tf.convert_to_tensor(y)
        self._build_for(x.shape)
        for name, value in (("x", x), ("y", target)):
            if not value.shape[1:].is_compatible_with(self.event_shape):
                hint = f" {_NO_LABELS}" if name == "y" else ""
                raise ValueError(
                    f"`{name}` has shape {tuple(value.shape)}, the model takes "
                    f"{(None, *self.event_shape)}.{hint}"
                )
        if weight is not None:
            weight = tf.reshape(tf.cast(weight, tf.float32), (-1,))
        return x, target, weight

    def _prepare(self, x, y, in_memory: bool):
        """Checks what can be checked; arrays become a `Dataset` when `in_memory`."""
        if isinstance(x, Dataset):
            if y is not None:
                raise ValueError("Give a target as Dataset(..., target=y), not as `y`.")
            self._build_for(x.x.shape)
            target = x.x if x.target is None else x.target
            self._check_events(x.x, "x", support=False, values=x.x.dtype != np.uint8)
            self._check_events(target, "x", values=target.dtype != np.uint8)
        elif is_concrete(x):
            x = self._check_events(np.asarray(x), "x", support=y is None)
            self._build_for(x.shape)
            if y is not None:
                y = self._check_events(np.asarray(y), "y")
            if in_memory:
                x, y = Dataset(x, target=y, seed=self.seed), None
        elif isinstance(x, tf.data.Dataset):
            for batch in x.take(1):
                self._check_batch(batch)
        elif isinstance(x, keras.utils.PyDataset):
            self._check_batch(x[0])
        return x, y

    def _prepare_validation(self, data, batch_size: int):
        if isinstance(data, Dataset):
            self._prepare(data, None, in_memory=True)
            return data.batches(batch_size)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = self._prepare(x, y, in_memory=weight is None)
        if isinstance(x, Dataset):
            return x.batches(batch_size)
        if isinstance(x, np.ndarray):
            return x, x if y is None else y, weight
        return data

    def _split(self, x, y, weight, fraction):
        """Takes the last `fraction` of the rows for validation, as Keras does."""
        if not isinstance(x, Dataset) and not is_concrete(x):
            raise ValueError("`validation_split` needs arrays; give `validation_data` instead.")
        cut = int(len(x) * (1.0 - fraction))
        if not 0 < cut < len(x):
            raise ValueError(f"validation_split={fraction} leaves nothing to train or to validate.")
        rest = [None if value is None else value[cut:] for value in (y, weight)]
        first = [None if value is None else value[:cut] for value in (y, weight)]
        held_out = x[cut:] if isinstance(x, Dataset) else (x[cut:], *rest)
        return x[:cut], *first, held_out

    def _check_batch(self, batch) -> None:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            self._build_for(x.shape)
            self._check_events(np.asarray(x), "x")

    def _check_events(self, x, name: str, support: bool = True, values: bool = True) -> np.ndarray:
        if self.event_shape is not None and x.shape[1:] != self.event_shape:
            hint = ""
            if (*x.shape[1:], 1) == self.event_shape:
                hint = " Add the channel axis: x[..., None]."
            elif x.shape == self.event_shape:
                hint = " Add the batch axis: x[None]."
            elif name == "y":
                hint = f" {_NO_LABELS}"
            raise ValueError(
                f"`{name}` has shape {x.shape}, the model takes (n, "
                f"{', '.join(map(str, self.event_shape))}).{hint}"
            )
        if values:
            self.likelihood.check(x, name, support=support)
        return x if x.dtype == np.uint8 and not values else x.astype(np.float32, copy=False)

    def _events(self, x):
        self._require_built()
        if isinstance(x, Dataset):
            x = x.images
        if is_concrete(x):
            return tf.constant(self._check_events(np.asarray(x), "x", support=False))
        return tf.cast(x, tf.float32)

    def _latents(self, z):
        self._require_built()
        if not is_concrete(z):
            return tf.cast(z, tf.float32)
        z = np.asarray(z)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ValueError(f"`z` has shape {z.shape}, the model takes (n, {self.latent_dim}).")
        self.likelihood.check(z, "z", support=False)
        return tf.constant(z, tf.float32)

    def _require_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"{self.name} is not built yet: give the encoder a keras.Input, or call the model "
                "or `fit` once."
            )


def is_concrete(x) -> bool:
    """Whether `x` holds values now: an array, a list, or an eager tensor."""
    if isinstance(x, (list, np.ndarray)):
        return True
    return tf.is_tensor(x) and not tf.is_symbolic_tensor(x)


def in_batches(function, tensor, batch_size: int):
    """Applies `function` to slices of `tensor` and concatenates; to a symbolic tensor at once."""
    if tf.is_symbolic_tensor(tensor) or len(tensor) <= batch_size:
        return function(tensor)
    results = [
        function(tensor[start : start + batch_size]) for start in range(0, len(tensor), batch_size)
    ]
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *results)
