"""Quantities that change in training: functions of the optimizer's step, which is saved."""

import keras
from keras.optimizers.schedules import LearningRateSchedule

__all__ = ["at", "is_schedule", "resolve", "serialize"]

# Without an optimizer there is no training: every schedule has come to its end.
_END = 2**31 - 1


def is_schedule(value) -> bool:
    return isinstance(value, LearningRateSchedule)


def resolve(name: str, value):
    """Checks a number of at least 0, or a schedule (a serialized one is made anew).

    Raises:
        ValueError: for anything else; `name` says of what.
    """
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if is_schedule(value):
        return value
    if not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"`{name}` is at least 0 or a schedule, not {value!r}.")
    return value


def at(value, vae):
    """Returns the number that `value`, a number or a schedule, is at the model's present step."""
    if not is_schedule(value):
        return value
    optimizer = getattr(vae, "optimizer", None)
    return value(_END if optimizer is None else optimizer.iterations)


def serialize(value):
    """Returns what `get_config` holds of a number or a schedule."""
    return keras.saving.serialize_keras_object(value) if is_schedule(value) else value
