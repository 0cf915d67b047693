"""Estimates that are computed at once, inside of somebody else's graph too."""

import concurrent.futures
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tensorflow as tf

__all__ = ["evaluated_eagerly"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def evaluated_eagerly(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Makes a function compute its values when it is called, even while a graph is traced.

    The results of such a function are NumPy arrays and numbers. Called within a `tf.function`, they
    become constants of its graph. The arguments have to be values as well, not symbolic tensors.
    """

    @functools.wraps(function)
    def wrapper(*arguments: _P.args, **options: _P.kwargs) -> _R:
        if tf.executing_eagerly():
            return function(*arguments, **options)
        # Another thread is in no graph. (In `tf.init_scope` no gradients are recorded.)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *arguments, **options).result()

    return wrapper
