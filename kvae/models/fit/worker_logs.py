"""The logs of a step on several workers."""

import tensorflow as tf

__all__ = ["WorkerLogs"]

_TOGETHER = "together"


class WorkerLogs:
    """Makes one tensor of the logs of a step, and logs of it again.

    Keras takes the mean of each log over the workers by itself, along its first axis, and each mean
    is two sums around the ring of workers. Of one tensor there are two in all.
    """

    def __init__(self):
        self._present: _Names | None = None

    def joined(self, logs: dict) -> dict[str, tf.Tensor]:
        """Returns the logs of a worker as Keras takes them: as one tensor within `split`'s run."""
        logs = {name: tf.cast(value, tf.float32) for name, value in logs.items()}
        if self._present is None:
            return {name: tf.reshape(value, [1]) for name, value in logs.items()}
        self._present.names = tuple(logs)
        return {_TOGETHER: tf.stack(list(logs.values()))[None]}

    def split(self, function):
        """Returns a function of Keras's whose logs are whole again.

        Its step is to return what `joined` does.
        """
        own = _Names()

        def run(*arguments):
            self._present = own
            try:
                found = function(*arguments)
            finally:
                self._present = None
            return dict(zip(own.names, tf.unstack(found[_TOGETHER]), strict=True))

        return run


class _Names:
    """The names of a function's logs, since its graph was traced."""

    names: tuple[str, ...] = ()
