"""Reconstruction in the features of a network that is trained already."""

import keras
import numpy as np
from keras import layers, ops

from kvae import schedules
from kvae.objectives.beside import NetworkBeside
from kvae.objectives.objective import register
from kvae.objectives.similarity import Similarity
from kvae.utils import names

__all__ = ["Perceptual"]

# Applications of Keras: how their inputs are scaled, and the layers that are compared.
_APPLICATIONS = {
    "mobilenet_v2": ("MobileNetV2", "tf", ("Conv1_relu", "block_1_expand_relu")),
    "vgg16": ("VGG16", "caffe", ("block1_conv1", "block2_conv1", "block3_conv1")),
    "vgg19": ("VGG19", "caffe", ("block1_conv1", "block2_conv1", "block3_conv1")),
}
_MEANS = np.array([103.939, 116.779, 123.68])  # Blue, green and red of ImageNet, in "caffe".


@register("perceptual")
class Perceptual(Similarity):
    """Likeness in features Φ: `w Σ_l ‖Φ_l(x) − Φ_l(x̃)‖² / 2 n_l − r E_q log p(x|z) + β KL`.

    Φ_l, of n_l numbers, is what the l-th chosen layer of a trained network makes of an image, and
    x̃ the mean of p(x|z). Images that mean the same to the network are alike, whether or not their
    pixels are. The sum is in the logs as `features`. It is no logarithm of a density: the loss
    bounds no likelihood, and what `elbo`, `reconstruction` and log p(x) say is what the model's
    likelihood gives images that were not trained by it.

    The network does not learn. Its weights, down to the last chosen layer, are saved with the
    model, so that loading one downloads nothing.

    Args:
        network: str or keras.Model. A Keras application by its name, `"vgg19"`, `"vgg16"` or
            `"mobilenet_v2"`, for images of one or three channels; Keras downloads its weights when
            the model is built. Or a network of layers, such as `zoo.load_classifier("mnist")`,
            which takes images as `value_range` makes them, in [0, 1]. Defaults to `"vgg19"`.
        feature_layers: str, sequence of str or `None`. The names of the layers. Defaults to
            `None`: of VGG the first convolutions of three blocks, as in the paper, of MobileNet two
            activations, and of a given network its outputs.
        weight: float or schedule (`kvae.schedules`). w. Defaults to `100.0`.
        weights: str or `None`. Of an application: `"imagenet"`, the path of a file, or `None` for
            random ones. Defaults to `"imagenet"`.
        **settings: `reconstruction_weight`, `beta` and `value_range` of
            `kvae.objectives.Similarity`, `num_samples` and `kl` of `kvae.objectives.Bound`.

    Raises:
        TypeError: for a network that is neither a name nor a Keras network.
        ValueError: for an unknown application or layer, settings out of range, and with the model,
            for examples that the network does not take, an autoregressive likelihood and missing
            values.
        FileNotFoundError: when the model is built, for weights that can be neither found nor
            downloaded.

    Example:

    ```python
    objective = kvae.objectives.Perceptual(
        zoo.load_classifier("digits"), ["down_0", "hidden"], weight=50.0
    )
    vae = kvae.VAE(encoder, decoder, latent_dim=16, objective=objective)
    ```

    Reference:
        - [Hou et al., Deep Feature Consistent Variational Autoencoder, section 3.2](
          https://arxiv.org/abs/1610.00291)
    """

    measure = "features"

    def __init__(
        self,
        network="vgg19",
        feature_layers=None,
        weight: schedules.Number = 100.0,
        weights: str | None = "imagenet",
        **settings,
    ):
        super().__init__(weight, **settings)
        if isinstance(network, dict):
            network = keras.saving.deserialize_keras_object(network)
        if isinstance(network, str):
            if network not in _APPLICATIONS:
                raise names.unknown_name("network", network, _APPLICATIONS)
        elif not isinstance(network, keras.Model):
            raise TypeError(
                f"`network` is a keras.Model or one of {sorted(_APPLICATIONS)}, not {network!r}."
            )
        elif not getattr(network, "inputs", None):
            raise ValueError(
                f"Perceptual reads layers of a network, and {network.name} is a "
                f"{type(network).__name__}, which does not say how its layers are connected. Make "
                "a keras.Sequential or a functional keras.Model."
            )
        if isinstance(feature_layers, str):
            feature_layers = [feature_layers]
        self.feature_layers = None if feature_layers is None else tuple(feature_layers)
        if self.feature_layers is not None and not self.feature_layers:
            raise ValueError("`feature_layers` names one layer at least.")
        self.application_weights = None if weights is None else str(weights)
        # Behind a function: Keras would take its weights for the model's.
        self._given = lambda: network
        self.network = None

    def prepare(self, vae):
        super().prepare(vae)
        if self.network is not None:
            return
        network, chosen = self._given(), self.feature_layers
        if isinstance(network, str):
            network = _application(network, vae.event_shape, self.application_weights, chosen)
        elif chosen is not None:
            network = _down_to(network, chosen)
        expected = tuple(network.inputs[0].shape[1:])
        fits = len(network.inputs) == 1 and len(expected) == 3
        sizes = zip(expected, vae.event_shape, strict=False)
        if not fits or any(size not in (None, given) for size, given in sizes):
            raise ValueError(
                f"The network takes inputs of the shapes {[tuple(i.shape) for i in network.inputs]}"
                f", and the model's images have {tuple(vae.event_shape)}."
            )
        # What is saved is the part that is used: it needs no name of an application any more.
        self._given, self.feature_layers = (lambda: network), None
        self.network = NetworkBeside(network, "network")
        self.network.build((None, *vae.event_shape))

    def unlikeness(self, vae, x, decoded):
        found = 0.0
        for known, made in zip(self.network(x), self.network(decoded), strict=True):
            axes = tuple(range(2, len(made.shape)))
            found = found + 0.5 * ops.mean(ops.square(made - known), axis=axes)
        return found

    def get_config(self):
        network = self._given()
        if not isinstance(network, str):
            network = keras.saving.serialize_keras_object(network)
        return {
            **super().get_config(),
            "network": network,
            "feature_layers": self.feature_layers,
            "weights": self.application_weights,
        }


def _down_to(network, chosen) -> keras.Model:
    """Returns the part of a network that ends in the layers of the given names."""
    known = [layer.name for layer in network.layers]
    for name in chosen:
        if name not in known:
            raise names.unknown_name("feature layer", name, known)
    return keras.Model(network.inputs, [network.get_layer(name).output for name in chosen])


def _application(name: str, event_shape, weights, chosen) -> keras.Model:
    """Returns an application of Keras that takes images in [0, 1] of one or three channels."""
    made, scaling, layers_of_paper = _APPLICATIONS[name]
    *size, channels = event_shape
    if channels not in (1, 3) or min(size) < 32:
        raise ValueError(
            f"{name} takes images of at least 32 × 32 pixels with 1 or 3 channels, not "
            f"{tuple(event_shape)}. Give Perceptual a network of your own."
        )
    try:
        network = getattr(keras.applications, made)(
            include_top=False, weights=weights, input_shape=(*size, 3)
        )
    except Exception as error:  # Keras raises a plain Exception where it cannot download.
        raise FileNotFoundError(
            f"The weights {weights!r} of {name} are not there: {error} Connect to the network "
            "once, or give Perceptual(weights=FILE) the file of weights without the top."
        ) from error
    # One convolution of 1 × 1 repeats a single channel, scales, and brings the colours in order.
    kernel = np.ones((1, 3)) if channels == 1 else np.eye(3)
    if scaling == "caffe":
        kernel, bias = 255.0 * kernel[:, ::-1], -_MEANS
    else:
        kernel, bias = 2.0 * kernel, np.full(3, -1.0)
    scale = layers.Conv2D(3, 1, data_format="channels_last", name="scale")
    inputs = keras.Input(tuple(event_shape))
    outputs = _down_to(network, chosen or layers_of_paper)(scale(inputs))
    scale.set_weights([kernel[None, None], bias])
    return keras.Model(inputs, outputs)
