"""Everything that kvae reads of Keras beyond its public interface, in one place.

Keras may change any of it from version to version. `make test` checks it on the version that
requirements.txt pins, `make keras-test` on the oldest one that pyproject.toml allows.
"""

import keras

__all__ = [
    "VALIDATION_IN_FIT",
    "BuiltOnce",
    "acts_on_batches",
    "adam_moments",
    "flat_layers",
    "require_compiled",
]

# `keras.Model.fit` passes this argument to `evaluate` when it validates.
VALIDATION_IN_FIT = "_use_cached_eval_dataset"

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def flat_layers(layer, include_self: bool = True) -> list:
    """Returns a layer or model and all layers inside it, at any depth.

    Args:
        layer: `keras.Layer`.
        include_self: bool. Whether it is itself among them, as the first. Defaults to `True`.
    """
    return list(layer._flatten_layers(include_self=include_self))


def require_compiled(model, method: str) -> None:
    """Raises Keras's error when `method` is called on a model that is not compiled."""
    model._assert_compile_called(method)


def acts_on_batches(callback) -> bool:
    """Checks whether a callback does anything between the steps of an epoch.

    Callbacks of Keras that override the hooks of batches and do nothing in them, as they are set
    up, do not count.

    Args:
        callback: `keras.callbacks.Callback`.
    """
    hooks = [hook for hook in _BATCH_HOOKS if _overrides(callback, hook, keras.callbacks.Callback)]
    # A subclass may have hooks of its own, beside those of the class of Keras.
    for kind, works in _batch_work().items():
        if isinstance(callback, kind) and not works(callback):
            hooks = [hook for hook in hooks if _overrides(callback, hook, kind)]
    return bool(hooks)


def _overrides(callback, hook: str, kind: type) -> bool:
    # LambdaCallback keeps its functions on the object.
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(kind, hook)


def _batch_work() -> dict:
    """Returns functions that tell whether the hooks of Keras's own classes do anything."""
    kinds = {
        keras.callbacks.History: lambda callback: False,
        keras.callbacks.ProgbarLogger: lambda callback: False,
        keras.callbacks.TensorBoard: _tensorboard_works,
    }
    # OrbaxCheckpoint is younger than Keras 3.12.
    for name in ("BackupAndRestore", "ModelCheckpoint", "OrbaxCheckpoint"):
        kind = getattr(keras.callbacks, name, None)
        if kind is not None:
            kinds[kind] = lambda callback: callback.save_freq != "epoch"
    return kinds


def _tensorboard_works(callback) -> bool:
    # Keras keeps what `profile_batch` came to, and not the argument. A version that keeps neither
    # is taken to profile: one step in each call is right in any case.
    return callback.update_freq != "epoch" or bool(getattr(callback, "_should_trace", True))


def adam_moments(optimizer, variable) -> tuple:
    """Returns the two `keras.Variable` that hold the moments of a variable.

    Args:
        optimizer: `keras.optimizers.Adam`, built.
        variable: `tf.Variable` or `keras.Variable` that the optimizer was built with.
    """
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


class BuiltOnce:
    """A `keras.Model` that Keras does not build a second time.

    Under a strategy Keras builds a model for the mean of the replicas' first batches, which fails
    where their sizes differ.
    """

    def _maybe_symbolic_build(self, *arguments, **options):
        if not self.built:
            super()._maybe_symbolic_build(*arguments, **options)
