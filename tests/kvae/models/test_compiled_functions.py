"""Compiled functions of a model (kvae.models.compiled_functions)."""

import gc

import numpy as np
import tensorflow as tf

from kvae.models import compiled_functions
from kvae.models.compiled_functions import CompiledFunctions
from kvae.utils import tensorflow_internals


def test_any_number_of_rows_has_one_graph():
    traces = []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    functions = CompiledFunctions()
    for rows in 1, 7, 64:
        x = np.arange(3.0 * rows, dtype="float32").reshape(rows, 3)
        np.testing.assert_array_equal(functions("double", double, (tf.constant(x),)), 2 * x)
    assert traces == [(None, 3)]
    functions("double", double, (tf.ones((2, 4)),))  # Other events: a graph of their own.
    functions.clear()
    functions("double", double, (tf.ones((2, 3)),))
    assert traces == [(None, 3), (None, 4), (None, 3)]


def test_the_number_of_graphs_is_bounded(monkeypatch):
    monkeypatch.setattr(compiled_functions, "_MOST", 2)
    functions, traces = CompiledFunctions(), []

    def double(x):
        traces.append(int(x.shape[1]))
        return 2 * x

    for size in (2, 3, 4, 4, 3, 2):  # The last ones used are those that stay.
        functions("double", double, (tf.ones((1, size)),))
        assert len(functions._made) <= 2
    assert traces == [2, 3, 4, 2]


def test_models_one_after_another_warn_of_no_retracing(caplog):
    """A function that is gone leaves its `id` to the next one, which is not the same function."""
    for number in range(8):
        functions = CompiledFunctions()
        assert functions("add", lambda x, number=number: x + number, (tf.ones((2, 3)),))[0, 0] == (
            number + 1
        )
        del functions
        gc.collect(1)
    assert "retracing" not in caplog.text


def test_structures_come_as_they_are_given():
    """Dicts, tuples and `None`s among the rows, numbers and dicts beside them; gradients too."""
    x, y = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])

    def function(pair, absent, named, number, constants):
        assert absent is None and pair[1] is None and set(named) == {"b", "a"}
        return {"sum": pair[0] * named["a"] - named["b"] + tf.cast(number, tf.float32), **constants}

    functions = CompiledFunctions()
    for number in (3, 4):  # Values of numbers are no part of the graph.
        with tf.GradientTape() as tape:
            tape.watch(x)
            arguments = ((x, None), None, {"b": y, "a": x})
            found = functions("f", function, arguments, number, {"other": 5.0})
        np.testing.assert_array_equal(found["sum"], x * x - y + number)
        np.testing.assert_array_equal(tape.gradient(found["sum"], x), 2 * x)
        assert float(found["other"]) == 5.0
    assert len(functions._made) == 1
    swapped = functions("f", function, ((x, None), None, {"a": y, "b": x}), 0, {"other": 5.0})
    np.testing.assert_array_equal(swapped["sum"], x * y - x)
    many = functions("many", lambda *given: tf.stack(given), (), *range(12))  # 10 after 2.
    np.testing.assert_array_equal(many, range(12))


def test_a_version_of_tensorflow_without_the_short_way_is_asked_as_anyone_asks():
    assert tensorflow_internals.called(lambda a, b: a - b, [5, 3]) == 2
