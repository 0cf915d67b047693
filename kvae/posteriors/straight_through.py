"""Values that are exact forward and have the gradient of others backward."""

import tensorflow as tf

__all__ = ["with_gradient_of"]


@tf.custom_gradient
def with_gradient_of(values, other):
    """Returns `values`, to the last bit, with the gradient of `other`.

    The usual `other + stop_gradient(values - other)` rounds: what it returns is no corner of the
    simplex and no entry of a codebook any more.
    """
    return tf.identity(values), lambda upstream: (None, upstream)
