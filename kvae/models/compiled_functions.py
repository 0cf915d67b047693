"""Compiled functions of a model, kept between calls."""

import collections
import threading

import tensorflow as tf

from kvae.utils import forks, tensorflow_internals

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
        flat, form = [], [name]
        for value in rows:
            _flatten(value, flat, form, True)
        for value in others:
            _flatten(value, flat, form, False)
        key = tuple(form)
        with self._lock:
            made = self._made.get(key)
            if made is None:
                made = self._made[key] = _graph(function, rows, others, flat)
                while len(self._made) > _MOST:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
        return tensorflow_internals.called(made, flat)


def _flatten(value, flat: list, form: list, of_any_length: bool) -> None:
    """Adds the tensors of a structure to `flat`, and to `form` what its graph depends on.

    Both are in the order of `tf.nest`, which takes most of the time of a small call.
    """
    if value is None:
        form.append(None)
    elif isinstance(value, dict):
        names = sorted(value)
        form.append(tuple(names))
        for each in names:
            _flatten(value[each], flat, form, of_any_length)
    elif isinstance(value, (tuple, list)):
        form.append(len(value))
        for each in value:
            _flatten(each, flat, form, of_any_length)
    else:
        tensor = value if isinstance(value, tf.Tensor) else tf.convert_to_tensor(value)
        shape = tuple(tensor.shape)
        if of_any_length and shape:
            shape = (None, *shape[1:])
        flat.append(tensor)
        form.append((tensor.dtype, shape))


def _graph(function, rows: tuple, others: tuple, flat: list):
    """Returns the graph of a function of structures, as one of their tensors in turn."""
    free, fixed = ([_without_values(value) for value in part] for part in (rows, others))
    count = len([leaf for leaf in tf.nest.flatten(free) if leaf is not None])
    specs = [_of_any_length(tensor) for tensor in flat[:count]]
    specs += [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in flat[count:]]

    def of_tensors(*tensors):
        left = iter(tensors)
        arguments = tf.nest.map_structure(lambda leaf: leaf and next(left), [*free, *fixed])
        return function(*arguments)

    # Concrete, since TensorFlow's warning of a function that is traced again and again knows
    # functions by their `id`, which those of one model after another can share.
    options = {"input_signature": specs, "autograph": False}
    return tf.function(of_tensors, **options).get_concrete_function()


def _without_values(value):
    """Returns a structure with True in the place of each tensor, which nothing may hold."""
    return tf.nest.map_structure(lambda leaf: None if leaf is None else True, value)


def _of_any_length(value):
    shape = value.shape
    return tf.TensorSpec([None, *shape[1:]] if shape.rank else shape, value.dtype)
