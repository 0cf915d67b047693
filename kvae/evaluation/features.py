"""Features of images, in which their sets are compared."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kvae.utils import names

__all__ = ["classifier_features", "image_features", "inception_features"]

_BATCH = 500


def image_features(kind) -> tuple[str, Callable]:
    """Returns the name of features, and the function from images `[n, h, w, c]` to `[n, d]`.

    Args:
        kind: `"pixels"`, `"inception"`, the name of a shipped classifier (`"digits"`, `"mnist"`), a
            Keras model, or a function.

    Raises:
        ValueError: for an unknown name.
    """
    import zoo

    if isinstance(kind, keras.Model):
        return kind.name, lambda images: _flat(kind.predict(images, _BATCH, verbose=0))
    if callable(kind):
        return getattr(kind, "__name__", type(kind).__name__), lambda images: _flat(kind(images))
    if kind == "pixels":
        return kind, _flat
    if kind == "inception":
        return "InceptionV3 (Keras)", inception_features()
    if kind in zoo.list_classifiers():
        return f"classifier of {kind}", classifier_features(kind)
    raise names.unknown_name("features", kind, ["pixels", "inception", *zoo.list_classifiers()])


def classifier_features(name: str) -> Callable:
    """Returns the last hidden layer of the shipped classifier of a data set, as a function.

    Args:
        name: str. One of `zoo.list_classifiers()`.

    Returns:
        callable. Images `[n, h, w, c]` in [0, 1] to float32 `[n, 64]`.
    """
    import zoo

    classifier = zoo.load_classifier(name)

    def features(images):
        images = np.asarray(images, np.float32)
        if images.shape[1:] != classifier.input_shape[1:]:
            raise ValueError(
                f"The classifier of {name} takes images {classifier.input_shape[1:]}, not "
                f"{images.shape[1:]}. Give `features` of another kind, e.g. 'pixels'."
            )
        return classifier.predict(images, batch_size=_BATCH, verbose=0)["features"]

    return features


def inception_features(weights="imagenet", batch_size: int = 64) -> Callable:
    """Returns the pooled features of Keras's InceptionV3, as a function.

    They are for natural images. A Fréchet distance of them is no FID: that is defined by other
    weights of this network and another scaling of the images, and the figures differ.

    Args:
        weights: str or path. `"imagenet"`, which Keras downloads when it is first used, or a file
            `inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`.
        batch_size: int. Images at once, each scaled to 299 × 299. Defaults to `64`.

    Returns:
        callable. Images `[n, h, w, 1 or 3]` in [0, 1] to float32 `[n, 2048]`.

    Raises:
        FileNotFoundError: where the weights can be neither found nor downloaded.
    """
    try:
        network = keras.applications.InceptionV3(
            include_top=False, pooling="avg", weights=weights, input_shape=(299, 299, 3)
        )
    except Exception as error:  # Keras raises a plain Exception where it cannot download.
        raise FileNotFoundError(
            f"The weights {str(weights)!r} of InceptionV3 are not there: {error} Connect to the "
            "network once, or give inception_features(weights=FILE) the file "
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5."
        ) from error

    def features(images):
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"Inception takes images [n, h, w, 1 or 3], not {images.shape}.")
        found = []
        for start in range(0, len(images), batch_size):
            batch = tf.image.resize(images[start : start + batch_size], (299, 299), antialias=True)
            batch = tf.repeat(batch, 3 // images.shape[-1], axis=-1)
            found.append(network(2.0 * batch - 1.0, training=False).numpy())
        return np.concatenate(found)

    return features


def _flat(values) -> np.ndarray:
    values = np.asarray(values, np.float32)
    return values.reshape(len(values), -1)
