"""The rotation trick: the gradient of the rotation that takes one vector to another."""

import tensorflow as tf

__all__ = ["rotated"]

_LEAST = 1e-6  # A shorter vector has no direction.


def rotated(vectors, targets):
    """Returns `targets` up to rounding, as a constant linear map of `vectors`.

    The map is the rotation of `vectors` onto the direction of `targets` in the plane of both, times
    the ratio of their lengths, `λ R e = λ (I − 2 r rᵀ + 2 q̂ êᵀ) e` with `λ = ‖q‖ / ‖e‖` and
    `r = (ê + q̂) / ‖ê + q̂‖`. No gradient goes into the map itself, so that of `vectors` is
    `λ Rᵀ` times that of the result. Where one of the two has no direction, and where they are
    opposite, the gradient is that of a copy: λ would be 0 for a target of 0, as the middle code of
    `finite_scalar` is, where most outputs begin, and nothing would bring them away from it.

    Args:
        vectors: tensor `[..., d]`, e.
        targets: tensor `[..., d]`, q.

    Returns:
        Tensor `[..., d]`.

    Reference:
        - [Fifty et al., Restructuring Vector Quantization with the Rotation Trick, section 4](
          https://arxiv.org/abs/2410.06424)
    """
    e, q = tf.stop_gradient(vectors), tf.stop_gradient(targets)
    length, wanted = (tf.norm(each, axis=-1, keepdims=True) for each in (e, q))
    scale = wanted / tf.maximum(length, _LEAST)
    from_, to = tf.math.l2_normalize(e, axis=-1), tf.math.l2_normalize(q, axis=-1)
    between = from_ + to
    lacking = tf.minimum(length, wanted) < _LEAST
    lacking = lacking | (tf.norm(between, axis=-1, keepdims=True) < _LEAST)
    between = tf.math.l2_normalize(between, axis=-1)

    def along(direction):
        return tf.reduce_sum(direction * vectors, axis=-1, keepdims=True)

    turned = scale * (vectors - 2.0 * between * along(between) + 2.0 * to * along(from_))
    return tf.where(lacking, vectors, turned)
