"""Decoders as TFLite files, for LiteRT on phones, boards and in browsers."""

import os
import pathlib
import tempfile

import numpy as np

from kvae import io, names

__all__ = ["PRECISIONS", "tflite"]

# Bytes of one weight.
PRECISIONS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}

_SIGNATURE = "serving_default"
_CALIBRATION_ROWS = 256


def tflite(
    model,
    path: str | os.PathLike,
    precision: str = "float32",
    batch_size: int = 1,
    calibration=None,
) -> pathlib.Path:
    """Writes a model's decoder as a TFLite file.

    The file has the signature `serving_default`: `z` `[batch_size, latent_dim]` to `image`
    `[batch_size, *event]`, the mean of p(x|z), both float32 at every precision. The decoder of a
    conditional model takes a second input `label`, one-hot, float32 `[batch_size, num_classes]`.
    It uses TFLite's
    built-in operators only and a fixed batch size (accelerators reject others). Sampling stays with
    the caller: random operators do not convert, so draw z from the prior on the device.

    The finished file is loaded and run once in LiteRT, in a process of its own, before it appears
    under its name.

    Args:
        model: `kvae.VAE`. Built.
        path: str or path. The file, usually `*.tflite`. An older one is replaced.
        precision: str. `"float32"`; `"float16"` (half-size weights); `"dynamic"` (8-bit weights,
            where a layer has at least 1024 of them); `"int8"` (8-bit weights and activations, with
            float32 kept at the ends). Defaults to `"float32"`.
        batch_size: int. Rows for each call. Defaults to `1`.
        calibration: array, pair or Dataset, for `"int8"` only: images `[n, *event]`, of which
            posterior samples are taken (beside as many prior draws, where there is a prior), or
            latents `[n, latent_dim]`, taken as they are; where both fit the shape, images are
            meant. They set the range of each activation, and latents beyond the range are cut off.
            Of a conditional model a pair of these and their labels `[n]`, or a
            `kvae.datasets.Dataset` with labels. Defaults to 256 draws from the prior (of all
            classes in turn).

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: if LiteRT, which checks the file, is not installed.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: for an unknown precision, a batch size below 1, a model that is not built or
            whose decoder does not convert, and for calibration data that are missing (`"int8"`
            without a prior), of another shape, not finite, or given for another precision.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    images = kvae.datasets.load("mnist", "train").images[:256]
    path = export.tflite(vae, "mnist.tflite", "int8", calibration=images)
    ```
    """
    from export import endpoints
    from export.runtime import litert

    litert.require()
    endpoints.exportable(model)
    if precision not in PRECISIONS:
        raise names.unknown_name("precision", precision, PRECISIONS)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"`batch_size` is a positive integer, not {batch_size!r}.")
    if calibration is not None and precision != "int8":
        raise ValueError(
            f"Only precision 'int8' is calibrated, not {precision!r}: leave `calibration` out."
        )
    half = [layer.name for layer in model.decoder.layers if "float16" in layer.compute_dtype]
    if half:
        raise ValueError(
            f"The decoder of {model.name!r} computes in half precision ({half[0]!r}), which TFLite "
            "does not take. Build the model under keras.config.set_dtype_policy('float32') and "
            "load the weights into it; choose precision='float16' for a file of half the size."
        )
    path = pathlib.Path(path)
    samples = None if precision != "int8" else _representative(model, calibration)
    # The file's folder comes first: a conversion takes long, a path that cannot be written is
    # known at once.
    with io.atomic_write(path) as temporary:
        temporary.write_bytes(_convert(model, precision, int(batch_size), samples))
        _check(model, temporary, path, precision, int(batch_size))
    return path


def _representative(model, calibration) -> dict[str, np.ndarray]:
    """Gives inputs of the decoder as it will meet them: latents, a conditional model's labels."""
    if calibration is None:
        if model.prior is None:
            raise ValueError(
                f"{model.name!r} has no prior to draw latents from, and precision 'int8' needs "
                "some: give `calibration`, a few hundred images or latents."
            )
        label = np.arange(_CALIBRATION_ROWS) % (model.num_classes or 1)
        given = model.given(label if model.conditional else None)
        return _decoder_inputs(model, given.prior.sample(_CALIBRATION_ROWS, 0), label)
    label = None
    if isinstance(calibration, tuple):
        calibration, label = calibration
    if hasattr(calibration, "images"):
        calibration, label = calibration.images, calibration.labels if model.conditional else None
    given = np.asarray(calibration)
    events = given.shape[1:] == tuple(model.event_shape)
    fits = events or given.shape[1:] == (model.latent_dim,)
    if given.ndim < 2 or not len(given) or not fits:
        raise ValueError(
            f"`calibration` has shape {given.shape}; it is images (n, "
            f"{', '.join(map(str, model.event_shape))}) or latents (n, {model.latent_dim})."
        )
    if not np.isfinite(given).all():
        raise ValueError("`calibration` holds NaN or infinite values. Remove them.")
    if not events:
        model.decode(given, label)  # Checks the labels.
        return _decoder_inputs(model, given, label)
    model.likelihood.check(given, "calibration")
    params = model.encode(given.astype(np.float32), label)
    known = model.given(label)
    latents = np.asarray(known.posterior.sample(params, seed=0), np.float32)
    if model.prior is None:
        return _decoder_inputs(model, latents, label)
    drawn = np.asarray(known.prior.sample(len(latents), 1), np.float32)
    # In turn, so that a prefix of the rows has both.
    both = np.stack([latents, drawn], axis=1).reshape(-1, model.latent_dim)
    return _decoder_inputs(model, both, None if label is None else np.repeat(label, 2))


def _decoder_inputs(model, latents, label) -> dict[str, np.ndarray]:
    found = {"z": np.asarray(latents, np.float32)}
    if model.conditional:
        # One-hot: the converter's own operator for it comes out wrong in eight bits.
        found["label"] = np.eye(model.num_classes, dtype=np.float32)[label]
    return found


def _convert(model, precision: str, batch: int, samples) -> bytes:
    import tensorflow as tf

    from export import converter, endpoints
    from export.runtime import child

    def decode(z, label=None):
        return {"image": tf.cast(endpoints.mean(model, z, label), tf.float32)}

    inputs = [tf.TensorSpec((batch, model.latent_dim), tf.float32, name="z")]
    if model.conditional:
        inputs.append(tf.TensorSpec((batch, model.num_classes), tf.float32, name="label"))
    # Through a SavedModel: `from_concrete_functions` can lose a Keras model's weights silently.
    with tempfile.TemporaryDirectory(prefix="kvae-tflite-") as folder:
        endpoints.write({_SIGNATURE: endpoints.Endpoint(tuple(inputs), decode)}, folder)
        try:
            if samples is None:
                return converter.convert(folder, precision, _SIGNATURE)
        except Exception as error:
            why = converter.reason(error)
        else:
            # Calibration runs the decoder in TensorFlow's old interpreter, which can crash (a
            # loop is enough, such as an LSTM's): not in this process.
            call = child.Call(precision, {"signature": np.array(_SIGNATURE), **samples})
            answer = child.request("export.converter", folder, [call], timeout=3600.0)
            if answer.failure:
                why = f"{answer.failure} while calibrating (recurrent layers need unroll=True)"
            elif not answer.results[0].error:
                return answer.results[0].outputs["file"].tobytes()
            else:
                why = answer.results[0].error
    raise ValueError(
        f"The decoder of {model.name!r} does not convert to TFLite's built-in operators at "
        f"precision {precision!r}: {why}. Use another precision, or other layers in the decoder."
    )


def _check(model, file: pathlib.Path, path: pathlib.Path, precision: str, batch: int) -> None:
    """Runs the file once in LiteRT: a converter can write a file that only looks right."""
    from export.runtime import child

    zeros = _decoder_inputs(model, np.zeros((batch, model.latent_dim)), np.zeros(batch, int))
    call = child.Call(_SIGNATURE, zeros)
    answer = child.request("export.runtime.litert", file, [call], timeout=300.0)
    problem = answer.failure or answer.load_error
    if not problem:
        problem = answer.results[0].error
    if not problem:
        operators = answer.facts["operators"]
        foreign = [n for n in operators if n.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
        image = answer.results[0].outputs["image"]
        # Vectors (biases, normalisation) may be folded away; matrices and kernels stay.
        weights = sum(int(np.prod(v.shape)) for v in model.decoder.weights if len(v.shape) > 1)
        size = file.stat().st_size
        if foreign:
            problem = f"it uses operators that are not built in: {', '.join(foreign)}"
        elif size < 0.5 * weights * PRECISIONS[precision]:
            problem = f"it has {size} bytes, too few for the decoder's {weights} weights"
        elif image.shape != (batch, *model.event_shape) or not np.isfinite(image).all():
            problem = "its image is not finite or has another shape"
    if problem:
        raise ValueError(
            f"The TFLite file of {model.name!r} at precision {precision!r} does not run, so "
            f"{path} was not written: {problem}."
        )
