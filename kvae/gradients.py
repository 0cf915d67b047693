"""Functions with gradients of their own."""

import tensorflow as tf

__all__ = ["custom_gradient"]


def custom_gradient(*shapes):
    """Makes a function of tensors have the gradient that it says; a decorator for module level.

    `tf.custom_gradient` alone registers a gradient for the life of the process each time that a
    graph is traced with it, and thereby keeps that whole graph. Here the function is a graph of its
    own that is traced once, and that other graphs call (TensorFlow puts it in line before it runs).

    Args:
        *shapes: of the arguments, float32, with `None` for sizes that vary.

    Returns:
        callable, which makes of a function (as for `tf.custom_gradient`, and closing over no
        tensors) one of the same arguments. Its results know their static ranks, not their shapes.
    """

    def decorator(function):
        return tf.function(
            tf.custom_gradient(function),
            input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes],
            autograph=False,
        )

    return decorator
