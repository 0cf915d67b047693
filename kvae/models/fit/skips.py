"""Steps that are left out because their gradient explodes."""

import keras
import tensorflow as tf

from kvae.utils import arguments, callers

__all__ = ["SkippedSteps", "Skips"]


class Skips:
    """Finds the steps to leave out, and counts them.

    Clipping shortens such a gradient, and still goes a step in its direction, which one bad draw of
    a deep hierarchy of latents has chosen.

    Args:
        limit: float. The largest norm of all gradients together.
    """

    def __init__(self, limit: float):
        self.limit = arguments.number("skip_norm", limit, 0.0)
        if not self.limit:
            raise ValueError("`skip_norm` is more than 0, which would skip every step.")
        self._count = tf.Variable(0.0, trainable=False, name="skipped_steps")

    def kept(self, vae) -> list:
        """Returns, before a step, the values of what layers assign on the way to the loss.

        Such are the statistics of batches and the codebooks of a quantizer.
        """
        return [tf.identity(weight.value) for weight in vae.non_trainable_weights]

    def step_or_not(self, vae, gradients, step, kept: list) -> None:
        """Takes a step where the gradient fits; else all weights are again as before it.

        Args:
            vae: `kvae.VAE`.
            gradients: sequence of tensors.
            step: callable without arguments.
            kept: list. What `kept` has returned.
        """

        def take_back():
            for weight, value in zip(vae.non_trainable_weights, kept, strict=True):
                weight.assign(value)

        tf.cond(self._fits(vae.optimizer, gradients), step, take_back)

    def _fits(self, optimizer, gradients) -> tf.Tensor:
        """Returns a bool scalar, whether to take the step; counts it where not.

        Raises:
            ValueError: under a distribution strategy of several replicas.
        """
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            raise ValueError(
                "Replicas have gradients of their own, so that one would leave out a step which "
                "the others take. Compile without `skip_norm`, and give the optimizer a clipnorm."
            )
        norm = tf.linalg.global_norm([each for each in gradients if each is not None])
        norm = norm / tf.cast(optimizer.scale_loss(tf.ones([])), norm.dtype)
        fits = norm <= self.limit  # False for NaN.
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # Gradients that are not finite tell it that the loss is scaled by too much.
            fits |= ~tf.math.is_finite(norm)
        self._count.assign_add(tf.where(fits, 0.0, 1.0))
        return fits

    def report(self) -> dict[str, tf.Tensor]:
        """Returns what the logs hold: the steps left out since the model was compiled."""
        return {"skipped": self._count.read_value()}

    @property
    def count(self) -> int:
        """The number of steps left out since the model was compiled."""
        return int(self._count.numpy())


class SkippedSteps(keras.callbacks.Callback):
    """Warns after an epoch in which steps were left out, for the first time in a `fit`.

    Args:
        skips: `Skips`.
    """

    def __init__(self, skips: Skips):
        super().__init__()
        self._skips, self._before = skips, skips.count

    def on_epoch_end(self, epoch, logs=None):
        if self._before is None:
            return
        found = self._skips.count - self._before
        if found:
            callers.warn(
                f"In epoch {epoch + 1} {found} steps were skipped, because the norm of the "
                f"gradient was more than skip_norm={self._skips.limit:g}: weights and optimizer "
                "stayed as they were. The figure `skipped` of the logs counts them. Where they are "
                "many, lower the learning rate or give the optimizer a global_clipnorm."
            )
            self._before = None
