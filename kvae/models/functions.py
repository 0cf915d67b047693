"""Compiled functions of a model, kept between calls."""

import tensorflow as tf

from kvae import forks

__all__ = ["Functions"]


class Functions:
    """The graphs of what a model does in use: each is made when it is first needed.

    A graph takes any number of rows, so that neither the last batch of some data nor data of
    another length makes a new one. Weights are read at every call; what a model's parts are told by
    `compile` is part of the graphs, so `compile` calls `clear`.
    """

    def __init__(self):
        self._made = {}

    def clear(self) -> None:
        """Lets go of all graphs."""
        self._made = {}

    def __call__(self, name: str, function, rows: tuple, *others):
        """Returns `function(*rows, *others)`.

        Args:
            name: str. What `function` does; the same name stands for the same function.
            function: callable, of tensors.
            rows: tuple of tensors `[n, ...]`, dicts of them, or `None`s.
            *others: tensors and numbers; their shapes are part of the graph, their values not.
        """
        forks.check()
        arguments = (*rows, *others)
        if not tf.executing_eagerly():  # Part of somebody else's graph.
            return function(*arguments)
        others = [tf.convert_to_tensor(value) for value in others]
        given = [*(value for value in rows if value is not None), *others]
        free = tf.nest.map_structure(_of_any_length, given[: len(given) - len(others)])
        fixed = [tf.TensorSpec(value.shape, value.dtype) for value in others]
        present = tuple(value is not None for value in arguments)
        key = name, present, repr(free), repr(fixed)
        if key not in self._made:

            def of_given(*values):
                values = iter(values)
                return function(*(next(values) if there else None for there in present))

            # Concrete, since TensorFlow's warning of a function that is traced again and again
            # knows functions by their `id`, which those of one model after another can share.
            self._made[key] = tf.function(
                of_given, input_signature=[*free, *fixed], autograph=False
            ).get_concrete_function()
        return self._made[key](*given)


def _of_any_length(value):
    shape = value.shape
    return tf.TensorSpec([None, *shape[1:]] if shape.rank else shape, value.dtype)
