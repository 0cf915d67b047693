"""Features of images: the spaces in which sets of images are compared, by name."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kvae.utils.register import Register

__all__ = [
    "BATCH_SIZE",
    "classifier_features",
    "default_features",
    "image_features",
    "inception_features",
    "register_features",
    "registered_features",
]

Features = Callable[[np.ndarray], np.ndarray]

BATCH_SIZE = 500
_FEATURES = Register("features", group="kvae.features")


def register_features(name: str) -> Callable[[Callable[[], Features]], Callable[[], Features]]:
    """Returns a decorator that gives features of images a name.

    `sample_quality(vae, data, features=name)` then knows them, and uses them by default for the
    dataset of the same name. Code outside of this library is imported by your program, or announces
    itself as a plugin of the group `kvae.features`, see `kvae.utils.plugins`.

    The decorated function takes no arguments and returns a function from images
    `[n, height, width, channels]` in [0, 1] to features `[n, d]`, whose `__name__` is what tables
    call them. It is called when the features are used.

    Args:
        name: str. The name of the features.

    Raises:
        ValueError: when another function has registered features of this name.

    Example:

    ```python
    @kvae.evaluation.register_features("rows")
    def features_of_rows():
        def mean_of_rows(images):
            return np.mean(images, axis=(2, 3))

        return mean_of_rows
    ```
    """
    return _FEATURES.register(name)


def registered_features() -> list[str]:
    """Returns the names of all registered features, in alphabetical order."""
    return list(_FEATURES)


def image_features(kind: str | keras.Model | Features) -> tuple[str, Features]:
    """Returns the name of features, and the function from images `[n, h, w, c]` to `[n, d]`.

    Args:
        kind: one of `registered_features()`, such as `"pixels"`, `"inception"` or the name of a
            dataset that there is a classifier of (`"digits"`, `"mnist"`), or a Keras model, or a
            function.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(kind, keras.Model):
        return kind.name, lambda images: _flat(kind.predict(images, BATCH_SIZE, verbose=0))
    function = kind if callable(kind) else _FEATURES[kind]()
    name = getattr(function, "__name__", type(function).__name__)
    return name, lambda images: _flat(function(images))


def default_features(dataset: str) -> str:
    """Returns the name of the features in which samples of a dataset are compared by default."""
    return dataset if dataset in _FEATURES else "pixels"


def classifier_features(name: str) -> Features:
    """Returns the last hidden layer of the classifier of a dataset, as a function.

    Args:
        name: str. The name of the dataset, one of `zoo.list_classifiers()`.

    Returns:
        A function from images `[n, h, w, c]` in [0, 1] to float32 `[n, 64]`.

    Raises:
        ValueError: for an unknown name, with the nearest ones.

    Example:

    ```python
    features = kvae.evaluation.classifier_features("mnist")
    features(kvae.datasets.load("mnist", "test").examples[:5]).shape    # (5, 64)
    ```
    """
    return _FEATURES[name]()


@register_features("pixels")
def _pixels() -> Features:
    def pixels(images: np.ndarray) -> np.ndarray:
        return images

    return pixels


@register_features("inception")
def inception_features(
    weights: str = "imagenet", batch_size: int = 64
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the pooled features of Keras's InceptionV3, as a function.

    They are for natural images. A Fréchet distance of these features is not the FID, which is
    defined by other weights of this network and another scaling of the images; the figures differ.

    Args:
        weights: str or path. `"imagenet"`, which Keras downloads when it is first used, or a file
            `inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5`.
        batch_size: int. Images at once, each scaled to 299 × 299. Defaults to `64`.

    Returns:
        A function from images `[n, h, w, 1 or 3]` in [0, 1] to float32 `[n, 2048]`.

    Raises:
        FileNotFoundError: when the weights can be neither found nor downloaded.
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

    def features(images: np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"Inception takes images [n, h, w, 1 or 3], not {images.shape}.")
        found = []
        for start in range(0, len(images), batch_size):
            batch = tf.image.resize(images[start : start + batch_size], (299, 299), antialias=True)
            batch = tf.repeat(batch, 3 // images.shape[-1], axis=-1)
            found.append(network(2.0 * batch - 1.0, training=False).numpy())
        return np.concatenate(found)

    features.__name__ = "InceptionV3 (Keras)"
    return features


def _flat(values) -> np.ndarray:
    values = np.asarray(values, np.float32)
    return values.reshape(len(values), -1)
