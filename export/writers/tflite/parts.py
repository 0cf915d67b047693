"""The parts of a model that a TFLite file can hold, as graphs of a fixed batch size."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from export import modalities
from export.graphs import endpoints, given_noise
from export.signatures import DECODE, ENCODE, OUTPUT_SUFFIX, PRIOR
from kvae.models.labels import label_size
from kvae.utils import keras_internals

__all__ = [
    "Part",
    "classifier",
    "decoder",
    "detect",
    "encoder",
    "has_transform",
    "impute",
    "prior",
    "prior_error",
    "translator",
]


@dataclasses.dataclass(frozen=True)
class Part:
    """One signature of the file.

    Attributes:
        name: str. The signature's name.
        title: str. What errors call the part, e.g. "decoder".
        endpoint: `Endpoint`, of a fixed batch size.
        precision: str.
        network: keras.Model or `None`. The user's network that the part holds.
        samples: dict of arrays or `None`. Representative inputs, for `"int8"`.
    """

    name: str
    title: str
    endpoint: endpoints.Endpoint
    precision: str
    network: keras.Model | None = None
    samples: dict[str, np.ndarray] | None = None


def _label(model, batch: int) -> list:
    if not model.conditional:
        return []
    # Labels are one-hot, since the converter's own operator is wrong in eight bits.
    # Conditions are as `Conditions.encode` returns them: 8 bits would not tell their values apart.
    return [tf.TensorSpec((batch, label_size(model)), tf.float32, name="label")]


def _image(model, batch: int) -> tuple:
    """Returns the inputs of an event, which of a model with `missing` are two."""
    if model.modalities:
        return tuple(
            tf.TensorSpec((batch, *map(int, item.shape)), tf.float32, name=key)
            for key, item in modalities.inputs_of(model, "image").items()
        )
    image = tf.TensorSpec((batch, *model.event_shape), tf.float32, name="image")
    mask = [] if model.missing is None else [tf.TensorSpec(image.shape, tf.float32, name="mask")]
    return image, *mask


def decoder(model, precision: str, batch: int, samples) -> Part:
    """Returns the decoder: `z` to `image`, the mean of p(x|z)."""

    def decode(z, label=None):
        z = model.as_vectors(z)
        found = {"image": tf.cast(endpoints.mean(model, z, label), tf.float32)}
        return modalities.named(model, found) if model.modalities else found

    inputs = (
        tf.TensorSpec((batch, *model.latent_shape), tf.float32, name="z"),
        *_label(model, batch),
    )
    _refuse_half(model, model.decoder, "decoder")
    endpoint = endpoints.Endpoint(inputs, decode)
    return Part(DECODE, "decoder", endpoint, precision, model.decoder, samples)


def encoder(model, precision: str, batch: int, samples) -> Part:
    """Returns the encoder: `image` to the posterior's parameters.

    That of a model with `missing` takes a `mask` as well, 1 where a value was observed and 0 where
    not, since the runtimes have no NaN.
    """

    def encode(image, *others):
        if model.modalities:
            params = _params_of_modalities(model, (image, *others))
            return {name: tf.cast(value, tf.float32) for name, value in params.items()}
        masked = model.missing is not None
        options = {"observed": others[0] > 0.5} if masked else {}
        params = model.on_grid(model.encode_params(image, *others[masked:], **options))
        return {name: tf.cast(value, tf.float32) for name, value in params.items()}

    inputs = (*_image(model, batch), *_label(model, batch))
    _refuse_half(model, model.encoder, "encoder")
    endpoint = endpoints.Endpoint(inputs, encode)
    return Part(ENCODE, "encoder", endpoint, precision, model.encoder, samples)


def translator(model, precision: str, batch: int) -> Part:
    """Returns the translation: any of the modalities to all of them, through the posterior mean."""

    def translate(*values):
        z = model.posterior.mean(_params_of_modalities(model, values))
        found = modalities.named(model, {"image": endpoints.mean(model, z)})
        return {name + OUTPUT_SUFFIX: tf.cast(v, tf.float32) for name, v in found.items()}

    for network, what in ((model.encoder, "encoders"), (model.decoder, "decoders")):
        _refuse_half(model, network, what)
    endpoint = endpoints.Endpoint(_image(model, batch), translate)
    return Part("translate", "translation", endpoint, precision)


def _params_of_modalities(model, values) -> dict:
    """Returns the posterior's parameters of modalities, in graphs without NaN."""
    given = dict(zip(modalities.inputs_of(model, "image"), values, strict=True))
    x, observed = modalities.observed_record(model, given)
    return model.encode_params(x, observed=observed)


def classifier(model, precision: str, batch: int, samples) -> Part:
    """Returns the classifier: `image` (and a `mask` as of `encoder`) to `probabilities`."""

    def classify(image, mask=None):
        observed = None if mask is None else mask > 0.5
        log_q = model.objective.classify(model, image, observed=observed)
        return {"probabilities": tf.exp(log_q)}

    network = model.objective.classifier
    _refuse_half(model, network, "classifier")
    endpoint = endpoints.Endpoint(_image(model, batch), classify)
    return Part("classify", "classifier", endpoint, precision, network, samples)


def impute(model, batch: int, num_samples: int, guess: bool = False) -> Part:
    """Returns the imputation: `image`, `mask` and noise to the filled `image`, in float32."""
    endpoint = given_noise.impute(model, num_samples, batch, floats=True, guess=guess)
    return Part("impute", "imputation", endpoint, "float32")


def detect(model, batch: int) -> Part:
    """Returns the detection: `image` to its score, p-value, verdict and map, in float32."""
    endpoint = given_noise.detect(model, batch, floats=True)
    return Part("detect", "detection", endpoint, "float32")


def has_transform(prior) -> bool:
    """Checks whether draws from a prior are more than its base noise."""
    return prior is not None and not prior.standard_normal


def prior(model, batch: int) -> Part:
    """Returns the prior: base noise to `z`, in float32."""
    # What depends on no noise is computed here, not on the device.
    known = model.prior.precomputed()
    sizes = {name: noise.size for name, noise in known.base_noise().items()}
    label = _label(model, batch) if model.prior.conditional else []

    def transform(*arguments):
        given = known
        if label:
            given = known.conditioned_on(tf.argmax(arguments[-1], axis=-1, output_type=tf.int32))
        return {"z": model.on_grid(given.transform(dict(zip(sizes, arguments, strict=False))))}

    inputs = [tf.TensorSpec((batch, size), tf.float32, name=name) for name, size in sizes.items()]
    endpoint = endpoints.Endpoint((*inputs, *label), transform)
    return Part(PRIOR, f"prior ({type(model.prior).__name__})", endpoint, "float32")


def prior_error(model, why: str) -> ValueError:
    """Returns the error of a prior that does not convert."""
    return ValueError(
        f"The prior of {model.name!r} ({type(model.prior).__name__}) does not convert to TFLite's "
        f"built-in operators: {why}. Leave it out with prior=False, and draw z elsewhere."
    )


def _refuse_half(model, network, what: str) -> None:
    layers = keras_internals.flat_layers(network)
    half = [layer.name for layer in layers if "float16" in layer.compute_dtype]
    if half:
        raise ValueError(
            f"The {what} of {model.name!r} computes in half precision ({half[0]!r}), which TFLite "
            "does not take. Build the model under keras.config.set_dtype_policy('float32') and "
            "load the weights into it; choose precision='float16' for a file of half the size."
        )
