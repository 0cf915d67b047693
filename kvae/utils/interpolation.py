"""Ways from one latent to another."""

import tensorflow as tf

__all__ = ["interpolate", "linear", "slerp"]


def linear(start, end, position):
    """Returns the points on the lines from `start` to `end`, both `[n, D]`.

    Args:
        start, end: arrays or tensors `[n, D]`, of one floating dtype.
        position: array or tensor `[s]` or `[n, s]`. Where on the way: 0 is `start`, 1 is `end`.

    Returns:
        Tensor `[n, s, D]`.
    """
    start, end, position = _prepare(start, end, position)
    return (1 - position) * start + position * end


def slerp(start, end, position):
    """Returns the points on the great arcs from `start` to `end`, as `linear` does.

    Where there is no single arc (parallel, opposite or zero vectors) it is the line.

    Reference:
        - [White, Sampling Generative Networks](https://arxiv.org/abs/1609.04468)
    """
    start, end, position = _prepare(start, end, position)
    norms = tf.norm(start, axis=-1, keepdims=True) * tf.norm(end, axis=-1, keepdims=True)
    cosine = tf.reduce_sum(start * end, axis=-1, keepdims=True) / tf.maximum(norms, 1e-12)
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    sine = tf.sin(angle)
    flat = (sine < 1e-4) | (norms < 1e-12)
    safe = tf.where(flat, tf.ones_like(sine), sine)
    first = tf.where(flat, 1 - position, tf.sin((1 - position) * angle) / safe)
    second = tf.where(flat, position, tf.sin(position * angle) / safe)
    return first * start + second * end


def interpolate(model, start, end, position):
    """Returns latents on the way from `start` to `end`, where the model's latents lie.

    They go along the line; on the sphere along the great arc, and in the Poincaré ball along its
    geodesic. Points between entries of a codebook are taken to the nearest entry. Each part of a
    product goes its own way.

    Args:
        model: `kvae.VAE`.
        start, end: tensors `[n, latent_dim]`.
        position: tensor `[s]` or `[n, s]`, from 0 to 1.

    Returns:
        Tensor `[n, s, latent_dim]`.
    """
    return _between(model.posterior, start, end, position)


def _between(posterior, start, end, position):
    if split := getattr(posterior, "split", None):
        parts = zip(posterior.parts.values(), split(start), split(end), strict=True)
        return tf.concat([_between(part, *ends, position) for part, *ends in parts], axis=-1)
    space = posterior.space
    if space == "sphere":
        # Between opposite points there is no arc: the line, which meets the centre half-way.
        return tf.math.l2_normalize(slerp(start, end, position), axis=-1)
    if way := getattr(posterior, "geodesic", None):
        return way(*_prepare(start, end, position))
    points = linear(start, end, position)
    if space == "codes":
        return posterior.embed(posterior.nearest(points))
    return points


def _prepare(start, end, position):
    start, end = tf.convert_to_tensor(start), tf.convert_to_tensor(end)
    position = tf.cast(position, start.dtype)
    if position.shape.rank == 1:
        position = position[None]
    return start[:, None], end[:, None], position[..., None]
