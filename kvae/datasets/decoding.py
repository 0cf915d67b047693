"""The reading of image files, which is the same in training and in an exported model."""

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvae.utils import forks
from kvae.utils.names import unknown_name

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

__all__ = ["FITS", "MAX_PIXELS", "MODES", "decode_image", "read_images"]

FITS = ("stretch", "crop")
# The number of channels, and what images of so many channels are called.
MODES = {1: "grey", 3: "RGB", 4: "RGBA"}
# A file of a few bytes may promise more pixels than there is memory for. This is Pillow's bound.
MAX_PIXELS = 178_956_970

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_ORIENTATION = 0x0112
# ITU-R 601 luma in units of 1/65536.
_LUMA = (19595, 38470, 7471)


def decode_image(
    contents: "tf.Tensor",
    shape: tuple[int, int, int],
    fit: str = "stretch",
    max_pixels: int | None = MAX_PIXELS,
) -> "tf.Tensor":
    """Turns the contents of a PNG or JPEG file into pixels, by operations of a TensorFlow graph.

    The reading is the same wherever it happens, to the bit:

    1. Numbers of 16 bits become numbers of 8, by rounding v · 255 / 65535. Palettes, CMYK and grey
       become RGB.
    2. The image is turned upright, by its Exif orientation.
    3. Unless 4 channels are asked for, what is transparent is laid on white.
    4. The image is brought to its size, bilinearly and with antialiasing. One of the right size
       keeps its numbers. With 4 channels, colours count as much as they are opaque.
    5. Numbers are rounded. Where 1 channel is asked for, it is the ITU-R 601 luma of the colours.

    Colour profiles and gamma are not applied.

    Args:
        contents: string tensor, a scalar. The file.
        shape: tuple of int. `(height, width, channels)`, 1, 3 or 4 channels.
        fit: str. `"stretch"` resizes height and width separately; `"crop"` keeps the proportions
            and cuts off what sticks out, evenly on both sides. Defaults to `"stretch"`.
        max_pixels: int. The largest image that is decoded.

    Returns:
        uint8 tensor `[height, width, channels]`.

    Raises:
        tf.errors.InvalidArgumentError: if it is neither a PNG nor a JPEG file, is damaged or has
            too many pixels.

    Example:

    ```python
    pixels = decode_image(tf.io.read_file("face.jpg"), (64, 64, 3), fit="crop")
    ```
    """
    import tensorflow as tf

    if fit not in FITS:
        raise unknown_name("fit", fit, FITS)
    contents = tf.convert_to_tensor(contents)
    is_png = tf.equal(_head(contents, len(_PNG)), _PNG)
    is_jpeg = tf.equal(_head(contents, len(_JPEG)), _JPEG)
    known = tf.debugging.Assert(is_png | is_jpeg, ["An image is a PNG or a JPEG file."])
    with tf.control_dependencies([known]):
        pixels = tf.cond(
            is_png,
            lambda: _decode_png(contents, max_pixels),
            lambda: _decode_jpeg(contents, max_pixels),
        )
    return _resized(pixels, shape, fit)


def read_images(
    paths: Sequence[str | os.PathLike], shape: tuple[int, int, int], fit: str = "stretch"
) -> "np.ndarray":
    """Reads files with `decode_image`; returns a uint8 array `[n, height, width, channels]`.

    Raises:
        OSError: if a file cannot be opened.
        ValueError: if a file cannot be decoded; the message names it.
    """
    import tensorflow as tf

    forks.check()
    decode = _compiled(tuple(shape), fit)
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    try:
        return decode(contents).numpy()
    except tf.errors.OpError:
        for path, content in zip(paths, contents, strict=True):
            try:
                decode([content])
            except tf.errors.OpError as error:
                raise ValueError(
                    f"{path} cannot be read as a PNG or JPEG image ({_reason(error.message)}). "
                    "Repair or remove it."
                ) from None
        raise


@functools.lru_cache(maxsize=32)
def _compiled(shape, fit):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def decode(contents):
        with tf.device("/CPU:0"):  # Decoders have no other place.
            return tf.map_fn(
                lambda content: decode_image(content, shape, fit),
                tf.convert_to_tensor(contents),  # A list still, where functions run eagerly.
                fn_output_signature=tf.TensorSpec(shape, tf.uint8),
                parallel_iterations=4,
            )

    return decode


def _reason(message: str) -> str:
    """Returns the line in which TensorFlow says what was wrong, among those that say where."""
    places = ("Graph execution error", "Detected at node", "File ", "[[{{node")
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(places)] or lines
    return lines[0].removeprefix("assertion failed: [").removesuffix("]").removesuffix(".")


def _head(contents, size: int):
    """Returns the first `size` bytes, filled up with zeros."""
    import tensorflow as tf

    padded = tf.strings.join([tf.strings.substr(contents, 0, size), tf.constant(b"\0" * size)])
    return tf.strings.substr(padded, 0, size)


def _fits(height, width, max_pixels: int):
    import tensorflow as tf

    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    fits = (height > 0) & (width > 0) & (pixels <= max_pixels)
    return tf.debugging.Assert(fits, [f"An image has from 1 to {max_pixels} pixels."])


def _decode_jpeg(contents, max_pixels: int):
    """Returns uint8 RGBA `[height, width, 4]`, all of it opaque."""
    import tensorflow as tf

    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(contents), num=3)
    with tf.control_dependencies([_fits(height, width, max_pixels)]):
        # The accurate transform is what Pillow takes, too: decoders agree to the bit.
        pixels = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
    opaque = tf.pad(pixels, [[0, 0], [0, 0], [0, 1]], constant_values=tf.constant(255, tf.uint8))
    return _upright(opaque, _after(contents, b"Exif\0\0"))


def _decode_png(contents, max_pixels: int):
    """Returns uint8 RGBA `[height, width, 4]`."""
    import tensorflow as tf

    # The signature, a length and a name; then the width, the height and the bits of a number.
    header = tf.io.decode_raw(_head(contents, 25), tf.uint8)
    sizes = tf.io.decode_raw(
        tf.strings.substr(_head(contents, 24), 16, 8), tf.int32, little_endian=False
    )
    bits = header[24]

    def wide():
        pixels = tf.io.decode_png(contents, channels=4, dtype=tf.uint16)
        return tf.cast((tf.cast(pixels, tf.int32) + 128) // 257, tf.uint8)

    def narrow():
        pixels = tf.io.decode_png(contents, channels=4)
        # TensorFlow calls numbers of fewer than 8 bits opaque at their own largest value, not 255.
        few = (bits < 8) & tf.equal(tf.size(_after(contents, b"tRNS")), 0)
        return tf.cond(few, lambda: tf.maximum(pixels, [0, 0, 0, 255]), lambda: pixels)

    with tf.control_dependencies([_fits(sizes[1], sizes[0], max_pixels)]):
        pixels = tf.cond(tf.equal(bits, 16), wide, narrow)
        return _upright(pixels, _after(contents, b"eXIf"))


def _after(contents, name: bytes):
    """Returns what follows the first `name` in a file, a vector of one string or of none."""
    import tensorflow as tf

    parts = tf.raw_ops.StringSplitV2(input=contents[None], sep=name, maxsplit=1)
    return parts.values[1:]


def _upright(pixels, exif):
    """Turns and mirrors an image as its Exif data ask for: a vector of one string or of none."""
    import tensorflow as tf

    def turned():
        orientation = _orientation(exif[0])
        across = orientation >= 5
        turned = tf.cond(across, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        vertical = tf.reduce_any(tf.equal(orientation, [3, 4, 7, 8]))
        horizontal = tf.reduce_any(tf.equal(orientation, [2, 3, 6, 7]))
        return tf.reverse(turned, tf.where(tf.stack([vertical, horizontal]))[:, 0])

    return tf.cond(tf.size(exif) > 0, turned, lambda: pixels)


def _orientation(exif):
    """Returns the orientation, from 1 to 8, that Exif data say; 1 where they say none."""
    import tensorflow as tf

    little = tf.strings.regex_full_match(_head(exif, 4), r"II\*\x00")
    big = tf.strings.regex_full_match(_head(exif, 4), r"MM\x00\*")
    data = tf.cast(tf.io.decode_raw(tf.strings.substr(exif, 0, 1 << 16), tf.uint8), tf.int32)
    size = tf.size(data)
    data = tf.concat([data, [0]], axis=0)  # Behind the end, zeros are read: no tag is 0.

    def numbers(places, count: int):
        at = places[:, None] + tf.range(count)
        read = tf.gather(data, tf.where((at < 0) | (at > size), size, at))
        weights = [256**power for power in range(count)]
        return tf.reduce_sum(read * tf.where(little, weights, weights[::-1]), axis=-1)

    directory = numbers(tf.constant([4]), 4)
    entries = directory + 2 + 12 * tf.range(numbers(directory, 2)[0])
    said = tf.equal(numbers(entries, 2), _ORIENTATION) & (little | big)
    found = tf.concat([tf.boolean_mask(numbers(entries + 8, 2), said), [1]], axis=0)[0]
    return tf.where((found >= 1) & (found <= 8), found, 1)


def _resized(pixels, shape, fit: str):
    """Brings uint8 RGBA of any size to uint8 of `shape`."""
    import tensorflow as tf

    height, width, channels = shape
    alpha = pixels[..., 3:]

    def on_white():
        share, colours = (tf.cast(part, tf.int32) for part in (alpha, pixels[..., :3]))
        return tf.cast((colours * share + 255 * (255 - share) + 127) // 255, tf.uint8)

    def scaled(values):
        size = tf.cast(tf.shape(pixels)[:2], tf.float32)
        target = tf.constant((height, width), tf.float32)
        scale = target / size
        if fit == "crop":
            scale = tf.ones(2) * tf.reduce_max(scale)
        return tf.raw_ops.ScaleAndTranslate(
            images=values[None],
            size=(height, width),
            scale=scale,
            translation=(target - size * scale) / 2.0 if fit == "crop" else tf.zeros(2),
            kernel_type="triangle",
            antialias=True,
        )[0]

    if channels == 4:
        # Premultiplied: colours below what is transparent would bleed into their neighbours.
        colours, share = tf.cast(pixels[..., :3], tf.float32), tf.cast(alpha, tf.float32)
        values = scaled(tf.concat([colours, colours * share, share], axis=-1))
        colours, weighted, share = values[..., :3], values[..., 3:6], values[..., 6:]
        colours = tf.where(share > 0, tf.math.divide_no_nan(weighted, share), colours)
        values = tf.concat([colours, share], axis=-1)
    else:
        opaque = tf.reduce_all(tf.equal(alpha, 255))
        values = scaled(tf.cond(opaque, lambda: pixels[..., :3], on_white))
    values = tf.cast(tf.round(values), tf.int32)
    if channels == 1:
        luma = tf.reduce_sum(values * tf.constant(_LUMA), axis=-1, keepdims=True)
        values = tf.bitwise.right_shift(luma + (1 << 15), 16)
    return tf.ensure_shape(tf.cast(tf.clip_by_value(values, 0, 255), tf.uint8), shape)
