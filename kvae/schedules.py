"""Quantities that change in training: functions of the optimizer's step, which is saved.

A schedule's position is the optimizer's step and nothing else, so a training that is saved and
resumed goes on where it was. Lengths are in steps: an epoch of `n` examples has
`ceil(n / batch_size)` of them. Keras's own schedules (`PolynomialDecay`, `PiecewiseConstantDecay`,
…) do as well.
"""

import math
from typing import TypeAlias

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from kvae.utils import arguments, names

__all__ = [
    "LAST_STEP",
    "Cyclical",
    "Linear",
    "Number",
    "Sigmoid",
    "at",
    "is_schedule",
    "resolve",
    "serialize",
]

# The step of a model without an optimizer, in which every schedule has come to its end.
LAST_STEP = 2**31 - 1
_SHAPES = ("linear", "cosine", "sigmoid")


# An argument that is constant, or follows the optimizer's step.
Number: TypeAlias = float | LearningRateSchedule


class _Schedule(LearningRateSchedule):
    """A schedule whose settings are numbers or names, which are checked and kept."""

    def __init__(self, **settings):
        super().__init__()
        settings = arguments.plain(settings)
        for name, value in settings.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"`{name}` is a finite number, not {value}.")
            setattr(self, name, value)
        self._settings = settings

    def get_config(self):
        return dict(self._settings)


@keras.saving.register_keras_serializable(package="kvae")
class Linear(_Schedule):
    """A straight line from `start` to `end` over `steps` steps, after `delay` steps at `start`.

    `Linear(0.0, 1.0, steps)` is the usual warm-up of the KL's weight.

    Args:
        start, end: float.
        steps: int. Length of the line.
        delay: int. Steps before it. Defaults to `0`.

    Example:

    ```python
    kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps=5000))
    ```

    Reference:
        - [Sønderby et al., Ladder Variational Autoencoders, section 2.3](
          https://arxiv.org/abs/1602.02282)
    """

    def __init__(self, start: float, end: float, steps: int, delay: int = 0):
        if steps < 1 or delay < 0:
            raise ValueError(f"`steps` is at least 1 and `delay` 0, not {steps} and {delay}.")
        super().__init__(start=start, end=end, steps=steps, delay=delay)

    def __call__(self, step):
        done = ops.clip((ops.cast(step, "float32") - self.delay) / self.steps, 0.0, 1.0)
        return self.start + (self.end - self.start) * done


@keras.saving.register_keras_serializable(package="kvae")
class Sigmoid(_Schedule):
    """`start + (end − start) / (1 + exp(−(step − middle) / width))`: slow, fast, slow.

    Args:
        middle: int. The step at which half of the way is done.
        width: float. Steps in which the odds grow by a factor of e; a tenth of the way is done at
            `middle − 2.2 width`, nine tenths at `middle + 2.2 width`.
        start, end: float. Default to `0.0` and `1.0`.

    Example:

    ```python
    kvae.objectives.ELBO(beta=kvae.schedules.Sigmoid(middle=2500, width=400))
    ```

    Reference:
        - [Bowman et al., Generating Sentences from a Continuous Space, section 3.1](
          https://arxiv.org/abs/1511.06349)
    """

    def __init__(self, middle: int, width: float, start: float = 0.0, end: float = 1.0):
        if not width > 0:
            raise ValueError(f"`width` is more than 0, not {width}.")
        super().__init__(middle=middle, width=width, start=start, end=end)

    def __call__(self, step):
        done = ops.sigmoid((ops.cast(step, "float32") - self.middle) / self.width)
        return self.start + (self.end - self.start) * done


@keras.saving.register_keras_serializable(package="kvae")
class Cyclical(_Schedule):
    """Rises from `start` to `end` and stays there, again and again.

    Each cycle of `period` steps rises during the first `ratio` of it. After `cycles` of them the
    value stays at `end`.

    Args:
        period: int. Steps of one cycle.
        ratio: float in (0, 1]. Defaults to `0.5`.
        cycles: int or `None` (without end). Defaults to `4`, as in the paper.
        start, end: float. Default to `0.0` and `1.0`.
        shape: `"linear"`, `"cosine"` or `"sigmoid"`. How it rises. Defaults to `"linear"`.

    Example:

    ```python
    kvae.objectives.ELBO(beta=kvae.schedules.Cyclical(period=2000))
    ```

    Reference:
        - [Fu et al., Cyclical Annealing Schedule, eq. 6 and 7](https://arxiv.org/abs/1903.10145)
    """

    def __init__(
        self,
        period: int,
        ratio: float = 0.5,
        cycles: int | None = 4,
        start: float = 0.0,
        end: float = 1.0,
        shape: str = "linear",
    ):
        if shape not in _SHAPES:
            raise names.unknown_name("shape", shape, _SHAPES)
        if period < 1 or not 0 < ratio <= 1 or (cycles is not None and cycles < 1):
            raise ValueError(
                "`period` and `cycles` are at least 1 and `ratio` is in (0, 1], not "
                f"{period}, {cycles} and {ratio}."
            )
        super().__init__(
            period=period, ratio=ratio, cycles=cycles, start=start, end=end, shape=shape
        )

    def __call__(self, step):
        # Whole numbers, because late steps as floats would lose their place in the cycle.
        step = ops.cast(step, "int64")
        place = ops.cast(step % self.period, "float32") / self.period
        done = ops.minimum(place / self.ratio, 1.0)
        if self.shape == "cosine":
            done = 0.5 - 0.5 * ops.cos(math.pi * done)
        elif self.shape == "sigmoid":  # From 0.0025 to 0.9975, stretched to reach both ends.
            low, high = 1 / (1 + math.exp(6.0)), 1 / (1 + math.exp(-6.0))
            done = (ops.sigmoid(12.0 * done - 6.0) - low) / (high - low)
        last = LAST_STEP if self.cycles is None else self.cycles * self.period
        done = ops.where(step >= last, 1.0, done)
        return self.start + (self.end - self.start) * done


def is_schedule(value) -> bool:
    """Checks whether a value is a schedule."""
    return isinstance(value, LearningRateSchedule)


def resolve(name: str, value):
    """Checks an argument that is a number of at least 0 or a schedule, and returns it.

    Args:
        name: str. The name of the argument, for the error.
        value: number, schedule or the serialized config of one, which is made anew.

    Raises:
        ValueError: for anything else.
    """
    value = arguments.plain(value)
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if is_schedule(value):
        return value
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"`{name}` is at least 0 or a schedule, not {value!r}.")
    return value


def at(value, vae):
    """Returns the number that `value`, a number or a schedule, is at the model's present step."""
    if not is_schedule(value):
        return value
    optimizer = getattr(vae, "optimizer", None)
    return value(LAST_STEP if optimizer is None else optimizer.iterations)


def serialize(value):
    """Returns what `get_config` holds of a number or a schedule."""
    return keras.saving.serialize_keras_object(value) if is_schedule(value) else value
