"""The one source of noise: stateless, and equal with and without XLA.

Every draw in the library comes from a *seed*, an int32 tensor of shape `[2]`, through TensorFlow's
Philox generator. The algorithm is named on purpose: `"auto_select"` draws other numbers under XLA.
"""

import keras
import tensorflow as tf

__all__ = ["as_seed", "fold_in", "normal", "split", "uniform"]

_PHILOX = "philox"


def as_seed(seed) -> tf.Tensor:
    """Turns anything that names a stream of random numbers into an int32 tensor of shape `[2]`.

    Args:
        seed: int (0 ≤ seed < 2**62), `keras.random.SeedGenerator` (advanced by one step), or an
            integer tensor of shape `[2]`.

    Raises:
        TypeError: for anything else, `None` included: randomness is explicit.
        ValueError: for an integer out of range.
    """
    if isinstance(seed, keras.random.SeedGenerator):
        return tf.cast(seed.next(), tf.int32)
    if isinstance(seed, bool) or seed is None:
        raise TypeError(f"A seed is an integer or a keras.random.SeedGenerator, not {seed!r}.")
    if hasattr(seed, "__index__") and getattr(seed, "shape", ()) == ():
        value = int(seed)
        if not 0 <= value < 2**62:
            raise ValueError(f"A seed is an integer from 0 to 2**62 - 1, not {value}.")
        return tf.constant([value & 0x7FFFFFFF, value >> 31], tf.int32)
    if getattr(seed, "shape", None) is not None and tuple(seed.shape) == (2,):
        return tf.cast(seed, tf.int32)
    raise TypeError(
        "A seed is an integer, a keras.random.SeedGenerator or an integer tensor of shape [2], "
        f"not {seed!r}."
    )


def fold_in(seed, data) -> tf.Tensor:
    """Makes the seed number `data` (an integer, may be a tensor) of the family named by `seed`."""
    return tf.random.experimental.stateless_fold_in(as_seed(seed), data, alg=_PHILOX)


def split(seed, num: int = 2) -> list[tf.Tensor]:
    """Makes `num` independent seeds out of one."""
    return tf.unstack(tf.random.experimental.stateless_split(as_seed(seed), num, alg=_PHILOX))


def normal(shape, seed, dtype="float32") -> tf.Tensor:
    """Draws from N(0, 1)."""
    return tf.random.stateless_normal(shape, as_seed(seed), dtype=dtype, alg=_PHILOX)


def uniform(shape, seed, dtype="float32") -> tf.Tensor:
    """Draws from the uniform distribution on [0, 1)."""
    return tf.random.stateless_uniform(shape, as_seed(seed), dtype=dtype, alg=_PHILOX)
