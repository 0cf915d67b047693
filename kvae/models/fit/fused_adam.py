"""Adam's update as one operation for each variable."""

import contextlib

import keras
import tensorflow as tf

from kvae.utils import keras_internals

__all__ = ["adam"]


@contextlib.contextmanager
def adam(optimizer):
    """Within the block a `keras.optimizers.Adam` updates each variable by one fused operation.

    The formula is Keras's own; clipping, weight decay, averages and accumulation stay with Keras.
    Other optimizers, subclasses, AMSGrad and those whose `update_step` was replaced are left alone.

    Args:
        optimizer: `keras.optimizers.Optimizer` or `None`.
    """
    plain = type(optimizer) is keras.optimizers.Adam and "update_step" not in vars(optimizer)
    if not plain or optimizer.amsgrad:
        yield
        return
    powers = []

    def update_step(gradient, variable, learning_rate):
        fits = isinstance(variable, tf.Variable) and variable.dtype == tf.float32
        if not fits or isinstance(gradient, tf.IndexedSlices):
            return keras.optimizers.Adam.update_step(optimizer, gradient, variable, learning_rate)
        if not powers:
            step = tf.cast(optimizer.iterations + 1, tf.float32)
            powers.extend(tf.pow(beta, step) for beta in (optimizer.beta_1, optimizer.beta_2))
        first, second = keras_internals.adam_moments(optimizer, variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first.value.handle,
            v=second.value.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=tf.cast(learning_rate, tf.float32),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )

    # On the object and past Keras's tracking: the class stays Adam, and so does what is saved.
    object.__setattr__(optimizer, "update_step", update_step)
    try:
        yield
    finally:
        object.__delattr__(optimizer, "update_step")
