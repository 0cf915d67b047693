"""The one source of noise: stateless, and equal with and without XLA.

Every draw in the library comes from a *seed*, an int32 tensor of shape `[2]`, through TensorFlow's
Philox generator. The algorithm is named on purpose: `"auto_select"` draws other bits under XLA.
Even so XLA turns the same bits into other floats, so the last step is made here, the way that
TensorFlow's kernels make it: the numbers are those of `tf.random.stateless_*` without XLA.
"""

import contextlib
import math
import operator
import random as python_random
import threading
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from kvae.utils import forks, keras_internals

__all__ = [
    "as_seed",
    "fold_in",
    "gumbel",
    "initial_weights",
    "laplace",
    "logistic",
    "normal",
    "open_uniform",
    "shuffled",
    "split",
    "to_gumbel",
    "to_laplace",
    "to_logistic",
    "to_open",
    "uniform",
    "weights_are_seeded",
]

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"kvae runs on Keras's TensorFlow backend, and Keras uses {keras.backend.backend()!r}. Set "
        "KERAS_BACKEND=tensorflow before Keras is imported."
    )

_PHILOX = 1  # The number of the algorithm in TensorFlow's operations.
_PHILOX_KEY = np.array([0x02461E293EC8F720], np.uint64)
# Keras reads the state of a generator and then writes it: threads would draw the same seed.
_one_step = threading.Lock()
_blocks = 0  # Those of `initial_weights` that the program is in.


def as_seed(seed) -> tf.Tensor:
    """Turns anything that names a stream of random numbers into an int32 tensor of shape `[2]`.

    Args:
        seed: int (0 ≤ seed < 2**62), `keras.random.SeedGenerator` (advanced by one step; threads
            that share it get different seeds), or an integer tensor of shape `[2]`.

    Raises:
        RuntimeError: in a process that was forked after TensorFlow had been used.
        TypeError: for anything else, `None` included: randomness is explicit.
        ValueError: for an integer out of range.
    """
    forks.check()
    if isinstance(seed, keras.random.SeedGenerator):
        with _one_step:
            return tf.cast(seed.next(), tf.int32)
    if isinstance(seed, bool) or seed is None:
        raise TypeError(f"A seed is an integer or a keras.random.SeedGenerator, not {seed!r}.")
    if hasattr(seed, "__index__") and getattr(seed, "shape", ()) == ():
        value = int(seed)
        if not 0 <= value < 2**62:
            raise ValueError(f"A seed is an integer from 0 to 2**62 - 1, not {value}.")
        return tf.constant([value & 0x7FFFFFFF, value >> 31], tf.int32)
    shape, dtype = getattr(seed, "shape", None), getattr(seed, "dtype", None)
    if shape is not None and tuple(shape) == (2,) and tf.as_dtype(dtype).is_integer:
        return tf.cast(seed, tf.int32)
    raise TypeError(
        "A seed is an integer, a keras.random.SeedGenerator or an integer tensor of shape [2], "
        f"not {seed!r}."
    )


def fold_in(seed, data) -> tf.Tensor:
    """Makes the seed number `data` (an integer, may be a tensor) of the family named by `seed`."""
    data = tf.convert_to_tensor(data)
    return tf.stack([_bits((), as_seed(seed), data.dtype), data])


def split(seed, num: int = 2) -> list[tf.Tensor]:
    """Makes `num` independent seeds out of one."""
    return tf.unstack(_bits((num, 2), as_seed(seed), tf.int32))


def shuffled(values, seed) -> tf.Tensor:
    """Returns the rows of a tensor in an order drawn by the seed; not under XLA.

    Args:
        values: tensor `[n, …]`.
        seed: integer tensor of shape `[2]`, all of whose bits count: those of data are int64.
    """
    key, counter = _philox(seed)
    return tf.raw_ops.StatelessShuffle(value=values, key=key, counter=counter, alg=_PHILOX)


def _bits(shape, seed, dtype):
    """Draws integers over their whole range."""
    key, counter = _philox(seed)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )


def _philox(seed):
    """Returns the key and the counter that `tf.random.stateless_*` make of a seed.

    They do it in many more operations, whose tracing took a third of the time of a pipeline's.
    """
    mixed = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=(2,),
        key=_PHILOX_KEY,
        counter=tf.cast(seed, tf.uint64),
        alg=_PHILOX,
        dtype=tf.uint64,
    )
    key, half = tf.split(mixed, 2)
    return key, tf.concat([np.zeros(1, np.uint64), half], axis=0)


def normal(shape, seed, dtype="float32") -> tf.Tensor:
    """Draws from N(0, 1); with and without XLA equal up to the last bits of log and sin."""
    shape = tf.cast(tf.convert_to_tensor(shape, dtype_hint=tf.int32), tf.int32)
    size = tf.reduce_prod(shape)
    # Box and Muller's pairs, as in tf.random.stateless_normal without XLA.
    first, second = tf.unstack(uniform([(size + 1) // 2, 2], seed), axis=1)
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(first, 1e-7)))
    angle = 2.0 * math.pi * second
    pairs = tf.stack([radius * tf.sin(angle), radius * tf.cos(angle)], axis=1)
    return tf.cast(tf.reshape(tf.reshape(pairs, [-1])[:size], shape), dtype)


def uniform(shape, seed, dtype="float32") -> tf.Tensor:
    """Draws from the uniform distribution on [0, 1), multiples of 2**-23."""
    bits = _bits(shape, as_seed(seed), tf.uint32)
    # 23 random bits are the mantissa of a float in [1, 2).
    mantissa = tf.bitwise.bitwise_and(bits, tf.constant(0x7FFFFF, tf.uint32))
    one = tf.constant(0x3F800000, tf.uint32)
    return tf.cast(tf.bitcast(tf.bitwise.bitwise_or(mantissa, one), tf.float32) - 1.0, dtype)


def open_uniform(shape, seed) -> tf.Tensor:
    """Draws from the uniform distribution on (0, 1), symmetric about 1/2: logs stay finite."""
    return to_open(uniform(shape, seed))


def laplace(shape, seed) -> tf.Tensor:
    """Draws from the standard Laplace distribution, whose density is exp(-|t|) / 2."""
    return to_laplace(uniform(shape, seed))


def logistic(shape, seed) -> tf.Tensor:
    """Draws from the standard logistic distribution."""
    return to_logistic(uniform(shape, seed))


def gumbel(shape, seed) -> tf.Tensor:
    """Draws from the standard Gumbel distribution: argmax(logits + gumbel) is a class drawn."""
    return to_gumbel(uniform(shape, seed))


def to_open(uniform) -> tf.Tensor:
    """Moves draws of `uniform` from [0, 1) into (0, 1), so that they are symmetric about 1/2."""
    return uniform + 2.0**-24


def to_laplace(uniform) -> tf.Tensor:
    """Turns draws of `uniform` into draws from the standard Laplace distribution."""
    centred = 2.0 * to_open(uniform) - 1.0
    return -tf.sign(centred) * tf.math.log1p(-tf.abs(centred))


def to_logistic(uniform) -> tf.Tensor:
    """Turns draws of `uniform` into draws from the standard logistic distribution."""
    uniform = to_open(uniform)
    return tf.math.log(uniform) - tf.math.log1p(-uniform)


def to_gumbel(uniform) -> tf.Tensor:
    """Turns draws of `uniform` into draws from the standard Gumbel distribution."""
    return -tf.math.log(-tf.math.log(to_open(uniform)))


@contextlib.contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Makes the initial weights of layers that are made and built in the block those of a seed.

    Like `keras.utils.set_random_seed`, but it leaves the program's random numbers as they were.
    Keras seeds an initializer that has no seed by Python's generator.

    Args:
        seed: int.

    Example:

    ```python
    with kvae.random.initial_weights(seed=1):
        vae = kvae.VAE(make_encoder(), make_decoder(), latent_dim=2)
    ```
    """
    global _blocks
    state = python_random.getstate()
    python_random.seed(operator.index(seed))
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1
        python_random.setstate(state)


def weights_are_seeded() -> bool:
    """Checks whether initial weights that are made now depend on a seed that the program named.

    They do in a block of `initial_weights`, and after `keras.utils.set_random_seed`.
    """
    return _blocks > 0 or keras_internals.global_seed() is not None
