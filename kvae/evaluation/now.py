"""Estimates inside of somebody else's graph."""

import concurrent.futures
import functools

import tensorflow as tf

__all__ = ["computed_now"]


def computed_now(function):
    """Makes a function compute its values when it is called, also where a `tf.function` is traced.

    Its results are NumPy arrays and numbers, which a graph does not have: they become constants of
    the graph. Arguments have to be values too.
    """

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        if tf.executing_eagerly():
            return function(*arguments, **options)
        # Another thread is in no graph. (In `tf.init_scope` no gradients are recorded.)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *arguments, **options).result()

    return wrapper
