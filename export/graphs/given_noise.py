"""The graphs of `detect` and `impute` for files that draw no random numbers.

The noise of `detect` is that of the model's threshold, the same for every row, and a constant of
the graph. That of `impute` is an input, `[batch, num_samples, size]` by the names of the
posterior's base noise: one whose name ends in `uniform` takes numbers uniform on [0, 1), any other
takes N(0, 1).
"""

import numpy as np
import tensorflow as tf

from export import conditions
from export.graphs.checks import Checks
from export.graphs.endpoints import Endpoint, refuse_left_out, verdict
from kvae.detection.scores import scored
from kvae.evaluation import given_noise
from kvae.evaluation.rows import row_noise
from kvae.models.labels import label_size

__all__ = ["detect", "impute"]


def detect(model, batch: int | None = None, floats: bool = False) -> Endpoint:
    """Returns the signature `detect`.

    Args:
        model: `kvae.VAE`.
        batch: int or `None`. A fixed batch size. Defaults to `None`: any size.
        floats: bool. Whether all inputs and outputs are float32, as TFLite files have them: a label
            is one-hot, what was observed is told by a `mask` of 1 and 0, and the verdict is 1 or 0.
            Otherwise they are those of a SavedModel, and rows that the model does not take come
            back as NaN. Defaults to `False`.

    Raises:
        ValueError: for a model without a threshold.
    """
    refuse_left_out(model, "detect")
    calibration = model.calibration
    noise = row_noise(model.posterior, calibration.seed, calibration.num_samples)
    noise = {name: value.numpy() for name, value in noise.items()}

    def compute(x, label):
        own = {
            name: tf.broadcast_to(value, [len(value), tf.shape(x)[0], value.shape[-1]])
            for name, value in noise.items()
        }
        terms = given_noise.terms(model, x, own, label)
        found = verdict(calibration, scored(terms, calibration.score, calibration.typical))
        if model.likelihood.adds_values:
            found["map"] = given_noise.map_of_values(model, x, own, label)
        return found

    # Without a mask, NaN is what was not observed.
    masked = floats and model.missing is not None
    return _endpoint(model, batch, floats, masked, {}, compute)


def impute(
    model, num_samples: int, batch: int | None = None, floats: bool = False, guess: bool = False
) -> Endpoint:
    """Returns the signature `impute`, with the noise of `num_samples` draws as further inputs.

    Args:
        model, batch, floats: as for `detect`.
        num_samples: int. The number of importance samples.
        guess: bool. Whether there is an input `guess`, like `image`, which the encoder sees in the
            gaps in the place of the model's fill. Defaults to `False`.

    Raises:
        ValueError: for a model that takes no missing values, or whose posterior has no density.
    """
    refuse_left_out(model, "impute")
    noise = {
        name: tf.TensorSpec((batch, num_samples, item.size), tf.float32, name)
        for name, item in model.posterior.base_noise().items()
    }

    if guess:
        noise["guess"] = tf.TensorSpec((batch, *model.event_shape), tf.float32, "guess")

    def compute(x, label, guess=None, **noise):
        drawn = {name: tf.transpose(value, (1, 0, 2)) for name, value in noise.items()}
        return given_noise.imputation(model, x, drawn, label, guess)

    return _endpoint(model, batch, floats, True, noise, compute)


def _endpoint(model, batch, floats: bool, masked: bool, others: dict, compute) -> Endpoint:
    event, specs = (batch, *model.event_shape), {}
    specs["image"] = tf.TensorSpec(event, tf.float32, "image")
    if masked:
        specs["mask"] = tf.TensorSpec(event, tf.float32 if floats else tf.bool, "mask")
    told = {} if floats else conditions.inputs_of(model)
    if model.conditional and floats:
        specs["label"] = tf.TensorSpec((batch, label_size(model)), tf.float32, "label")
    elif model.num_classes is not None:
        specs["label"] = tf.TensorSpec((batch,), tf.int64, "label")
    for name, item in told.items():
        specs[name] = tf.TensorSpec((batch, *map(int, item.shape)), item.dtype, name)
    specs |= others

    def function(*tensors):
        given = dict(zip(specs, tensors, strict=True))
        if told:
            own = {name: given.pop(name) for name in told}
            given["label"] = conditions.record_of(model, own, tensors[0])
        x, mask, label = (given.pop(name, None) for name in ("image", "mask", "label"))
        if mask is not None:
            x = tf.where(mask > 0.5 if floats else mask, x, np.float32("nan"))
        if floats:
            if model.num_classes is not None:
                label = tf.argmax(label, axis=-1, output_type=tf.int32)
            found = compute(x, label, **given)
            return {name: tf.cast(value, tf.float32) for name, value in found.items()}
        check = Checks(model, refuse=False)
        return check.outputs(compute(check.events(x, "image"), check.label(label), **given))

    return Endpoint(tuple(specs.values()), function)
