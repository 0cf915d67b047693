"""The structural similarity of images at several scales."""

import numpy as np
import tensorflow as tf

__all__ = ["POWER_FACTORS", "ms_ssim", "scales_that_fit"]

# How much each scale counts, the finest first: Wang et al., section 3.2.
POWER_FACTORS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_LARGEST_WINDOW = 11
_SIGMA = 1.5  # Of a window of 11.


def scales_that_fit(side: int) -> tuple[int, tuple[float, ...]]:
    """Returns the size of the window and the factors for images whose shorter side is `side`.

    Images of 176 and more have the paper's window of 11 and its five factors. Those below 44 have a
    smaller window. Smaller images have fewer scales. They are large ones that were halved, so that
    their scales are the coarsest of the five, whose factors are divided by their sum.

    Raises:
        ValueError: for images of fewer than 3 pixels.
    """
    if side < 3:
        raise ValueError(
            "MS-SSIM, the measure of the objective ms_ssim, compares windows of 3 pixels at least, "
            f"and these images have {side}."
        )
    quarter = side // 4
    window = min(_LARGEST_WINDOW, max(3, quarter - 1 + quarter % 2))
    count, rest = 1, (side + 1) // 2
    while count < len(POWER_FACTORS) and rest >= window:
        count, rest = count + 1, (rest + 1) // 2
    coarsest = POWER_FACTORS[-count:]
    return window, tuple(factor / sum(coarsest) for factor in coarsest)


def ms_ssim(first, second, power_factors=POWER_FACTORS, window: int = 11, sigma=None):
    """Returns the MS-SSIM of images in [0, 1], from 0 to 1: 1 for equal ones.

    `Π_j cs_j^w_j · ssim^w_M` over the scales, each half as large as the one before: cs is the
    similarity of contrast and structure in windows with Gaussian weights, and ssim, at the coarsest
    scale, that of the brightness as well; both are averages over all windows. A negative average
    counts as 0. The values are those of `tf.image.ssim_multiscale`, whose gradient is NaN where an
    average is 0; here it is finite, too.

    Args:
        first, second: tensors `[..., height, width, channels]` whose shapes broadcast.
        power_factors: sequence of float. w, the finest scale first. Defaults to Wang's five.
        window: int. The side of a window. Defaults to `11`.
        sigma: float or `None`. Of its Gaussian weights, in pixels. Defaults to `None`: 1.5 for a
            window of 11, and in proportion for others.

    Returns:
        tensor `[...]`, the mean over the channels.

    Raises:
        ValueError: for images that are smaller than a window at the coarsest scale.

    Reference:
        - [Wang et al., Multi-Scale Structural Similarity for Image Quality Assessment](
          https://doi.org/10.1109/ACSSC.2003.1292216)
    """
    first, second = (tf.cast(images, tf.float32) for images in (first, second))
    sigma = _SIGMA * window / _LARGEST_WINDOW if sigma is None else sigma
    product: tf.Tensor | float = 1.0
    for index, factor in enumerate(power_factors):
        if index:
            first, second = _halved(first), _halved(second)
        if min(first.shape[-3:-1]) < window:
            raise ValueError(
                f"Images have {tuple(first.shape[-3:-1])} pixels at scale {index + 1} of "
                f"{len(power_factors)}, fewer than the window of {window}: choose fewer scales or "
                "a smaller window."
            )
        brightness, structure = _similarity(first, second, window, sigma)
        last = index == len(power_factors) - 1
        each = brightness * structure if last else structure
        product = product * _power(tf.reduce_mean(each, axis=(-3, -2)), factor)
    return tf.reduce_mean(product, axis=-1)


def _similarity(first, second, window: int, sigma: float):
    """Returns the similarity of brightness, and of contrast and structure, of each window."""
    small = 0.01**2, 0.03**2
    blur = [_blur(size, window, sigma) for size in first.shape[-3:-1]]

    def local(images):
        return tf.einsum("ih,...hwc,jw->...ijc", blur[0], images, blur[1])

    means = local(first), local(second)
    product, squares = means[0] * means[1], means[0] ** 2 + means[1] ** 2
    covariance = local(first * second) - product
    variances = local(first**2 + second**2) - squares
    brightness = (2.0 * product + small[0]) / (squares + small[0])
    return brightness, (2.0 * covariance + small[1]) / (variances + small[1])


def _blur(size: int, window: int, sigma: float) -> np.ndarray:
    """Returns the matrix that averages a row in each window, `[size − window + 1, size]`."""
    places = np.arange(window) - (window - 1) / 2
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    found = np.zeros((size - window + 1, size), np.float32)
    for row in range(len(found)):
        found[row, row : row + window] = weights / weights.sum()
    return found


def _halved(images):
    """Returns the means of 2 × 2 pixels; an odd last row or column counts twice."""
    for axis in (-3, -2):
        if images.shape[axis] % 2:
            rows, columns = (slice(-1, None) if axis == a else slice(None) for a in (-3, -2))
            images = tf.concat([images, images[..., rows, columns, :]], axis=axis)
    images = images[..., 0::2, :, :] + images[..., 1::2, :, :]
    return 0.25 * (images[..., 0::2, :] + images[..., 1::2, :])


def _power(value, factor: float):
    """Returns max(value, 0)^factor, with the gradient 0 where the value is not positive."""
    positive = value > 0.0
    return tf.where(positive, tf.where(positive, value, 1.0) ** factor, 0.0)
