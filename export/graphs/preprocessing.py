"""The ways in which clients may send images, and the graphs that turn them into events."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from export.signatures import FILE_SUFFIX, PREPROCESSING
from kvae.datasets.decoding import MODES, decode_image
from kvae.utils import names

__all__ = ["Images", "images"]

# The largest image: a file of a few bytes may promise more pixels than there is memory.
MAX_PIXELS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Images:
    """A way to send images.

    Attributes:
        suffix: str. The ending of the name of an input of this kind.
        spec: `tf.TensorSpec` of one image.
        decode: callable. Turns a batch of them into events, float32 `[batch, *event]`.
    """

    suffix: str
    spec: tf.TensorSpec
    decode: Callable[[tf.Tensor], tf.Tensor]

    def input(self, name: str, batch: int | None) -> tf.TensorSpec:
        """Returns the input of a signature that takes a batch of them."""
        return tf.TensorSpec((batch, *self.spec.shape), self.spec.dtype, name + self.suffix)


def images(model, preprocessing: str | None = None, fit: str = "stretch") -> Images:
    """Returns the way to send images that `preprocessing` names.

    Args:
        model: `kvae.VAE`. Built.
        preprocessing: str or `None`. `"float32"` (`None`): events as the model takes them.
            `"uint8"`: intensities from 0 to 255, divided by 255; the numbers themselves where the
            likelihood is one of whole numbers. `"png"`: PNG or JPEG files, which are read as
            `kvae.datasets.from_folder` reads them, and whose intensities are then treated as
            those of `"uint8"`.
        fit: str. As of `kvae.datasets.from_folder`, for `"png"`. Defaults to `"stretch"`.

    Raises:
        ValueError: for an unknown name, for `"png"` where events are no images, and for a `fit`
            where there are no files to fit.
    """
    if preprocessing not in (None, *PREPROCESSING):
        raise names.unknown_name("preprocessing", preprocessing, PREPROCESSING)
    if fit != "stretch" and preprocessing != "png":
        raise ValueError(f"`fit` is for preprocessing 'png', not {preprocessing or 'float32'!r}.")
    event = tuple(model.event_shape)
    if preprocessing not in (None, "float32") and model.modalities:
        raise ValueError(
            f"The modalities of {model.name!r} are sent as the model takes them: leave out "
            f"preprocessing={preprocessing!r}."
        )
    if preprocessing in (None, "float32"):
        return Images("", tf.TensorSpec(event, tf.float32), lambda values: values)
    # The quotients are looked up, since an optimized graph would multiply by 1 / 255.
    levels = np.arange(256, dtype=np.float32)
    levels = levels if model.likelihood.whole_numbers else levels / np.float32(255.0)

    def numbers(values):
        return tf.gather(levels, tf.cast(values, tf.int32))

    if preprocessing == "uint8":
        return Images("", tf.TensorSpec(event, tf.uint8), numbers)
    if len(event) != 3 or event[-1] not in MODES:
        raise ValueError(
            f"Preprocessing 'png' makes events [height, width, channels] of 1, 3 or 4 channels, "
            f"and {model.name!r} takes {event}. Use 'float32' or 'uint8'."
        )

    def decode(file):
        return numbers(decode_image(file, event, fit, MAX_PIXELS))

    return Images(
        FILE_SUFFIX,
        tf.TensorSpec((), tf.string),
        lambda files: tf.map_fn(
            decode, files, fn_output_signature=tf.TensorSpec(event), parallel_iterations=1
        ),
    )
