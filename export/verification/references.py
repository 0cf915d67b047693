"""The model's own answers to the inputs of its exported signatures."""

import zlib

import numpy as np

from export import conditions, modalities
from export.signatures import (
    DECODE,
    ENCODE,
    FILE_SUFFIX,
    OUTPUT_SUFFIX,
    PRIOR,
    left_out,
    specified_input,
)
from kvae.utils import masks

__all__ = ["answers", "cell_numbers", "kind_of_images", "moved", "verdicts"]


def answers(model, name: str, inputs: dict) -> dict[str, np.ndarray]:
    """Returns the model's own outputs; none for a signature that it does not know."""
    import tensorflow as tf

    from export.graphs import endpoints

    label, events = _label(model, inputs), _events(model, inputs)
    x = events.get("image")
    if name == DECODE:
        params = model.conditioned_on(label).decode_params(model.as_vectors(inputs["z"]))
        outputs = {"image": _decoded(model, inputs["z"], label), **params}
    elif name == ENCODE:
        mask = inputs.get("mask")  # Of a file whose runtime has no NaN.
        outputs = model.encode(x, label, mask=None if mask is None else mask > 0.5)
    elif name == "reconstruct":
        outputs = {"image": model.reconstruct(x, label)}
    elif name == "translate":
        outputs = {"image": model.translate(x, to=list(model.modalities))}
        # Files in which all names are different have these names.
        outputs |= {key + OUTPUT_SUFFIX: value for key, value in outputs["image"].items()}
    elif name == "embed":
        outputs = {"embedding": model.on_grid(_means(model, x, label))}
    elif name == PRIOR and model.prior is not None:
        given = model.prior.conditioned_on(label) if label is not None else model.prior
        z = given.transform({k: v for k, v in inputs.items() if k != "label"})
        outputs = {"z": model.on_grid(z)}
    elif name == "generate" and model.prior is not None:
        z = _draws(model, inputs["seed"], inputs.get("temperature"), label)
        outputs = {"image": _decoded(model, z, label), "z": model.on_grid(z)}
    elif name == "interpolate":
        ends = model.as_vectors(inputs["z_start"]), model.as_vectors(inputs["z_end"])
        outputs = _interpolation(model, *ends, inputs["steps"], label)
    elif name == "interpolate_images":
        ends = (_means(model, events[key], label) for key in ("image_start", "image_end"))
        outputs = _interpolation(model, *ends, inputs["steps"], label)
    elif name == "impute" and "seed" not in inputs and name not in left_out(model):
        outputs = _imputation(model, inputs)
    elif name == "encode_table":
        outputs = model.encode(_numbers_of_rows(model, inputs["cells"]), label)
    elif name == "generate_table" and model.prior is not None:
        outputs = _rows_and_latents(model, inputs["seed"], inputs.get("temperature"), label)
    elif name in ("score", "impute", "impute_table") and name not in left_out(model):
        # A test holds these numbers against the model's; here another runtime has to agree.
        kind = kind_of_images(inputs)
        endpoint = endpoints.endpoints(model, images=kind, signatures=[name])[name]
        tensors = [tf.constant(inputs[spec.name], spec.dtype) for spec in endpoint.inputs]
        outputs = dict(tf.function(endpoint.function, autograph=False)(*tensors))
        if "cells" in outputs:
            outputs["cells"] = cell_numbers(model, outputs["cells"].numpy())
    elif name == "detect" and name not in left_out(model):
        if "mask" in inputs:  # Of a file whose runtime has no NaN.
            x = masks.hide(x, inputs["mask"] > 0.5)
        outputs = _detection(model, x, label)
    elif name == "classify" and name not in left_out(model):
        mask = inputs.get("mask")
        known = None if mask is None else mask > 0.5
        outputs = {"probabilities": model.predict_proba(x, mask=known)}
    else:
        return {}
    if model.modalities and name not in ("score", "impute"):  # Endpoints name their own.
        outputs = modalities.named(model, outputs)
    return {key: np.asarray(value, np.float32) for key, value in outputs.items()}


def _decoded(model, z, label) -> np.ndarray:
    """Returns the events that signatures return for latents, records of several modalities."""
    if not model.modalities:
        return np.asarray(model.decode(z, label))
    import tensorflow as tf

    return np.asarray(model.decoded_to("point", tf.constant(z), None))


def _numbers_of_rows(model, cells) -> np.ndarray:
    """Returns x of the cells of all columns."""
    return model.schema.numbers([[cell.decode() for cell in row] for row in cells])


def cell_numbers(model, cells: np.ndarray) -> np.ndarray:
    """Returns cells that a runtime has made as numbers, which are equal where the cells are."""
    if model is None:
        return np.float64([[zlib.crc32(cell) for cell in row] for row in cells])
    return _numbers_of_rows(model, cells)


def _rows_and_latents(model, seeds, temperatures, label) -> dict[str, np.ndarray]:
    """Returns what `VAE.sample` draws row by row, within the bounds of the table, and z."""
    if temperatures is None:
        temperatures = np.ones(len(seeds), np.float32)
    rows = []
    for row, (seed, temperature) in enumerate(zip(seeds, temperatures, strict=True)):
        own = {} if label is None else {"label": label[row : row + 1]}
        options = {"output": "sample", "temperature": float(temperature)}
        rows.append(np.asarray(model.sample(1, seed=int(seed), **options, **own))[0])
    columns = model.schema.columns
    cells = [[c.number(v) for c, v in zip(columns, row, strict=True)] for row in rows]
    return {"cells": np.float32(cells), "z": _draws(model, seeds, temperatures, label)}


def _label(model, inputs) -> np.ndarray | None:
    """Returns the classes of a request, which may be one-hot, or its conditions, or `None`."""
    if model.modalities:
        return None
    label = inputs.get("label")
    if model.conditions is not None:
        if label is not None:  # As networks see them.
            return label
        told = {name: inputs[name] for name in conditions.inputs_of(model)}
        rows = next(iter(told.values()))
        return conditions.record_of(model, told, rows).numpy()
    return np.argmax(label, axis=-1) if label is not None and label.ndim == 2 else label


def _events(model, inputs) -> dict[str, np.ndarray]:
    """Returns the images of a request as the model takes them."""
    import tensorflow as tf

    from export.graphs import preprocessing

    if model.modalities:
        return modalities.records(model, inputs)
    images = preprocessing.images(model, kind_of_images(inputs))
    return {
        key.removesuffix(FILE_SUFFIX): np.asarray(images.decode(tf.constant(value)))
        for key, value in _images(inputs).items()
    }


def _images(inputs) -> dict[str, np.ndarray]:
    """Returns those inputs of a request that are images."""
    known = {key: specified_input(key) for key in inputs}
    return {key: inputs[key] for key, item in known.items() if item and item.kind == "image"}


def kind_of_images(inputs) -> str:
    """Names the preprocessing that inputs like these ask for."""
    images = list(_images(inputs).values())
    if not images or images[0].dtype.kind == "f":
        return "float32"
    return "png" if images[0].dtype.kind in "SO" else "uint8"


def _means(model, x, label):
    given = model.conditioned_on(label)
    return given.posterior.mean(given.encode_params(x))


def moved(model, inputs, tolerance: float) -> dict[str, float]:
    """Returns how far images of images move where their codes do so by `tolerance`, relatively.

    The codes of images that a model never saw are far out, where decoders are steep.

    Returns:
        dict of float, by the names of the outputs that are images.
    """
    label, farthest = _label(model, inputs), {}
    for x in _events(model, inputs).values():
        z = np.asarray(_means(model, x, label))
        signs = np.random.default_rng(0).choice([-1.0, 1.0], z.shape)
        step = tolerance * max(1.0, float(np.abs(z).max(initial=0.0)))
        moved = _decoded(model, (z + step * signs).astype(z.dtype), label).astype(np.float64)
        by = {"image": np.abs(moved - _decoded(model, z, label))}
        for key, value in (modalities.named(model, by) if model.modalities else by).items():
            farthest[key] = max(farthest.get(key, 0.0), float(value.max()))
    return farthest


def _detection(model, x, label) -> dict[str, np.ndarray]:
    from kvae.detection import Detector

    detector = Detector(model)
    score = detector.score(x, label)
    where = {"map": detector.map(x, label)} if model.likelihood.adds_values else {}
    return {"score": score, **verdicts(model, score), **where}


def verdicts(model, score) -> dict[str, np.ndarray]:
    """Returns what the model's calibration says of scores that a runtime has computed."""
    calibration = model.calibration
    found = {"p_value": calibration.p_value(score), "is_anomaly": calibration.is_anomaly(score)}
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def _imputation(model, inputs) -> dict:
    """Returns what TensorFlow makes of a request whose noise is given."""
    import tensorflow as tf

    from export.graphs import given_noise

    noise = next(inputs[name] for name in model.posterior.base_noise())
    floats = inputs["mask"].dtype != bool
    endpoint = given_noise.impute(model, noise.shape[1], floats=floats)
    tensors = [tf.constant(inputs[spec.name], spec.dtype) for spec in endpoint.inputs]
    found = tf.function(endpoint.function, autograph=False)(*tensors)
    return {**found, "image" + OUTPUT_SUFFIX: found["image"]}


def _draws(model, seeds, temperatures, label):
    """Draws of the prior, one for each row by its own seed."""
    import tensorflow as tf

    from kvae import random

    @tf.function(autograph=False)
    def draw(seed, temperature, label):
        return model.conditioned_on(label).prior.sample(1, random.split(seed)[0], temperature)

    if temperatures is None:
        temperatures = np.ones(len(seeds), np.float32)
    draws = []
    for row, (seed, temperature) in enumerate(zip(seeds, temperatures, strict=True)):
        own = None if label is None else tf.constant(label[row : row + 1])
        draws.append(draw(random.as_seed(int(seed)), tf.constant(temperature), own))
    return np.concatenate(draws)


def _interpolation(model, start, end, steps, label) -> dict[str, np.ndarray]:
    """Returns the way of each row; one with fewer steps than the longest stays at its end."""
    from kvae.utils import interpolation

    most = int(max(steps))
    positions = [np.append(np.linspace(0.0, 1.0, n), np.ones(most))[:most] for n in steps]
    z = np.asarray(interpolation.interpolate(model, start, end, np.stack(positions)))
    labels = None if label is None else np.repeat(label, most, axis=0)
    images = _decoded(model, z.reshape(-1, model.latent_dim), labels)
    images = images.reshape(*z.shape[:2], *images.shape[1:])
    return {"image": images, "z": np.asarray(model.on_grid(z))}
