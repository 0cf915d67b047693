"""The graphs of the signatures that `export.signatures` specifies."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from export import conditions, modalities
from export import signatures as specification
from export.graphs import preprocessing
from export.graphs.checks import Checks
from export.graphs.table_cells import TableCells
from kvae import random
from kvae.detection.scores import scored
from kvae.evaluation.rows import row_imputation, row_map, row_seeds, row_terms
from kvae.models.vae import VAE
from kvae.utils import forks, interpolation, masks, names

__all__ = [
    "Endpoint",
    "endpoints",
    "exportable",
    "mean",
    "refuse_left_out",
    "verdict",
    "write",
]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A signature as a graph.

    Attributes:
        inputs: tuple of `tf.TensorSpec`.
        function: callable. Takes a tensor for each input, and returns a dict of tensors.
        defaults: dict of str to float or list. The values of inputs that may be left out, the same
            for every row.
    """

    inputs: tuple[tf.TensorSpec, ...]
    function: Callable[..., dict[str, tf.Tensor]]
    defaults: dict[str, float] = dataclasses.field(default_factory=dict)


def exportable(model):
    """Returns `model` when it can be exported.

    Raises:
        TypeError: if it is no `kvae.VAE`.
        ValueError: if it is not built, so that its shapes are not known, or a modality has a name
            that signatures use.
    """
    forks.check()
    if not isinstance(model, VAE):
        raise TypeError(
            f"Only a kvae.VAE is exported, not {type(model).__name__}. Wrap an encoder and a "
            "decoder in kvae.VAE(encoder, decoder, latent_dim=…), or load one with zoo.load."
        )
    if not model.built or model.event_shape is None:
        raise ValueError(
            f"The model {model.name!r} is not built, so its input shape is not known. Call it on "
            "data once, or give its encoder a keras.Input."
        )
    modalities.check(model)
    return model


def endpoints(
    model,
    batch: int | None = None,
    images: str | None = None,
    signatures: Sequence[str] | None = None,
    fit: str = "stretch",
    refuse: bool = True,
) -> dict[str, Endpoint]:
    """Returns the graphs of a model's signatures, by name.

    Args:
        model: `kvae.VAE`. Built.
        batch: int or `None`. A fixed batch size; any size by default.
        images: str or `None`. How images are sent: the name of a `preprocessing`.
        signatures: sequence of str or `None`. The names; `serving_default` is always among the
            graphs, and `translate` of a model of several modalities, by which clients know them.
            Defaults to `None`: all that the model has.
        fit: str. How files of images are brought to the model's size.
        refuse: bool. Whether a request with a row that the model does not take is an error; else
            (`serving_default` and `encode`) that row's outputs are NaN. Defaults to `True`.

    Raises:
        ValueError: for an unknown name, and for a signature that the model cannot have.
    """
    sent = preprocessing.images(model, images, fit)
    reasons = specification.left_out(model)
    if signatures is None:
        signatures = [name for name in specification.SIGNATURES if name not in reasons]
    always = (specification.DECODE, *(("translate",) if model.modalities else ()))
    wanted = dict.fromkeys((*always, *signatures))
    for name in wanted:
        if name not in specification.SIGNATURES:
            raise names.unknown_name("signature", name, specification.SIGNATURES)
        refuse_left_out(model, name)
    return {name: _endpoint(model, name, batch, sent, refuse) for name in wanted}


def refuse_left_out(model, name: str) -> None:
    """Raises a `ValueError` for a signature that the model cannot have."""
    if why := specification.left_out(model).get(name):
        raise ValueError(f"{model.name!r} has no signature {name!r}: {why}.")


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
    """Returns the endpoint's function with named arguments, in which TensorFlow finds defaults.

    TensorFlow pairs the last defaults with the last inputs, and would confuse them where a function
    has further arguments. It also traces twice what it is given; here it finds a single call of a
    graph that has been traced already.
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
    """Returns E[x|z]: `[batch, latent_dim]` to `[batch, *event]`.

    Of several modalities it is the one value that stands for p(x|z), as `VAE.translate` returns it.
    """
    return _mean_of(model, model.decode_params(z, label))


def _mean_of(model, params):
    likelihood = model.likelihood
    if model.modalities:
        return likelihood.point(likelihood.averaged(params))
    return likelihood.mean(params)


def _endpoint(model, name: str, batch: int | None, images, refuse: bool) -> Endpoint:
    """Returns the endpoint of one signature, with the inputs that are specified for it."""
    told = conditions.inputs_of(model)
    labels = ("label",) if model.num_classes is not None else tuple(told)
    keys = specification.input_names(name, labels)
    events = [key for key in keys if model.modalities and key in specification.EVENTS]
    known: dict[str, specification.Input] = {}
    for key in keys:
        own = {key: told.get(key) or specification.INPUTS[key]}
        known |= modalities.inputs_of(model, key) if key in events else own
    if events:  # Those that may be left out stand at the end.
        known = dict(sorted(known.items(), key=lambda item: item[1].default is not None))
    sizes = {}
    if model.schema is not None:
        sizes["columns"] = len(model.schema.all_columns)

    def spec(key: str, item: specification.Input) -> tf.TensorSpec:
        if item.kind == "image":
            return images.input(key, batch)
        if item.kind == "mask":
            return tf.TensorSpec((batch, *model.event_shape), item.dtype, key)
        if item.kind == "latents":
            return tf.TensorSpec((batch, *model.latent_shape), item.dtype, key)
        shape = (batch, *(sizes.get(size) or int(size) for size in item.shape))
        return tf.TensorSpec(shape, item.dtype, key)

    compute = _FUNCTIONS[name]

    def function(*tensors):
        given = dict(zip(known, tensors, strict=True))
        for key in events:
            given[key] = None if key == "mask" else modalities.record_of(model, given, key)
        if told:
            own = {key: given.pop(key) for key in told}
            given["label"] = conditions.record_of(model, own, tensors[0])
        found = compute(model, images, Checks(model, refuse), **given)
        return modalities.named(model, found) if model.modalities else found

    defaults = {key: item.default for key, item in known.items() if item.default is not None}
    for key, item in known.items():
        if item.kind in ("condition", "modality") and item.shape:
            defaults[key] = np.full([*map(int, item.shape)], item.default, item.dtype).tolist()
    return Endpoint(tuple(spec(key, item) for key, item in known.items()), function, defaults)


def _for_every_row(values, like):
    """Returns one value for each row, of one value for all rows or one for each."""
    return tf.broadcast_to(values, tf.shape(like)[:1])


def _decode(model, images, check, z, label=None):
    z = check.latents(model.as_vectors(z), "z")
    params = dict(model.decode_params(z, check.label(label)))
    return check.outputs({"image": _mean_of(model, params), **params})


def _encode(model, images, check, image, label=None):
    x = check.events(images.decode(image), "image")
    return check.outputs(dict(model.on_grid(model.encode_params(x, check.label(label)))))


def _code(model, x, label):
    """Returns the posterior's mean for events, `[batch, latent_dim]`."""
    given = model.conditioned_on(label)
    return given.posterior.mean(given.encode_params(x))


def _reconstruct(model, images, check, image, label=None):
    label = check.label(label)
    z = _code(model, check.events(images.decode(image), "image"), label)
    return check.outputs({"image": mean(model, z, label)})


def _embed(model, images, check, image, label=None):
    x = check.events(images.decode(image), "image")
    z = _code(model, x, check.label(label))
    z = tf.ensure_shape(z, (image.shape[0], model.latent_dim))
    return check.outputs({"embedding": model.on_grid(z)})


def _generate(model, images, check, seed, temperature, label=None):
    label, seed = check.label(label), check.number(seed, "seed")
    temperature = check.number(temperature, "temperature")
    prior = model.prior.precomputed()  # Outside of the loop.

    def row(own):
        seed, temperature, *label = own
        given = prior.conditioned_on(label[0][None] if label else None)
        # `VAE.sample` draws z with the first half of the seed as well; the second one draws x.
        return given.sample(1, random.split(seed)[0], temperature)[0]

    # Latents are drawn row by row, because a server may put the rows of several clients into one
    # batch, and a row must not depend on its neighbours.
    rows = (row_seeds(seed), _for_every_row(temperature, seed))
    rows += (label,) if model.conditional else ()
    spec = tf.TensorSpec((model.latent_dim,), tf.float32)
    z = tf.map_fn(row, rows, fn_output_signature=spec)
    return check.outputs({"image": mean(model, z, label), "z": model.on_grid(z)})


def _between(model, check, start, end, steps, label) -> dict:
    """Returns latents and images on the way from `start` to `end`, `[batch, most steps, ...]`.

    Rows with fewer steps than others stay at their end.
    """
    steps = check.number(_for_every_row(steps, start), "steps")
    most = tf.reduce_max(steps)
    last = tf.cast(tf.maximum(steps - 1, 1), tf.float32)
    position = tf.cast(tf.range(most), tf.float32) / last[:, None]
    z = interpolation.interpolate(model, start, end, tf.minimum(position, 1.0))
    # Steps come first, since labels belong to the last of the leading axes.
    image = mean(model, tf.transpose(z, (1, 0, 2)), label)
    image = tf.transpose(image, (1, 0, *range(2, 2 + len(model.event_shape))))
    return check.outputs({"image": image, "z": model.on_grid(z)})


def _interpolate(model, images, check, z_start, z_end, steps, label=None):
    named = {"z_start": z_start, "z_end": z_end}
    ends = (check.latents(model.as_vectors(z), name) for name, z in named.items())
    return _between(model, check, *ends, steps, check.label(label))


def _interpolate_images(model, images, check, image_start, image_end, steps, label=None):
    label = check.label(label)
    ends = {"image_start": image_start, "image_end": image_end}
    start, end = (
        _code(model, check.events(images.decode(x), name), label) for name, x in ends.items()
    )
    return _between(model, check, start, end, steps, label)


def _score(model, images, check, image, seed, num_samples, label=None):
    count = check.number(_for_every_row(num_samples, seed), "num_samples")
    x, label = check.events(images.decode(image), "image"), check.label(label)
    terms = row_terms(model, x, check.number(seed, "seed"), count, label)
    return check.outputs({name: terms[name] for name in specification.SIGNATURES["score"].outputs})


def _impute(model, images, check, image, mask, seed, num_samples, label=None):
    count = check.number(_for_every_row(num_samples, seed), "num_samples")
    x = images.decode(image)
    x = check.events(x if mask is None else masks.hide(x, mask), "image")
    label = check.label(label)
    return check.outputs(row_imputation(model, x, check.number(seed, "seed"), count, label))


def _detect(model, images, check, image, label=None):
    calibration = model.calibration
    x, label = check.events(images.decode(image), "image"), check.label(label)
    seed, count = (
        tf.fill(tf.shape(x)[:1], tf.constant(value, tf.int64))
        for value in (calibration.seed, calibration.num_samples)
    )
    terms = row_terms(model, x, seed, count, label)
    found = verdict(calibration, scored(terms, calibration.score, calibration.typical))
    if model.likelihood.adds_values:
        found["map"] = row_map(model, x, seed, count, label)
    return check.outputs(found)


def verdict(calibration, score) -> dict[str, tf.Tensor]:
    """Returns scores `[batch]` with what a `kvae.detection.Calibration` says of them.

    Only operators that every runtime has are used. The quotients are looked up, since an optimized
    graph would multiply by the inverse.
    """
    normal = calibration.sorted_scores
    p_values = np.arange(len(normal) + 1, 0, -1, np.float64) / (len(normal) + 1)
    below = tf.reduce_sum(tf.cast(normal < score[:, None], tf.int32), axis=-1)
    return {
        "score": score,
        "p_value": tf.gather(p_values.astype(np.float32), below),
        "is_anomaly": score > calibration.threshold,
    }


def _encode_table(model, images, check, cells, label=None):
    x = check.cells(*TableCells(model.schema).numbers(cells), cells)
    return check.outputs(dict(model.encode_params(x, check.label(label))))


def _impute_table(model, images, check, cells, seed, num_samples, label=None):
    count = check.number(_for_every_row(num_samples, seed), "num_samples")
    table, label = TableCells(model.schema), check.label(label)
    x = check.cells(*table.numbers(cells), cells)
    found = row_imputation(model, x, check.number(seed, "seed"), count, label)
    filled = table.texts(found.pop("image"))
    return check.outputs({"cells": tf.where(table.missing(cells, x), filled, cells), **found})


def _generate_table(model, images, check, seed, temperature, label=None):
    label, seed = check.label(label), check.number(seed, "seed")
    temperature = check.number(temperature, "temperature")
    prior = model.prior.precomputed()

    def row(own):
        """Returns z and x as `VAE.sample` draws them by this seed."""
        seed, temperature, *label = own
        label = label[0][None] if label else None
        of_z, of_x = random.split(seed)
        z = prior.conditioned_on(label).sample(1, of_z, temperature)
        return z[0], model.likelihood.sample(model.decode_params(z, label), of_x)[0]

    rows = (row_seeds(seed), _for_every_row(temperature, seed))
    rows += (label,) if model.conditional else ()
    spec = (tf.TensorSpec((model.latent_dim,)), tf.TensorSpec(model.event_shape))
    z, x = tf.map_fn(row, rows, fn_output_signature=spec)
    return check.outputs({"cells": TableCells(model.schema).texts(x), "z": z})


def _classify(model, images, check, image):
    x = check.events(images.decode(image), "image")
    return check.outputs({"probabilities": tf.exp(model.objective.classify(model, x))})


_FUNCTIONS = {
    specification.DECODE: _decode,
    specification.ENCODE: _encode,
    "reconstruct": _reconstruct,
    "embed": _embed,
    "generate": _generate,
    "interpolate": _interpolate,
    "interpolate_images": _interpolate_images,
    "score": _score,
    "impute": _impute,
    "detect": _detect,
    "encode_table": _encode_table,
    "generate_table": _generate_table,
    "impute_table": _impute_table,
    "classify": _classify,
    "translate": _reconstruct,
}
