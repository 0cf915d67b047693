"""The end of a training whose loss is NaN or infinite, before anything is overwritten."""

import math

import keras
import numpy as np

__all__ = ["FiniteLoss"]


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training at the end of an epoch in which a loss was NaN or infinite.

    `kvae.VAE.fit` calls it before all other callbacks, so that no checkpoint is written of spoilt
    weights. The loss of an epoch is an average over its steps, so that a single step whose loss is
    not finite shows in it. With `compile(skip_norm=…)` such a step is skipped, and the training
    goes on where all weights are finite.

    Raises:
        FloatingPointError: at the end of the epoch, with its steps, the quantities and the weights
            that are not finite, and with advice.
    """

    def on_epoch_end(self, epoch, logs=None):
        bad = {name: value for name, value in (logs or {}).items() if not math.isfinite(value)}
        if "loss" not in bad:
            return
        if getattr(self.model, "skips", None) is not None and not self._spoilt():
            return  # The step was skipped, of which `fit` warns.
        raise FloatingPointError(
            f"The loss of epoch {epoch + 1} is {bad['loss']}; it became so "
            f"{self._steps()}. {self._found(bad)} "
            "Train with a smaller learning rate or with clipping (e.g. "
            "keras.optimizers.Adam(1e-4, clipnorm=1.0)), and go on from the last checkpoint, which "
            "is older than this."
        )

    def _steps(self) -> str:
        steps = int(self.model.optimizer.iterations.numpy())
        length = (self.params or {}).get("steps")
        return f"by step {steps}" if not length else f"between steps {steps - length} and {steps}"

    def _found(self, bad) -> str:
        others = sorted(set(bad) - {"loss"})
        quantities = f"Not finite either: {', '.join(others)}. " if others else ""
        spoilt = self._spoilt()
        if not spoilt:
            return quantities + "All weights are finite still: a step's loss overflowed."
        more = f" and {len(spoilt) - 3} more" if len(spoilt) > 3 else ""
        return f"{quantities}Weights with NaN or infinite values: {', '.join(spoilt[:3])}{more}."

    def _spoilt(self) -> list[str]:
        return [
            weight.path
            for weight in self.model.trainable_weights
            if not np.isfinite(np.asarray(weight, np.float32)).all()
        ]
