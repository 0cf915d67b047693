"""The limits of a diagnosis that has few examples, or a model whose training is not done."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvae import schedules
from kvae.diagnosis.figures import Figures
from kvae.utils import keras_internals

__all__ = ["limits"]

_FEW = 300  # Examples, below which it is said what they cannot tell.
_BEGUN = 500  # Steps of an optimizer, below which a training has only begun.
# Others fall forever, or in steps: their `decay_steps` are a period.
_WITH_AN_END = (
    keras.optimizers.schedules.CosineDecay,
    keras.optimizers.schedules.PolynomialDecay,
)


def limits(own: Figures, seen: Figures | None) -> list[str]:
    """Returns sentences that say what limits a diagnosis; none where nothing is known to.

    Args:
        own: `Figures`. Of the data that the model is judged by.
        seen: `Figures` or `None`. Of its training data.
    """
    sets = [own] if seen is None else [own, seen]
    return _of_examples(sets) + _of_training(own.model)


def _of_examples(sets: list[Figures]) -> list[str]:
    n = min(len(one.x) for one in sets)
    if n >= _FEW:
        return []
    nats = 2 * math.sqrt(sum(np.var(one.bound, ddof=1) / len(one.x) for one in sets))
    kept = f"the mean of their ELBO is uncertain by {nats:.2g} nats"
    if len(sets) > 1:
        right = 100 * (0.5 + 1.5 / math.sqrt(n))
        kept = (
            f"a difference of the ELBO below {nats:.2g} nats is taken for chance, and drift that "
            f"lets a classifier guess fewer than {right:.0f} % of the sets rightly"
        )
    return [f"{n} examples tell only large faults: {kept}. More examples tell smaller ones."]


def _of_training(model: Any) -> list[str]:
    optimizer = getattr(model, "optimizer", None)
    steps = 0 if optimizer is None else int(optimizer.iterations.numpy())
    if not steps:
        return []  # How long it was trained, the model does not say.
    found = []
    if steps < _BEGUN:
        found.append(
            f"The training made {steps} steps only: what is found may be gone after more of them."
        )
    for name, value in model.objective.scheduled().items():
        if not schedules.is_schedule(value):
            continue
        now, last = (float(value(ops.cast(s, "int64"))) for s in (steps, schedules.LAST_STEP))
        if not math.isclose(now, last, rel_tol=0.01, abs_tol=1e-6):
            found.append(
                f"`{name}` of the objective is {now:.3g} at the step {steps} of this model, on its "
                f"way to {last:.3g}: the training is not done, and the model not yet what it is to "
                "become."
            )
    rate = keras_internals.learning_rate_schedule(optimizer)
    end = rate.decay_steps if isinstance(rate, _WITH_AN_END) else 0
    end += getattr(rate, "warmup_steps", 0) if end else 0
    if steps < end:
        found.append(
            f"The learning rate falls over {end} steps, of which this model has seen {steps}: more "
            "training may change what is found."
        )
    return found
