"""The plan of `fit`: the number of steps in each call, and whether XLA compiles them."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from kvae.datasets.dataset import Dataset
from kvae.models.fit.data import steps_of
from kvae.models.saving import seed_states
from kvae.utils import keras_internals, loggers

__all__ = ["LEAST_STEPS", "MOST_BYTES", "Plan", "plan_steps"]

# `fit` runs shorter trainings without XLA: compiling costs some seconds, as much as 400 to 700
# steps of a dense model gained by it where that was measured.
LEAST_STEPS = 1000
# So many steps make the cost of a call disappear, and let the progress bar move.
_MOST_STEPS = 128
_MOST_READ = 32  # As above, of batches that may have to be waited for.
MOST_BYTES = 2**25  # The size of a block's data.
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
        steps: int. The number of steps in a call of `Blocks`; 0 leaves the steps to Keras.
        jit: bool. Whether XLA compiles a call.
        alone: int. The number of steps to take one by one before the first block of a training
            whose length is not known.
        reason: str. The reason for one step in each call, where users may wonder; else empty.
    """

    steps: int = 0
    jit: bool = False
    alone: int = 0
    reason: str = ""


def plan_steps(
    vae, data, batch_size: int, epochs: int, steps_per_epoch: int | None, callbacks
) -> Plan:
    """Chooses the number of steps in each call, where `compile` was not told.

    Dense networks are compiled by XLA, which also makes their results the same bits on every run;
    networks with convolutions are many times slower in such a loop, and repeat without XLA.
    Others, those with noise of their own such as dropout, and short trainings of dense networks
    take one step in each call.

    Args:
        vae: `kvae.VAE`, compiled.
        data: `kvae.datasets.Dataset`, or other data.
        batch_size, epochs: int. Those of the whole training.
        steps_per_epoch: int or `None`. The argument of `fit`.
        callbacks: list of those given to `fit`.
    """
    own = steps_of(vae, data, batch_size)
    steps = steps_per_epoch or own
    is_long = steps is not None and steps * epochs >= LEAST_STEPS
    may_be_long = is_long or (steps is None and not vae.reproducible)
    obstacle = _obstacle(vae, data, own, steps_per_epoch)
    if vae.steps_chosen is not None:
        batches = not isinstance(data, Dataset)
        leave = obstacle or vae.steps_chosen == 1 or batches
        return Plan() if leave else Plan(vae.steps_chosen, bool(vae.jit_compile))
    if obstacle:
        return Plan(reason=obstacle if is_long else "")
    draws = len(seed_states(vae)) > 1  # Keras's layers draw other noise under XLA.
    dense, convolves = _is_dense(vae), _convolves(vae)
    jit = bool(vae.jit_compile)
    compiles = not vae.jit_chosen and not draws and dense and may_be_long
    between, reason = _steps_between(callbacks, steps)
    if not reason and not (jit or compiles or convolves):
        reason = "several steps of these networks repeat bit for bit only under XLA"
        if draws and dense:
            reason = "layers of the networks draw noise, which differs under XLA"
    if reason or (vae.reproducible and not (jit or compiles)):
        return Plan(1, jit, reason=reason if is_long else "")
    most = _MOST_READ
    if isinstance(data, Dataset):
        row = data.x[:1].nbytes * batch_size
        most = max(1, min(_MOST_STEPS, MOST_BYTES // max(1, row)))
    if steps is None:
        return Plan(most, jit or compiles, alone=LEAST_STEPS if compiles else 0)
    if between:  # A call ends at each step at which a callback acts.
        several = max(n for n in range(1, most + 1) if between % n == 0)
    else:
        several = math.ceil(steps / math.ceil(steps / most))
    return Plan(several, jit or compiles)


def _steps_between(callbacks, steps: int | None) -> tuple[int, str]:
    """Returns how many steps the calls of an epoch divide, and why each call has one.

    Args:
        callbacks: list of those given to `fit`.
        steps: int or `None`. Steps of an epoch.

    Returns:
        `(number, reason)`: 0 where no callback acts between the steps of an epoch, and a reason
        where calls of several steps do not end at the steps at which a callback acts.
    """
    found = 0
    for callback in callbacks:
        every = keras_internals.steps_between(callback)
        if every is None:
            continue
        name, found = type(callback).__name__, math.gcd(found, every, steps or 1)
        if every == 1:
            setting = loggers.advice(callback)
            unless = f", unless it has {setting}" if setting else ""
            return 1, f"the callback {name} is called at every step{unless}"
        if found == 1:
            epoch = f"the {steps} steps of an epoch" if steps else "epochs of unknown length"
            return 1, f"the callback {name} acts every {every} steps, which do not fit {epoch}"
    return found, ""


def _obstacle(vae, data, own: int | None, steps_per_epoch: int | None) -> str:
    """Returns the reason why Keras has to run the steps; empty where there is none."""
    if isinstance(data, (np.ndarray, tuple)) or (own and steps_per_epoch not in (None, own)):
        return "steps_per_epoch is not the number of batches"
    if not isinstance(data, Dataset) and vae.jit_chosen and vae.jit_compile:
        return "data in batches are to be compiled as they come"
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
