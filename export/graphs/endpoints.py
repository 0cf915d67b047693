"""What an exported model can be asked: each signature's inputs and its function."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from export.graphs import preprocessing, scoring
from export.graphs.checks import Checks
from kvae import random
from kvae.utils import forks, interpolation, names

__all__ = [
    "MAX_SAMPLES",
    "MAX_STEPS",
    "SIGNATURES",
    "Endpoint",
    "endpoints",
    "exportable",
    "left_out",
    "mean",
    "write",
]

# What one row of a request may ask for at most.
MAX_SAMPLES = 1000
MAX_STEPS = 64
# What it gets when it does not say.
_SAMPLES = 64
_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A signature to be: `function` takes one tensor for each of `inputs`, returns a dict.

    `defaults` are the values of inputs that may be left out, by name: one row, which stands for
    all of them.
    """

    inputs: tuple[tf.TensorSpec, ...]
    function: Callable[..., dict[str, tf.Tensor]]
    defaults: dict[str, float] = dataclasses.field(default_factory=dict)


def exportable(model):
    """Returns `model` when it can be exported.

    Raises:
        TypeError: if it is no `kvae.VAE`.
        ValueError: if it is not built, so that its shapes are not known.
    """
    import kvae

    forks.check()
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


def left_out(model) -> dict[str, str]:
    """Returns the signatures that `model` cannot have, with the reasons."""
    reasons = {}
    if model.prior is None:
        reasons["generate"] = "the model is an autoencoder without a prior, so it does not sample"
    if not model.posterior.tractable:
        reasons["score"] = (
            f"the model is an autoencoder ({type(model.posterior).__name__} posterior), which "
            "defines no log p(x)"
        )
    return reasons


def endpoints(
    model,
    batch: int | None = None,
    images: str | None = None,
    signatures: Sequence[str] | None = None,
    fit: str = "stretch",
    refuse: bool = True,
) -> dict[str, Endpoint]:
    """Gives what `model` can be asked, by signature name.

    Args:
        model: `kvae.VAE`. Built.
        batch: int or `None`. A fixed batch size; any size by default.
        images: str or `None`. How images are sent: the name of a `preprocessing`.
        signatures: sequence of str or `None`. Which, beside `serving_default`, without which no
            SavedModel is written. Defaults to `None`: all that the model has.
        fit: str. How files of images are brought to the model's size.
        refuse: bool. Whether a request with a row that the model does not take is an error; else
            (`serving_default` and `encode`) that row's outputs are NaN. Defaults to `True`.

    Raises:
        ValueError: for an unknown name, and for a signature that the model cannot have.
    """
    images = preprocessing.images(model, images, fit)
    reasons = left_out(model)
    if signatures is None:
        signatures = [name for name in SIGNATURES if name not in reasons]
    signatures = dict.fromkeys(("serving_default", *signatures))
    for name in signatures:
        if name not in _BUILDERS:
            raise names.unknown_name("signature", name, SIGNATURES)
        if name in reasons:
            raise ValueError(f"{model.name!r} has no signature {name!r}: {reasons[name]}.")
    return {name: _BUILDERS[name](model, batch, images, refuse) for name in signatures}


def write(endpoints: dict[str, Endpoint], path) -> None:
    """Writes a SavedModel with these endpoints to the folder `path`.

    Only endpoints are added and no model is tracked: `ExportArchive` then finds the variables that
    the functions use and stores each once, as plain TensorFlow variables that the C++ loader can
    restore (which it cannot for a Keras model inside a `tf.Module`).
    """
    archive = keras.export.ExportArchive()
    for name, endpoint in endpoints.items():
        archive.add_endpoint(name, _with_defaults(endpoint), list(endpoint.inputs))
    archive.write_out(str(path), verbose=False)


def _with_defaults(endpoint: Endpoint) -> Callable:
    """The function with the arguments that its inputs are, for TensorFlow to find their defaults.

    It pairs the last defaults with the last inputs, so that a function whose further arguments are
    not used would have them mixed up. It also traces what it is given twice: this is a single call
    of a graph that is traced once.
    """
    graph = tf.function(endpoint.function, input_signature=endpoint.inputs, autograph=False)
    traced = graph.get_concrete_function()

    def function(*tensors):
        return traced(*tensors)

    function.__signature__ = inspect.Signature(
        inspect.Parameter(
            spec.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=tf.constant([endpoint.defaults[spec.name]], spec.dtype)
            if spec.name in endpoint.defaults
            else inspect.Parameter.empty,
        )
        for spec in endpoint.inputs
    )
    return function


def mean(model, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
    """Returns E[x|z]: `[batch, latent_dim]` to `[batch, *event]`."""
    return model.likelihood.mean(model.decode_params(z, label))


def inputs(model, *first: tf.TensorSpec) -> tuple[tf.TensorSpec, ...]:
    """Returns the inputs of an endpoint: `first`, and after them a conditional model's label."""
    if not model.conditional:
        return first
    return *first, tf.TensorSpec(first[0].shape[:1], tf.int64, name="label")


def _optional(required, spec: tf.TensorSpec, value: float, function) -> Endpoint:
    """An endpoint with one input more, which may be left out; `function` takes it first."""
    return Endpoint(
        (*required, spec),
        lambda *tensors: function(tensors[-1], *tensors[:-1]),
        {spec.name: value},
    )


def _rows(batch, dtype, name) -> tf.TensorSpec:
    return tf.TensorSpec((batch,), dtype, name=name)


def _for_every_row(values, like):
    """One value for all rows, or one for each, to one for each."""
    return tf.broadcast_to(values, tf.shape(like)[:1])


def _decode(model, batch, images, refuse) -> Endpoint:
    def function(z, label=None):
        check = Checks(model, refuse)
        params = dict(model.decode_params(check.latents(z, "z"), check.label(label)))
        return check.outputs({"image": model.likelihood.mean(params), **params})

    spec = tf.TensorSpec((batch, model.latent_dim), tf.float32, name="z")
    return Endpoint(inputs(model, spec), function)


def _encode(model, batch, images, refuse) -> Endpoint:
    def function(image, label=None):
        check = Checks(model, refuse)
        x = check.events(images.decode(image), "image")
        return check.outputs(dict(model.encode_params(x, check.label(label))))

    return Endpoint(inputs(model, images.input("image", batch)), function)


def _code(model, x, label):
    """The posterior's mean of events, `[batch, latent_dim]`."""
    given = model.conditioned_on(label)
    return given.posterior.mean(given.encode_params(x))


def _reconstruct(model, batch, images, refuse) -> Endpoint:
    def function(image, label=None):
        check = Checks(model, refuse)
        label = check.label(label)
        z = _code(model, check.events(images.decode(image), "image"), label)
        return check.outputs({"image": mean(model, z, label)})

    return Endpoint(inputs(model, images.input("image", batch)), function)


def _embed(model, batch, images, refuse) -> Endpoint:
    def function(image, label=None):
        check = Checks(model, refuse)
        x = check.events(images.decode(image), "image")
        z = _code(model, x, check.label(label))
        return check.outputs({"embedding": tf.ensure_shape(z, (batch, model.latent_dim))})

    return Endpoint(inputs(model, images.input("image", batch)), function)


def _generate(model, batch, images, refuse) -> Endpoint:
    def function(temperature, seed, label=None):
        check = Checks(model, refuse)
        label, seed = check.label(label), check.seed(seed)
        words = "`temperature` is a finite number of at least 0"
        temperature = check.within(temperature, 0.0, temperature.dtype.max, words)
        prior = model.prior.precomputed()  # Outside of the loop.

        def row(own):
            seed, temperature, *label = own
            given = prior.conditioned_on(label[0][None] if label else None)
            # As in `VAE.sample`, which needs the second half for drawing x.
            return given.sample(1, random.split(seed)[0], temperature)[0]

        # Row by row: a server may put the rows of several clients into one batch, and a row's
        # latent must not depend on its neighbours.
        rows = (scoring.halves(seed), _for_every_row(temperature, seed))
        rows += (label,) if model.conditional else ()
        spec = tf.TensorSpec((model.latent_dim,), tf.float32)
        z = tf.map_fn(row, rows, fn_output_signature=spec)
        return check.outputs({"image": mean(model, z, label), "z": z})

    required = inputs(model, _rows(batch, tf.int64, "seed"))
    return _optional(required, _rows(batch, tf.float32, "temperature"), 1.0, function)


def _between(model, check, start, end, steps, label) -> dict:
    """Latents and images on the way from `start` to `end`, `[batch, most steps, ...]`.

    Rows with fewer steps than others stay at their end.
    """
    words = f"`steps` is a whole number from 1 to {MAX_STEPS}"
    steps = check.within(_for_every_row(steps, start), 1, MAX_STEPS, words)
    most = tf.reduce_max(steps)
    last = tf.cast(tf.maximum(steps - 1, 1), tf.float32)
    position = tf.cast(tf.range(most), tf.float32) / last[:, None]
    z = interpolation.interpolate(model, start, end, tf.minimum(position, 1.0))
    # Time first: labels are those of the last of the leading axes.
    image = mean(model, tf.transpose(z, (1, 0, 2)), label)
    image = tf.transpose(image, (1, 0, *range(2, 2 + len(model.event_shape))))
    return check.outputs({"image": image, "z": z})


def _interpolate(model, batch, images, refuse) -> Endpoint:
    def function(steps, z_start, z_end, label=None):
        check = Checks(model, refuse)
        ends = check.latents(z_start, "z_start"), check.latents(z_end, "z_end")
        return _between(model, check, *ends, steps, check.label(label))

    specs = (tf.TensorSpec((batch, model.latent_dim), tf.float32, n) for n in ("z_start", "z_end"))
    return _optional(inputs(model, *specs), _rows(batch, tf.int64, "steps"), _STEPS, function)


def _interpolate_images(model, batch, images, refuse) -> Endpoint:
    def function(steps, image_start, image_end, label=None):
        check = Checks(model, refuse)
        label = check.label(label)
        ends = {"image_start": image_start, "image_end": image_end}
        start, end = (
            _code(model, check.events(images.decode(x), name), label) for name, x in ends.items()
        )
        return _between(model, check, start, end, steps, label)

    specs = (images.input(name, batch) for name in ("image_start", "image_end"))
    return _optional(inputs(model, *specs), _rows(batch, tf.int64, "steps"), _STEPS, function)


def _score(model, batch, images, refuse) -> Endpoint:
    def function(num_samples, image, seed, label=None):
        check = Checks(model, refuse)
        words = f"`num_samples` is a whole number from 1 to {MAX_SAMPLES}"
        count = check.within(_for_every_row(num_samples, seed), 1, MAX_SAMPLES, words)
        x, label = check.events(images.decode(image), "image"), check.label(label)
        return check.outputs(scoring.score(model, x, check.seed(seed), count, label))

    required = inputs(model, images.input("image", batch), _rows(batch, tf.int64, "seed"))
    return _optional(required, _rows(batch, tf.int64, "num_samples"), _SAMPLES, function)


_BUILDERS = {
    "serving_default": _decode,
    "encode": _encode,
    "reconstruct": _reconstruct,
    "embed": _embed,
    "generate": _generate,
    "interpolate": _interpolate,
    "interpolate_images": _interpolate_images,
    "score": _score,
}
SIGNATURES = tuple(_BUILDERS)
