"""Gradients of our own, and steps along gradients, that leave nothing behind."""

import keras
import tensorflow as tf

__all__ = ["apply", "custom_gradient"]


def apply(optimizer, gradients, variables) -> None:
    """Lets an optimizer of Keras take one step, in a graph or outside.

    Keras sums the gradients over the replicas even where there is only one, by a
    `tf.custom_gradient` of TensorFlow's, which keeps the graph of the whole step for the life of
    the process. Where there is no strategy the optimizer is called across the replicas, and so has
    nothing to sum. One that scales the loss (float16) allows that not.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        gradients, variables: sequences of the same length.
    """
    pairs = list(zip(gradients, variables, strict=True))
    context = tf.distribute.get_replica_context()
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if context is None or tf.distribute.has_strategy() or scales:
        optimizer.apply_gradients(pairs)
        return

    @tf.autograph.experimental.do_not_convert
    def step(_):
        optimizer.apply_gradients(pairs)

    context.merge_call(step)


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
