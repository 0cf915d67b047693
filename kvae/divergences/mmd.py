"""The maximum mean discrepancy between two samples."""

import tensorflow as tf
from keras import ops

from kvae.utils import names

__all__ = ["SCALES", "mmd"]

_KERNELS = ("imq", "rbf")
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(x, y, kernel: str = "imq", bandwidth=None, scales=SCALES, unbiased: bool = True):
    """Estimates the squared maximum mean discrepancy between the distributions of `x` and `y`.

    It is `E k(x, x') + E k(y, y') − 2 E k(x, y)`, which is 0 for equal distributions and otherwise
    more, with a kernel `k` of the squared distance r:

    - `"imq"`, the inverse multiquadric: `C / (C + r)`, whose tails are heavy enough to draw in
      codes that lie far off;
    - `"rbf"`, the Gaussian: `exp(−r / C)`.

    `k` is the sum of the kernel with `C = s * bandwidth` for each `s` of `scales`, so that the
    result is sensitive to differences of several sizes.

    Args:
        x: tensor `[..., n, latent_dim]`. Draws from the one distribution.
        y: tensor `[..., m, latent_dim]`. Draws from the other; the leading axes are those of `x`.
        kernel: str. `"imq"` or `"rbf"`. Defaults to `"imq"`.
        bandwidth: float or `None`. A squared length. Defaults to `None`: `2 * latent_dim`, the
            mean squared distance of two draws from N(0, I).
        scales: sequence of float. Defaults to `(0.1, 0.2, 0.5, 1, 2, 5, 10)`.
        unbiased: bool. Whether pairs of a draw with itself are left out (the U-statistic, which may
            come out below 0) or not (the V-statistic, never below 0 and too large by about 1/n of
            the kernel at r = 0). Of a single draw the U-statistic takes that term as 0. Defaults
            to `True`.

    Returns:
        Tensor `[...]`, no unit.

    Raises:
        ValueError: for an unknown kernel, and for scales or a bandwidth that are not positive.

    Example:

    ```python
    z = kvae.random.normal([500, 2], seed=0)
    kvae.divergences.mmd(z + 1.0, kvae.random.normal([500, 2], seed=1))     # 0.92
    ```

    References:
        - [Gretton et al., A Kernel Two-Sample Test, lemma 6](
          https://jmlr.org/papers/v13/gretton12a.html)
        - [Tolstikhin et al., Wasserstein Auto-Encoders, section 4](
          https://arxiv.org/abs/1711.01558): the kernel and its bandwidth
    """
    check_kernel(kernel, bandwidth, scales)
    x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    bandwidth = 2.0 * x.shape[-1] if bandwidth is None else bandwidth

    def within(values):
        similar = _kernel(values, values, kernel, bandwidth, scales)
        count = tf.cast(tf.shape(values)[-2], values.dtype)
        if not unbiased:
            return ops.sum(similar, axis=(-2, -1)) / count**2
        others = 1.0 - tf.eye(tf.shape(values)[-2], dtype=values.dtype)
        return ops.sum(others * similar, axis=(-2, -1)) / (count * ops.maximum(count - 1.0, 1.0))

    across = ops.mean(_kernel(x, y, kernel, bandwidth, scales), axis=(-2, -1))
    return within(x) + within(y) - 2.0 * across


def check_kernel(kernel, bandwidth, scales) -> None:
    """Checks the arguments of `mmd` that describe the kernel.

    Raises:
        ValueError: for an unknown kernel, and for scales or a bandwidth that are not positive.
    """
    if kernel not in _KERNELS:
        raise names.unknown_name("kernel", kernel, _KERNELS)
    if bandwidth is not None and not bandwidth > 0:
        raise ValueError(f"`bandwidth` is None or more than 0, a squared length, not {bandwidth}.")
    if not len(scales) or not all(scale > 0 for scale in scales):
        raise ValueError(f"`scales` are one or more numbers above 0, not {scales}.")


def _kernel(x, y, kernel, bandwidth, scales):
    # Relative to the centre of `y` the squares are small, and little of them cancels.
    centre = tf.stop_gradient(tf.reduce_mean(y, axis=-2, keepdims=True))
    x, y = x - centre, y - centre
    products = tf.linalg.matmul(x, y, transpose_b=True)
    squares_x, squares_y = (ops.sum(ops.square(values), axis=-1) for values in (x, y))
    squared = ops.relu(squares_x[..., :, None] + squares_y[..., None, :] - 2.0 * products)
    if kernel == "rbf":
        return sum(ops.exp(-squared / (scale * bandwidth)) for scale in scales)
    return sum(scale * bandwidth / (scale * bandwidth + squared) for scale in scales)
