"""The last call of an epoch, where the steps of a call do not divide those of the epoch."""

import keras

__all__ = ["LastSteps"]


class LastSteps(keras.callbacks.Callback):
    """Makes the last call of an epoch run the steps that are left.

    With `compile(steps_per_execution=n)` and data without an end, Keras runs `n` steps in the last
    call as well: the epoch grows, the next one begins in the middle of the data, and a training
    that is resumed sees other batches than one that was not interrupted.

    For the time of that call the model's `steps_per_execution` and training function are exchanged.

    Args:
        steps: int. Steps of an epoch.
        left: int. Steps of its last call.
        functions: dict. Training functions by their number of steps; the one that is made here is
            kept in it, so that the next `fit` need not trace it again.
    """

    def __init__(self, steps: int, left: int, functions: dict):
        super().__init__()
        self.steps, self.left, self.functions = steps, left, functions
        self._exchanged = None

    def on_train_batch_begin(self, batch, logs=None):
        if batch != self.steps - self.left:
            return
        model = self.model
        self._exchanged = model.steps_per_execution, model.train_function
        model.steps_per_execution = self.left
        if self.left not in self.functions:
            model.make_train_function(force=True)
            self.functions[self.left] = model.train_function
        model.train_function = self.functions[self.left]

    def on_train_batch_end(self, batch, logs=None):
        self.restore()

    def restore(self) -> None:
        """Puts back what was exchanged, also where the call failed."""
        if self._exchanged is not None:
            self.model.steps_per_execution, self.model.train_function = self._exchanged
            self._exchanged = None
