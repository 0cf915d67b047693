"""Compiled functions of a model, kept between calls."""

import collections
import threading

import tensorflow as tf

from kvae.utils import forks

__all__ = ["CompiledFunctions"]

# The largest number of graphs that are kept. A model in use needs some ten. Arguments that change
# from call to call (a number of samples, the type of the inputs) make others, and those that have
# not been used for longest are dropped.
_MOST = 64


class CompiledFunctions:
    """The graphs of a model's methods: each is made when it is first needed.

    A graph takes any number of rows, so that neither the last batch of some data nor data of
    another length makes a new one. Weights are read at every call; what a model's parts are told by
    `compile` is part of the graphs, so `compile` calls `clear`. The graphs hold the model, which
    holds them: what is no part of the model must not be closed over.
    """

    def __init__(self):
        self._made = collections.OrderedDict()
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Drops all graphs."""
        with self._lock:
            self._made = collections.OrderedDict()

    def __call__(self, name, function, rows: tuple, *others):
        """Returns `function(*rows, *others)`.

        Args:
            name: str, or a tuple that begins with one. What `function` does; the same name stands
                for the same function.
            function: callable, of tensors.
            rows: tuple of tensors `[n, ...]`, dicts or tuples of them, or `None`s.
            *others: tensors and numbers, or dicts of them; their shapes are part of the graph,
                their values not.
        """
        forks.check()
        arguments = (*rows, *others)
        if not tf.executing_eagerly():  # Part of somebody else's graph.
            return function(*arguments)
        others = [tf.nest.map_structure(tf.convert_to_tensor, value) for value in others]
        given = [*(value for value in rows if value is not None), *others]
        free = tf.nest.map_structure(_of_any_length, given[: len(given) - len(others)])
        fixed = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), others)
        present = tuple(value is not None for value in arguments)
        key = name, present, repr(free), repr(fixed)
        with self._lock:
            made = self._made.get(key)
            if made is None:

                def of_given(*values):
                    values = iter(values)
                    return function(*(next(values) if there else None for there in present))

                # Concrete, since TensorFlow's warning of a function that is traced again and again
                # knows functions by their `id`, which those of one model after another can share.
                made = self._made[key] = tf.function(
                    of_given, input_signature=[*free, *fixed], autograph=False
                ).get_concrete_function()
                while len(self._made) > _MOST:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
        return made(*given)


def _of_any_length(value):
    shape = value.shape
    return tf.TensorSpec([None, *shape[1:]] if shape.rank else shape, value.dtype)
