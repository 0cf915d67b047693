"""Values that were not observed: NaN, from the door of the library on.

A mask (True where a value was observed) travels within x. One that stands beside x becomes NaN in
it, so that what was at a hidden place cannot influence anything.
"""

from typing import Any

import numpy as np

__all__ = ["checked", "hide", "observed", "of_lengths", "some", "until_last"]


def checked(mask: Any, x: Any, name: str = "x") -> Any:
    """Returns a mask of x as bool of the shape of x, an array or a tensor.

    Args:
        mask: bool array or tensor of the shape of x, or with 1 in the place of its last axis, or
            without it, as `[n, steps]` for sequences.
        x: array or tensor `[n, *event]`.
        name: str. What errors call x. Defaults to `"x"`.

    Raises:
        ValueError: for a mask of another type or shape.
    """
    import tensorflow as tf

    eager = not tf.is_tensor(mask)
    mask = np.asarray(mask) if eager else mask
    if mask.dtype != bool:
        raise ValueError(
            f"`mask` holds {tf.as_dtype(mask.dtype).name}; it is bool, True where a value of "
            f"`{name}` was observed: mask.astype(bool)."
        )
    shape, own = tf.TensorShape(x.shape), tf.TensorShape(mask.shape)
    if own.is_compatible_with(shape):
        return mask
    if own.rank == shape.rank - 1 >= 2 and own.is_compatible_with(shape[:-1]):
        mask, own = mask[..., None], own.concatenate(1)
    if own.rank != shape.rank or own[-1] != 1 or not own[:-1].is_compatible_with(shape[:-1]):
        raise ValueError(
            f"`mask` has shape {tuple(own)} and `{name}` {tuple(shape)}: give one bool for each "
            "value."
        )
    return np.broadcast_to(mask, x.shape) if eager else tf.broadcast_to(mask, tf.shape(x))


def hide(x: Any, mask: Any, name: str = "x") -> Any:
    """Returns x as float32, with NaN wherever the mask says that nothing was observed.

    The arguments and errors are those of `checked`.
    """
    import tensorflow as tf

    mask = checked(mask, x, name)
    if tf.is_tensor(x) or tf.is_tensor(mask):
        return tf.where(mask, tf.cast(x, tf.float32), np.float32(np.nan))
    with np.errstate(over="ignore"):  # Reported by who checks x.
        return np.where(mask, np.asarray(x, np.float32), np.float32(np.nan))


def observed(x: Any) -> Any:
    """Returns the mask of x, a bool tensor or array of its shape: True where it is not NaN."""
    import tensorflow as tf

    return ~tf.math.is_nan(x) if tf.is_tensor(x) else ~np.isnan(x)


def some(observed: Any, rank: int = 1) -> Any:
    """Returns whether something of each example was observed, a bool tensor `[batch, 1, …]`.

    Args:
        observed: bool tensor `[batch, *event]`.
        rank: int. The number of axes of the result. Defaults to `1`.
    """
    import tensorflow as tf

    found = tf.reduce_any(observed, axis=tuple(range(1, observed.shape.rank)))
    return tf.reshape(found, [-1] + [1] * (rank - 1))


def of_lengths(lengths: Any, x: Any, name: str = "x") -> Any:
    """Returns the mask `[n, steps]` of sequences: True up to the length of each.

    Args:
        lengths: whole numbers `[n]`, an array or a tensor.
        x: array or tensor `[n, steps, ...]`.
        name: str. What errors call x. Defaults to `"x"`.

    Raises:
        ValueError: for lengths that are no whole numbers from 1 to the number of steps.
    """
    import tensorflow as tf

    rule = f"`lengths` are whole numbers from 1 to the number of steps of `{name}`, one for each"
    lengths = lengths if tf.is_tensor(lengths) else np.asarray(lengths)
    shape, own = tf.TensorShape(x.shape), tf.TensorShape(lengths.shape)
    if not tf.as_dtype(lengths.dtype).is_integer or shape.rank is None or shape.rank < 2:
        raise ValueError(f"{rule}; given are {tf.as_dtype(lengths.dtype).name}.")
    if not own.is_compatible_with(shape[:1]):
        raise ValueError(f"{rule}; `lengths` has shape {tuple(own)} and `{name}` {tuple(shape)}.")
    if tf.is_symbolic_tensor(lengths) or tf.is_symbolic_tensor(x):
        lengths, steps = tf.cast(lengths, tf.int32), tf.shape(x)[1]
        fits = tf.debugging.Assert(tf.reduce_all((lengths >= 1) & (lengths <= steps)), [rule])
        with tf.control_dependencies([] if fits is None else [fits]):
            return tf.sequence_mask(lengths, steps)
    lengths, steps = np.asarray(lengths), int(shape[1])
    if lengths.size and not 1 <= lengths.min() <= lengths.max() <= steps:
        raise ValueError(f"{rule}; given are {lengths.min()} to {lengths.max()} of {steps} steps.")
    return np.arange(steps) < lengths[:, None]


def until_last(observed: Any) -> Any:
    """Returns which steps of sequences come before the end, bool `[n, steps]`.

    A sequence ends with the last step of which something was observed. Gaps before that count as
    steps.

    Args:
        observed: bool tensor or array `[n, steps, channels]`.
    """
    import tensorflow as tf

    if not tf.is_tensor(observed):
        there = observed.any(axis=-1)
        return np.logical_or.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    there = tf.cast(tf.reduce_any(observed, axis=-1), tf.int32)
    return tf.cumsum(there, axis=1, reverse=True) > 0
