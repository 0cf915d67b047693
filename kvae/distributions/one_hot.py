"""One-hot vectors, one after another."""

import tensorflow as tf

__all__ = ["one_hot_of_largest"]


def one_hot_of_largest(scores, num_categories: int):
    """Marks the largest of each group of `num_categories`: `[..., N * K]`, of ones and zeros."""
    shape = tf.shape(scores)
    groups = tf.reshape(scores, (-1, num_categories))
    return tf.reshape(tf.one_hot(tf.argmax(groups, axis=-1), num_categories), shape)
