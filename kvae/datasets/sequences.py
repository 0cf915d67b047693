"""Sequences of different lengths, as arrays whose steps after the end are NaN."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kvae.utils import masks

__all__ = ["at_full_length", "is_ragged", "padded", "unpadded"]


def padded(sequences: Any, steps: int | None = None, name: str = "x") -> np.ndarray:
    """Returns sequences of different lengths as one array, with NaN after the end of each.

    NaN is what models with `missing` take for "not observed": a step after the end of a sequence
    is one that is not there. Their methods and `fit` take what this function takes.

    Args:
        sequences: list, object array or series of arrays `[steps, channels]` or `[steps]` (one
            channel), or a `tf.RaggedTensor` `[n, (steps), channels]` or `[n, (steps)]`.
        steps: int or `None`. The length to pad to. Defaults to `None`: the longest sequence's.
        name: str. What errors call the sequences. Defaults to `"x"`.

    Returns:
        float32 array `[n, steps, channels]`.

    Raises:
        ValueError: for a sequence without steps or longer than `steps`, and for sequences whose
            steps differ in shape.

    Example:

    ```python
    kvae.datasets.padded([[1.0, 2.0, 3.0], [4.0]])[..., 0]  # [[1, 2, 3], [4, nan, nan]]
    ```
    """
    import tensorflow as tf

    if isinstance(sequences, tf.RaggedTensor):
        sequences = sequences.to_list() if sequences.ragged_rank > 1 else list(sequences)
    found = []
    for number, sequence in enumerate(sequences):
        try:
            one = np.asarray(sequence)
        except ValueError:
            raise ValueError(
                f"The steps of sequence {number} of `{name}` differ in their number of channels: "
                "sequences differ in their number of steps alone."
            ) from None
        if one.dtype.kind not in "buif":
            raise ValueError(f"Sequence {number} of `{name}` holds {one.dtype}, not numbers.")
        if one.ndim == 0 or one.size == 0:
            raise ValueError(
                f"Sequence {number} of `{name}` has no steps: leave it out, or give a step of NaN "
                "for one that was not observed."
            )
        one = one[:, None] if one.ndim == 1 else one
        if found and one.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"The steps of sequence {number} of `{name}` have shape {one.shape[1:]}, those of "
                f"sequence 0 {found[0].shape[1:]}: sequences differ in their number of steps alone."
            )
        found.append(one)
    if not found:
        raise ValueError(f"`{name}` holds no sequences.")
    longest = int(np.argmax([len(one) for one in found]))
    steps = len(found[longest]) if steps is None else steps
    if len(found[longest]) > steps:
        raise ValueError(_too_long(name, f"sequence {longest}", len(found[longest]), steps))
    array = np.full((len(found), steps, *found[0].shape[1:]), np.nan, np.float32)
    for row, one in zip(array, found, strict=True):
        row[: len(one)] = one
    return array


def unpadded(x: Any) -> list[np.ndarray]:
    """Returns the sequences of an array, up to the last step of which something is not NaN.

    Args:
        x: array `[n, steps, channels]`.

    Returns:
        list of arrays `[steps, channels]`.

    Example:

    ```python
    kvae.datasets.unpadded([[[1.0], [2.0]], [[3.0], [np.nan]]])  # of 2 steps and of 1
    ```
    """
    x = np.asarray(x)
    there = np.asarray(masks.until_last(masks.observed(x)))
    return [row[own] for row, own in zip(x, there, strict=True)]


def is_ragged(x: Any) -> bool:
    """Checks whether x holds sequences of different lengths: a list, or a `tf.RaggedTensor`."""
    import tensorflow as tf

    if isinstance(x, tf.RaggedTensor):
        return True
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind == "O" and getattr(x, "ndim", 0) == 1:  # Of NumPy or pandas.
        x = list(x)
    if not isinstance(x, list) or not x:
        return False
    lengths = {_length(one) for one in x}
    return len(lengths) > 1 or lengths == {0}


def at_full_length(x: Any, event_shape: Sequence[int], name: str = "x") -> Any:
    """Returns sequences with as many steps as a model's events have, NaN after their end.

    Args:
        x: list of sequences, `tf.RaggedTensor`, array or tensor `[n, steps, channels]`, which may
            be one of a graph. Anything else is returned as it is.
        event_shape: tuple `(steps, channels)`.
        name: str. What errors call the sequences. Defaults to `"x"`.

    Raises:
        ValueError: for what `padded` refuses.
    """
    import tensorflow as tf

    steps, *channels = event_shape
    if isinstance(x, tf.RaggedTensor) and tf.is_symbolic_tensor(x.flat_values):
        x = tf.cast(x, tf.float32)
        if x.shape.rank == 2:
            x = tf.expand_dims(x, -1)
        x = x.to_tensor(default_value=np.float32(np.nan))
    elif is_ragged(x) or (channels == [1] and _of_numbers(x)):
        return padded(x, steps, name)
    shape = tf.TensorShape(getattr(x, "shape", None))
    if shape.rank != 3 or not shape[2:].is_compatible_with(channels) or shape[1] == steps:
        return x
    if shape[1] is None:
        return _filled_up(x, steps, channels, name)
    if shape[1] > steps:
        raise ValueError(_too_long(name, "a sequence", shape[1], steps))
    ends = [[0, 0], [0, steps - shape[1]], [0, 0]]
    if tf.is_tensor(x):
        return tf.pad(tf.cast(x, tf.float32), ends, constant_values=np.float32(np.nan))
    return np.pad(x.astype(np.float32), ends, constant_values=np.nan)


def _of_numbers(x) -> bool:
    """Checks whether x is a list of sequences of numbers, which have one channel."""
    return isinstance(x, list) and bool(x) and np.ndim(x[0]) == 1


def _filled_up(x, steps: int, channels, name: str):
    """Does so to a tensor of a graph, whose number of steps is not known yet."""
    import tensorflow as tf

    there = tf.shape(x)[1]
    fits = tf.debugging.Assert(
        there <= steps, [_too_long(name, "a sequence of a batch", "more", steps)]
    )
    with tf.control_dependencies([] if fits is None else [fits]):
        ends = [[0, 0], [0, tf.maximum(steps - there, 0)], [0, 0]]
        x = tf.pad(tf.cast(x, tf.float32), ends, constant_values=np.float32(np.nan))
    return tf.ensure_shape(x[:, :steps], (None, steps, *channels))


def _too_long(name: str, which: str, length, steps: int) -> str:
    return (
        f"`{name}` has {which} of {length} steps, and the model takes at most {steps}: cut it, "
        "or make a model with a longer event_shape."
    )


def _length(sequence) -> int:
    if isinstance(sequence, (list, tuple)):
        return len(sequence)
    shape = getattr(sequence, "shape", ())
    return int(shape[0]) if len(shape) else -1
