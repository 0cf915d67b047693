"""What an exported model can be asked: each signature's inputs and its function."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from kvae import random

__all__ = ["Endpoint", "endpoints", "exportable", "mean", "write"]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A signature to be: `function` takes one tensor for each of `inputs`, returns a dict."""

    inputs: tuple[tf.TensorSpec, ...]
    function: Callable[..., dict[str, tf.Tensor]]


def exportable(model):
    """Returns `model` when it can be exported.

    Raises:
        TypeError: if it is no `kvae.VAE`.
        ValueError: if it is not built, so that its shapes are not known.
    """
    import kvae

    if not isinstance(model, kvae.VAE):
        raise TypeError(
            f"Only a kvae.VAE is exported, not {type(model).__name__}. Wrap an encoder and a "
            "decoder in kvae.VAE(encoder, decoder, latent_dim=…), or load one with zoo.load."
        )
    if not model.built or model.event_shape is None:
        raise ValueError(
            f"The model {model.name!r} is not built, so its input shape is not known. Call it on "
            "data once, or give its encoder a keras.Input."
        )
    return model


def endpoints(model, batch: int | None = None) -> dict[str, Endpoint]:
    """Gives what `model` can be asked, by signature name.

    Args:
        model: `kvae.VAE`. Built.
        batch: int or `None`. A fixed batch size; any size by default.
    """
    found = {name: builder(model, batch) for name, builder in _BUILDERS.items()}
    return {name: endpoint for name, endpoint in found.items() if endpoint is not None}


def write(endpoints: dict[str, Endpoint], path) -> None:
    """Writes a SavedModel with these endpoints to the folder `path`.

    Only endpoints are added and no model is tracked: `ExportArchive` then finds the variables that
    the functions use and stores each once, as plain TensorFlow variables that the C++ loader can
    restore (which it cannot for a Keras model inside a `tf.Module`).
    """
    archive = keras.export.ExportArchive()
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, endpoint.function, list(endpoint.inputs))
    archive.write_out(str(path), verbose=False)


def _float32(values: dict) -> dict:
    # Under a half-precision policy clients get float32 all the same; integers stay what they are.
    return {
        name: tf.cast(value, tf.float32) if value.dtype.is_floating else value
        for name, value in values.items()
    }


def mean(model, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
    """Returns E[x|z]: `[batch, latent_dim]` to `[batch, *event]`."""
    return model.likelihood.mean(model.decode_params(z, label))


def inputs(model, first: tf.TensorSpec) -> tuple[tf.TensorSpec, ...]:
    """Returns the inputs of an endpoint: `first`, and beside it a conditional model's label."""
    if not model.conditional:
        return (first,)
    return first, tf.TensorSpec(first.shape[:1], tf.int64, name="label")


def _image(model, batch) -> tuple[tf.TensorSpec, ...]:
    return inputs(model, tf.TensorSpec((batch, *model.event_shape), tf.float32, name="image"))


def _decode(model, batch) -> Endpoint:
    def function(z, label=None):
        params = dict(model.decode_params(z, label))
        return _float32({"image": model.likelihood.mean(params), **params})

    spec = tf.TensorSpec((batch, model.latent_dim), tf.float32, name="z")
    return Endpoint(inputs(model, spec), function)


def _encode(model, batch) -> Endpoint:
    def function(image, label=None):
        return _float32(dict(model.encode_params(image, label)))

    return Endpoint(_image(model, batch), function)


def _reconstruct(model, batch) -> Endpoint:
    def function(image, label=None):
        given = model.given(label)
        z = given.posterior.mean(given.encode_params(image))
        return _float32({"image": mean(model, z, label)})

    return Endpoint(_image(model, batch), function)


def _generate(model, batch) -> Endpoint | None:
    if model.prior is None:
        return None

    def function(seed, label=None):
        prior = model.prior.prepared()  # Outside of the loop.

        def row(own):
            seed, label = own if model.conditional else (own, None)
            given = prior.given(None if label is None else label[None])
            # As in `VAE.sample`, which needs the second half for drawing x.
            return given.sample(1, random.split(seed)[0])[0]

        # Row by row: a server may put the rows of several clients into one batch, and a row's
        # latent must not depend on its neighbours. The two halves are those of `random.as_seed`,
        # so that a row equals `prior.sample(1, seed)`.
        low = tf.bitwise.bitwise_and(seed, tf.constant(0x7FFFFFFF, tf.int64))
        high = tf.bitwise.right_shift(seed, tf.constant(31, tf.int64))
        halves = tf.cast(tf.stack([low, high], axis=-1), tf.int32)
        spec = tf.TensorSpec((model.latent_dim,), tf.float32)
        rows = (halves, label) if model.conditional else halves
        z = tf.map_fn(row, rows, fn_output_signature=spec)
        return _float32({"image": mean(model, z, label), "z": z})

    return Endpoint(inputs(model, tf.TensorSpec((batch,), tf.int64, name="seed")), function)


_BUILDERS = {
    "serving_default": _decode,
    "encode": _encode,
    "reconstruct": _reconstruct,
    "generate": _generate,
}
