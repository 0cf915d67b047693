"""The inputs and outputs of the signatures of a model of several modalities: one for each, by name.

An input of events, such as `image`, is one for each modality, and so is an output. All are float32,
class numbers too. What is below −1e38 is absent, as is an input that is left out: NaN, which is
absent to the model, is no number of JSON.
"""

from collections.abc import Mapping

import numpy as np

from export.conditions import LEAST, UNKNOWN
from export.signatures import EVENTS, INPUTS, SIGNATURES, Input, Signature, TensorInfo
from kvae.utils.names import unknown_name

__all__ = [
    "check",
    "check_file",
    "chosen",
    "events_among",
    "inputs_of",
    "named",
    "observed_record",
    "record_of",
    "records",
    "sent",
    "taken",
    "values_of",
]

_ENDINGS = ("", "_start", "_end", "_map")


def check(model) -> None:
    """Refuses modalities whose names are those of other inputs or outputs.

    Raises:
        ValueError: with the modality.
    """
    if not model.modalities:
        return
    taken = {name for item in SIGNATURES.values() for name in item.outputs} | set(INPUTS)
    taken -= {"image", "label"}
    taken |= {key + end for key in model.modalities for end in _ENDINGS[1:]}
    taken |= {name.replace("/", "_") for name in (*_parameters(model), *_of_posterior(model))}
    for key in model.modalities:
        if key in taken:
            raise ValueError(
                f"The modality {key!r} of {model.name!r} has the name of an input or output of "
                "signatures, so the model cannot be exported: give the modality another name."
            )


def check_file(model, part: str, precision: str = "float32") -> None:
    """Refuses the parts of TFLite and ONNX files that a model of several modalities lacks.

    Raises:
        ValueError: with what to export in their place.
    """
    if part in ("impute", "detect"):
        raise ValueError(
            f"A file of several modalities has no part {part!r}: export a SavedModel, whose "
            "signatures have it, or choose 'translate'."
        )
    if precision == "int8":
        raise ValueError(
            f"{model.name!r} has several modalities, whose ranges are too different for one "
            "calibration in eight bits: use precision='dynamic', 'float16' or 'float32'."
        )


def inputs_of(model, name: str) -> dict[str, Input]:
    """Returns the inputs that one of events is, by name; `mask` is none.

    Args:
        model: `kvae.VAE` of several modalities.
        name: str. One of `export.signatures.EVENTS`, e.g. `"image_start"`.
    """
    if name == "mask":
        return {}
    end = name.removeprefix("image")
    return {
        key + end: Input("modality", key, "float32", tuple(map(str, shape)), UNKNOWN)
        for key, shape in model.likelihood.shapes.items()
    }


def record_of(model, values: Mapping, name: str):
    """Returns the record `[batch, columns]` of a request, and takes its values out of `values`.

    Args:
        model: `kvae.VAE` of several modalities.
        values: dict of tensors, of one row or of all.
        name: str. As of `inputs_of`.
    """
    import tensorflow as tf

    record, observed = observed_record(model, values, name)
    return tf.where(observed, record, np.float32("nan"))


def observed_record(model, values: dict, name: str = "image") -> tuple:
    """Returns the record of a request with 0 for what is absent, and the mask of what is there.

    The arguments are those of `record_of`.
    """
    import tensorflow as tf

    own = [values.pop(key) for key in inputs_of(model, name)]
    counts = [value.shape[0] for value in own]
    known = None not in counts  # As in TFLite files.
    rows = max(counts) if known else tf.reduce_max([tf.shape(value)[0] for value in own])
    sizes = model.likelihood.sizes.values()
    flat = [
        tf.broadcast_to(tf.reshape(value, [-1, size]), [rows, size])
        for value, size in zip(own, sizes, strict=True)
    ]
    record = tf.concat(flat, axis=-1)
    observed = record >= LEAST
    return tf.where(observed, record, 0.0), observed


def records(model, inputs: Mapping) -> dict[str, np.ndarray]:
    """Returns the records of a request's arrays by the names of events, NaN for what is absent."""
    found = {}
    for name in EVENTS:
        own = inputs_of(model, name)
        if own and set(own) <= set(inputs):
            rows = max(len(inputs[key]) for key in own)
            flat = [np.float32(inputs[key]).reshape(len(inputs[key]), -1) for key in own]
            record = np.concatenate([np.repeat(v, rows // len(v), axis=0) for v in flat], axis=1)
            found[name] = np.where(record < LEAST, np.float32("nan"), record)
    return found


def values_of(model, record) -> dict[str, np.ndarray]:
    """Returns a record `[n, columns]` by modality, as a request has it."""
    values = model.likelihood.split(np.asarray(record, np.float32))
    return {key: np.where(np.isnan(value), UNKNOWN, value) for key, value in values.items()}


def named(model, outputs: dict) -> dict:
    """Returns the outputs of a signature with those of events, and parameters, by modality."""
    found = {}
    for name, value in outputs.items():
        if name in ("image", "map"):
            own = value if isinstance(value, Mapping) else model.likelihood.split(value)
            end = "" if name == "image" else "_map"
            found |= {key + end: values for key, values in own.items()}
        else:  # A slash is a folder to TensorFlow.
            found[name.replace("/", "_")] = value
    return found


def sent(name: str, value, known: dict[str, TensorInfo], mask=None) -> dict[str, np.ndarray]:
    """Returns the inputs that modalities by name are; what is left out, or NaN, is absent.

    Args:
        name: str. Their argument, e.g. `"image_start"`.
        value: mapping from names to arrays.
        known: dict of the modalities, as the server describes them.
        mask: mapping from names to bool arrays `[n]` or of the shape of the values, True for what
            is there. Defaults to `None`: all that is given.

    Raises:
        ValueError: for what is no mapping, has no modality, or an unknown one, and for a mask of
            another type or shape.
    """
    mask = {} if mask is None else mask
    example = ", ".join(f"{key!r}: …" for key in known)
    for said, given in ((name, value), ("mask", mask)):
        if not isinstance(given, Mapping):
            raise ValueError(
                f"`{said}` is a dict of modalities, of which any may be left out: {{{example}}}."
            )
        for key in given:
            if key not in known:
                raise unknown_name("modality", key, known)
    arrays = {key: np.asarray(one) for key, one in value.items() if one is not None}
    if not arrays or not all(one.ndim for one in arrays.values()):
        raise ValueError(
            f"`{name}` has an array with a row for each example, of one modality at least: "
            f"{{{example}}}."
        )
    rows = len(next(iter(arrays.values())))
    found = {}
    for key, info in known.items():
        one = arrays.get(key, np.full((rows, *info.shape[1:]), UNKNOWN, np.float32))
        if one.dtype.kind == "f":
            one = np.where(np.isnan(one), UNKNOWN, one)
        if key in mask:
            one = np.where(_checked_mask(key, mask[key], one), one, UNKNOWN)
        found[key + name.removeprefix("image")] = one
    return found


def _checked_mask(key: str, mask, values: np.ndarray) -> np.ndarray:
    """Returns the mask of a modality with the axes of its values."""
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape not in (values.shape, values.shape[:1]):
        raise ValueError(
            f"`mask[{key!r}]` is {mask.dtype.name} of shape {mask.shape}; give a bool for each row "
            f"or for each value, {values.shape[:1]} or {values.shape}, True for what is there."
        )
    return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))


def taken(inputs: dict, signatures: Mapping[str, Signature]) -> dict[str, np.ndarray]:
    """Takes the events of a model of several modalities out of inputs, and returns what is sent.

    Args:
        inputs: dict of a client's inputs.
        signatures: those that the server has. A model of several modalities has `translate`.
    """
    if "translate" not in signatures:
        return {}
    found: dict[str, np.ndarray] = {}
    mask = inputs.pop("mask", None)
    for name in [name for name in inputs if name in EVENTS]:
        found |= sent(name, inputs.pop(name), signatures["translate"].inputs, mask)
    return found


def events_among(outputs: Mapping, signatures: Mapping[str, Signature], name: str):
    """Returns the events among a server's outputs, a dict of those of several modalities.

    Args:
        outputs: dict of arrays.
        signatures: as of `taken`.
        name: str. `"image"` or `"map"`.
    """
    if "translate" not in signatures:
        return outputs.get(name)
    end = "" if name == "image" else f"_{name}"
    return {key: outputs[key + end] for key in signatures["translate"].inputs}


def chosen(found: dict[str, np.ndarray], to) -> np.ndarray | dict[str, np.ndarray]:
    """Returns the modality that is asked for by name, or a dict of several, or all for `None`."""
    wanted = list(found) if to is None else [to] if isinstance(to, str) else list(to)
    for name in wanted:
        if name not in found:
            raise unknown_name("modality", name, found)
    return found[to] if isinstance(to, str) else {name: found[name] for name in wanted}


def _of_posterior(model) -> list[str]:
    """Returns the names of the posterior's parameters, outputs of `encode`."""
    nothing = np.full((1, *model.event_shape), np.nan, "float32")
    return list(model.encode_params(nothing))


def _parameters(model) -> list[str]:
    """Returns the names of the likelihood's parameters."""
    import keras

    shape = (None, *model.likelihood.output_shape(model.event_shape))
    return list(model.likelihood.compute_output_spec(keras.KerasTensor(shape)))
