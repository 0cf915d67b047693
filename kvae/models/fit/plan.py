"""The plan of `fit`: the number of steps in each call, and whether XLA compiles them."""

import dataclasses
import math

import keras
import tensorflow as tf

from kvae.datasets.dataset import Dataset
from kvae.models.saving import seed_states
from kvae.utils import keras_internals

__all__ = ["LEAST_STEPS", "Plan", "plan_steps"]

# `fit` runs shorter trainings step by step: compiling costs some seconds, as much as 2,000 steps of
# a dense model gain by it.
LEAST_STEPS = 2000
# So many steps make the cost of a call disappear, and let the progress bar move.
_MOST_STEPS = 128
_MOST_BYTES = 2**25  # The size of a block's data.
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan by which `fit` runs its steps.

    Attributes:
        steps: int. The number of steps in a call; 1 leaves the loop to Keras.
        jit: bool. Whether XLA compiles a call.
        reason: str. The reason for one step in each call, where users may wonder; else empty.
    """

    steps: int = 1
    jit: bool = False
    reason: str = ""


def plan_steps(
    vae, data, batch_size: int, epochs: int, steps_per_epoch: int | None, callbacks
) -> Plan:
    """Chooses the number of steps in each call, where `compile` was not told.

    Dense networks are compiled by XLA, which also makes their results the same bits on every run;
    networks with convolutions are many times slower in such a loop, and repeat without XLA.
    Others, those with noise of their own such as dropout, and short trainings run step by step.

    Args:
        vae: `kvae.VAE`, compiled.
        data: `kvae.datasets.Dataset`, or other data.
        batch_size, epochs: int. Those of the whole training.
        steps_per_epoch: int or `None`. The argument of `fit`.
        callbacks: list of those given to `fit`.
    """
    obstacle = _obstacle(vae, data, batch_size, steps_per_epoch)
    if vae.steps_chosen is not None:
        leave = obstacle or vae.steps_chosen == 1
        return Plan() if leave else Plan(vae.steps_chosen, bool(vae.jit_compile))
    steps = steps_per_epoch or (data.steps(batch_size) if isinstance(data, Dataset) else 0)
    if steps * epochs < LEAST_STEPS:
        return Plan()
    if obstacle:
        return Plan(reason=obstacle)
    for callback in callbacks:
        if keras_internals.acts_on_batches(callback):
            return Plan(reason=f"the callback {type(callback).__name__} is called at every step")
    draws = len(seed_states(vae)) > 1  # Keras's layers draw other noise under XLA.
    jit = bool(vae.jit_compile) or (not vae.jit_chosen and not draws and _is_dense(vae))
    if vae.reproducible and not jit:
        return Plan()
    if not jit and not _convolves(vae):
        if draws and _is_dense(vae):
            return Plan(reason="layers of the networks draw noise, which differs under XLA")
        return Plan(reason="several steps of these networks repeat bit for bit only under XLA")
    row = data.x[:1].nbytes * batch_size
    most = max(1, min(_MOST_STEPS, _MOST_BYTES // max(1, row)))
    return Plan(math.ceil(steps / math.ceil(steps / most)), jit)


def _obstacle(vae, data, batch_size, steps_per_epoch) -> str:
    """Returns the reason why Keras has to run the steps; empty where there is none."""
    if not isinstance(data, Dataset):
        return "the data are not arrays or a kvae.datasets.Dataset in memory"
    if steps_per_epoch not in (None, data.steps(batch_size)):
        return "steps_per_epoch is not the number of batches"
    if vae.own_step() is not None:
        return f"{type(vae).__name__} has a {vae.own_step()} of its own"
    if vae.run_eagerly:
        return "it runs eagerly"
    present = tf.distribute.get_strategy()
    if tf.distribute.has_strategy() or vae.distribute_strategy is not present:
        return "a distribution strategy runs the steps"
    return ""


def _layers(vae) -> list:
    return keras_internals.flat_layers(vae, include_self=False)


def _convolves(vae) -> bool:
    return any(isinstance(layer, _CONVOLUTIONS) for layer in _layers(vae))


def _is_dense(vae) -> bool:
    layers = _layers(vae)
    recurrent = any(isinstance(layer, keras.layers.RNN) for layer in layers)
    return not recurrent and not _convolves(vae) and all(layer.supports_jit for layer in layers)
