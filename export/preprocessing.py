"""What clients send as an image, and how it becomes what the model takes, within the graph."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from kvae import names

__all__ = ["PREPROCESSING", "Images", "images"]

PREPROCESSING = ("float32", "uint8", "png")

_CHANNELS = (1, 3, 4)
# A file of a few bytes may promise more pixels than there is memory.
MAX_PIXELS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Images:
    """A way to send images.

    Attributes:
        suffix: str. What the name of an input of this kind ends in.
        spec: `tf.TensorSpec` of one image.
        decode: callable. A batch of them to events, float32 `[batch, *event]`.
    """

    suffix: str
    spec: tf.TensorSpec
    decode: Callable[[tf.Tensor], tf.Tensor]

    def input(self, name: str, batch: int | None) -> tf.TensorSpec:
        """Returns the input of a signature that takes a batch of them."""
        return tf.TensorSpec((batch, *self.spec.shape), self.spec.dtype, name + self.suffix)


def images(model, preprocessing: str | None = None) -> Images:
    """Gives the way to send images to `model` that `preprocessing` names.

    Args:
        model: `kvae.VAE`. Built.
        preprocessing: str or `None`. `"float32"` (`None`): events as the model takes them.
            `"uint8"`: intensities from 0 to 255, divided by 255; the numbers themselves where the
            likelihood is one of whole numbers. `"png"`: files, whose pixels are treated like that,
            after they have been brought to the model's channels, and are brought to its size.

    Raises:
        ValueError: for an unknown name, and for `"png"` where events are no images.
    """
    if preprocessing not in (None, *PREPROCESSING):
        raise names.unknown_name("preprocessing", preprocessing, PREPROCESSING)
    event = tuple(model.event_shape)
    if preprocessing in (None, "float32"):
        return Images("", tf.TensorSpec(event, tf.float32), lambda values: values)
    scale = 1.0 if model.likelihood.whole_numbers else 255.0
    if preprocessing == "uint8":
        return Images(
            "", tf.TensorSpec(event, tf.uint8), lambda values: tf.cast(values, tf.float32) / scale
        )
    if len(event) != 3 or event[-1] not in _CHANNELS:
        raise ValueError(
            f"Preprocessing 'png' makes events [height, width, channels] of 1, 3 or 4 channels, "
            f"and {model.name!r} takes {event}. Use 'float32' or 'uint8'."
        )

    def decode(file):
        with tf.control_dependencies(_checked(file)):
            pixels = tf.io.decode_png(file, channels=event[-1])
        # An image of the right size keeps its bits.
        pixels = tf.image.resize(tf.cast(pixels, tf.float32), event[:2], antialias=True)
        return tf.ensure_shape(tf.round(pixels) / scale, event)

    return Images(
        "_bytes",
        tf.TensorSpec((), tf.string),
        lambda files: tf.map_fn(
            decode, files, fn_output_signature=tf.TensorSpec(event), parallel_iterations=1
        ),
    )


def _checked(file) -> list:
    """Assertions that a file is a PNG, and says to be of a size that can be decoded."""
    # The signature, a length and a name; then the width and the height, from the 16th byte on.
    head = tf.strings.substr(tf.strings.join([file, tf.constant(b"\0" * 24)]), 0, 24)
    is_png = tf.equal(tf.strings.substr(head, 0, 8), b"\x89PNG\r\n\x1a\n")
    sizes = tf.io.decode_raw(tf.strings.substr(head, 16, 8), tf.int32, little_endian=False)
    pixels = tf.reduce_prod(tf.cast(sizes, tf.int64))
    fits = tf.reduce_all(sizes > 0) & (pixels <= MAX_PIXELS)
    return [
        tf.debugging.Assert(is_png, ["An image is sent as a PNG file."]),
        tf.debugging.Assert(fits | ~is_png, [f"An image has at most {MAX_PIXELS} pixels."]),
    ]
