"""One-hot vectors, one after another."""

import tensorflow as tf

__all__ = ["one_hot_distribution", "one_hot_of_largest"]


def one_hot_of_largest(scores, num_categories: int):
    """Marks the largest of each group of `num_categories`: `[..., N * K]`, of ones and zeros."""
    shape = tf.shape(scores)
    groups = tf.reshape(scores, (-1, num_categories))
    return tf.reshape(tf.one_hot(tf.argmax(groups, axis=-1), num_categories), shape)


def one_hot_distribution(logits):
    """Returns a distribution of TFP over one-hot vectors, one after another.

    Args:
        logits: tensor `[..., N, K]`, of N independent classes.

    Returns:
        `tfd.Distribution` of batch `[...]` and events `[N * K]`.
    """
    import tensorflow_probability as tfp

    one_hot = tfp.distributions.OneHotCategorical(logits, dtype=tf.float32)
    shape = logits.shape[-2:].as_list()
    return tfp.distributions.TransformedDistribution(
        tfp.distributions.Independent(one_hot, reinterpreted_batch_ndims=1),
        tfp.bijectors.Reshape([shape[0] * shape[1]], shape),
    )
