"""Everything that kvae reads of Keras beyond its public interface, in one place.

Keras may change any of it from version to version. `make test` checks it on the version that
requirements.txt pins, `make keras-test` on the oldest one that pyproject.toml allows.
"""

import keras
from keras.src import backend
from keras.src.models.functional import Functional, operation_fn
from keras.src.utils import rng_utils

from kvae.utils import loggers

__all__ = [
    "VALIDATION_IN_FIT",
    "KerasHooks",
    "adam_moments",
    "build_optimizer_for",
    "call_on_copies",
    "compute_loss",
    "first_epoch",
    "flat_layers",
    "global_seed",
    "is_functional",
    "learning_rate_schedule",
    "metrics_of_layers",
    "require_compiled",
    "set_step_mask",
    "set_trainable",
    "steps_between",
    "takes_step_mask",
    "unseeded_layers",
]

# `keras.Model.fit` passes this argument to `evaluate` when it validates.
VALIDATION_IN_FIT = "_use_cached_eval_dataset"

# Their `save_freq` is right with several steps in a call as well, where calls end at these steps.
_COUNTS_STEPS = (keras.callbacks.BackupAndRestore, keras.callbacks.ModelCheckpoint)
_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def flat_layers(layer, include_self: bool = True) -> list:
    """Returns a layer or model and all layers inside it, at any depth.

    Args:
        layer: `keras.Layer`.
        include_self: bool. Whether it is itself among them, as the first. Defaults to `True`.
    """
    return list(layer._flatten_layers(include_self=include_self))


def set_trainable(layer, value: bool) -> None:
    """Sets `trainable` of a layer and of all layers inside it.

    Keras passes over an assignment of the value that a layer has already, although layers inside
    may have been made since, or have another.
    """
    layer.trainable = not value
    layer.trainable = value


def set_step_mask(x, mask) -> None:
    """Attaches Keras's mask to a tensor: layers skip the steps where it is False.

    Args:
        x: tensor `[batch, steps, ...]`.
        mask: bool tensor `[batch, steps]`.
    """
    backend.set_keras_mask(x, mask)


def takes_step_mask(network) -> bool:
    """Returns whether a layer inside a network leaves out what Keras's mask says.

    Such a network will take the mask without Keras's warning that its outputs, which have no steps,
    lose it.
    """
    kinds = (
        keras.layers.RNN,
        keras.layers.Bidirectional,
        keras.layers.GlobalAveragePooling1D,
        keras.layers.Attention,
        keras.layers.MultiHeadAttention,
    )
    found = any(isinstance(layer, kinds) for layer in flat_layers(network))
    if found and isinstance(network, keras.Model):
        network.supports_masking, network.compute_mask = True, _no_mask
    return found


def _no_mask(inputs, mask) -> None:
    """Does what `keras.Layer.compute_mask` does for outputs without a mask."""


def require_compiled(model, method: str) -> None:
    """Raises Keras's error when `method` is called on a model that is not compiled."""
    model._assert_compile_called(method)


def compute_loss(model, **arguments):
    """Calls `compute_loss`, without `training` where a subclass's method does not take it."""
    return model._compute_loss(**arguments)


def global_seed() -> int | None:
    """Returns the seed that `keras.utils.set_random_seed` was given, or `None` without one."""
    return rng_utils.get_random_seed()


def learning_rate_schedule(optimizer):
    """Returns the schedule of an optimizer's learning rate, or the rate where it has none.

    `optimizer.learning_rate` is the rate of the present step.

    Args:
        optimizer: `keras.Optimizer`.
    """
    return optimizer._learning_rate


def metrics_of_layers(model) -> list:
    """Returns the metrics that a model and its layers have as attributes.

    `Layer.metrics` would add those that a network has been compiled with for a training of its own.
    """
    return [metric for layer in flat_layers(model) for metric in layer._metrics]


def unseeded_layers(model) -> list:
    """Returns the layers with an initializer that draws weights and was given no seed."""
    return [
        layer
        for layer in flat_layers(model)
        if any(
            isinstance(value, keras.initializers.Initializer)
            and getattr(value, "_init_seed", 0) is None
            for value in vars(layer).values()
        )
    ]


def steps_between(callback) -> int | None:
    """Returns after how many steps of an epoch a callback acts each time; `None` for never.

    Callbacks of Keras, MLflow and Weights & Biases that override the hooks of batches and do
    nothing in them, as they are set up, do not count. Those that save a model every n steps count
    the steps of a call.

    Args:
        callback: `keras.callbacks.Callback`.
    """
    hooks = [hook for hook in _BATCH_HOOKS if _overrides(callback, hook, keras.callbacks.Callback)]
    every = 1
    # A subclass may have hooks of its own, beside those of the class of Keras.
    for kind, works in _batch_work().items():
        if isinstance(callback, kind):
            own = [hook for hook in hooks if _overrides(callback, hook, kind)]
            if not works(callback):
                hooks = own
            elif not own and kind in _COUNTS_STEPS:
                every = int(callback.save_freq)
    return every if hooks else None


def _overrides(callback, hook: str, kind: type) -> bool:
    # LambdaCallback keeps its functions on the object.
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(kind, hook)


def _batch_work() -> dict:
    """Returns functions that tell whether the hooks of known classes do anything."""
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
    return kinds | loggers.at_steps()


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


def first_epoch(model, callbacks, initial_epoch: int) -> int:
    """Returns the epoch that `fit` begins with, and puts back what `BackupAndRestore` has kept.

    Keras restores a backup after it has made its iterator over the data, whose order depends on
    the epoch; to restore it before does no harm.

    Args:
        model: `keras.Model`, compiled.
        callbacks: list of those given to `fit`.
        initial_epoch: int. What `fit` was given.
    """
    model._initial_epoch = None  # Of a backup that an earlier `fit` restored.
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            callback.set_model(model)
            callback.on_train_begin()
    return model._initial_epoch or initial_epoch


def build_optimizer_for(optimizer, variables: list) -> None:
    """Builds an optimizer for these variables, or anew where it was built for others.

    What it has gathered of those that it knew stays, such as their moments, and so do its step and
    its learning rate. Others start as they do at the first step. Its object stays the same.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        variables: list of `keras.Variable`.
    """
    if not optimizer.built:
        optimizer.build(variables)
        return
    if _keys(optimizer, variables) == _keys(optimizer, optimizer._trainable_variables):
        return
    inner = getattr(optimizer, "inner_optimizer", None)  # Of a LossScaleOptimizer.
    parts = [optimizer] if inner is None else [optimizer, inner]
    states = [_unbuilt(part) for part in parts]
    optimizer.build(variables)
    for part, state in zip(parts, states, strict=True):
        _put_back(part, variables, *state)


def _keys(optimizer, variables) -> list:
    return [optimizer._var_key(variable) for variable in variables]


def _unbuilt(optimizer) -> tuple:
    """Brings an optimizer back to before it was built; returns what it had gathered."""
    keys = _keys(optimizer, optimizer._trainable_variables)
    scalars, slots = {}, {}
    for name, value in vars(optimizer).items():
        if isinstance(value, keras.Variable):
            scalars[name] = value.numpy()
        elif isinstance(value, list) and len(value) == len(keys) and name not in _NO_SLOTS:
            slots[name] = dict(zip(keys, value, strict=True))
    own = (optimizer._iterations, optimizer._learning_rate)
    optimizer._variables[:] = [v for v in optimizer._variables if any(v is one for one in own)]
    optimizer._trainable_variables_indices.clear()
    optimizer.built = False
    return scalars, slots


# Lists of an optimizer that hold no state of one variable each.
_NO_SLOTS = ("_trainable_variables", "_variables")
_AVERAGES = "_model_variables_moving_average"


def _put_back(optimizer, variables, scalars: dict, slots: dict) -> None:
    for name, value in scalars.items():
        getattr(optimizer, name).assign(value)
    for name, old in slots.items():
        for variable, slot in zip(variables, getattr(optimizer, name), strict=True):
            before = old.get(optimizer._var_key(variable))
            if before is not None and slot is not None:
                slot.assign(before)
            elif name == _AVERAGES:
                # The average begins with the variable, at the optimizer's first step alone.
                slot.assign(variable)


class KerasHooks:
    """The hooks that Keras calls in a model and that `kvae.VAE` needs in another form."""

    def _maybe_symbolic_build(self, *arguments, **options):
        # Under a strategy Keras builds a model for the mean of the replicas' first batches, which
        # fails where their sizes differ.
        if not self.built:
            super()._maybe_symbolic_build(*arguments, **options)

    def _lock_state(self) -> None:
        # A model whose encoder has an input is built when it is made. Subclasses add metrics and
        # networks after `super().__init__`, as to a functional model of Keras.
        pass

    @property
    def _default_save_signature(self):
        # Keras makes it of the shape that a model was built for, which says nothing of labels.
        # `export` adds a signature of its own.
        return None if self.conditional else super()._default_save_signature


def call_on_copies(model, x, label, repeat, training: bool):
    """Runs a functional model of two inputs whose second has several copies of the rows of x.

    What does not depend on the second input is computed once, and repeated where it meets what
    does.

    Args:
        model: `keras.Model`.
        x: tensor `[batch, …]`.
        label: tensor `[copies * batch, …]`.
        repeat: callable. From a tensor `[batch, …]` to `[copies * batch, …]`.
        training: bool.

    Returns:
        What the model does for copies of x.
    """
    alone, copied = {id(x): x}, {id(label): label}

    def run(operation):
        call = operation_fn(operation, training=training)

        def called(*arguments, **options):
            given = arguments, options
            if not any(id(one) in copied for one in keras.tree.flatten(given)):
                outputs, known = call(*arguments, **options), alone
            else:
                arguments, options = keras.tree.map_structure(
                    lambda one: repeat(one) if id(one) in alone else one, given
                )
                outputs, known = call(*arguments, **options), copied
            # They are kept, since another tensor may have the `id` of one that is gone.
            known.update({id(one): one for one in keras.tree.flatten(outputs)})
            return outputs

        return called

    outputs = model._run_through_graph([x, label], operation_fn=run)
    ends = [repeat(one) if id(one) in alone else one for one in keras.tree.flatten(outputs)]
    outputs = keras.tree.pack_sequence_as(outputs, ends)
    return outputs[0] if isinstance(outputs, (list, tuple)) and len(ends) == 1 else outputs


def is_functional(model) -> bool:
    """Checks whether a model is a graph of layers."""
    return isinstance(model, Functional)
