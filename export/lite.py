"""Models as TFLite files, for LiteRT on phones, boards and in browsers."""

import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from kvae.utils import io, names

__all__ = ["PARTS", "PRECISIONS", "tflite"]

# Bytes of one weight.
PRECISIONS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
PARTS = ("decoder", "encoder", "both")

_DECODE, _ENCODE, _PRIOR = "serving_default", "encode", "prior"
_CALIBRATION_ROWS = 256
# What weights in 16 bits may change, of an image in [0, 1]; relative to larger numbers.
_HALF_ERROR = 1e-3


def tflite(
    model,
    path: str | os.PathLike,
    precision: str = "float32",
    batch_size: int = 1,
    calibration=None,
    parts: str = "decoder",
    prior: bool = True,
    card=None,
) -> pathlib.Path:
    """Writes a model's decoder, encoder or both as a TFLite file.

    Its signatures:

    - `serving_default` (decode): `z` `[batch_size, latent_dim]` to `image` `[batch_size, *event]`,
      the mean of p(x|z).
    - `encode`: `image` to the posterior's parameters, e.g. `z_mean` and `z_log_var`.
    - `prior`, beside a decoder whose prior is no standard Gaussian: plain noise to `z`. An input
      whose name ends in `uniform` takes numbers uniform on [0, 1), any other (`noise`) takes
      N(0, 1). It is float32 at every precision.

    All inputs and outputs are float32. Those of a conditional model take a second input `label`,
    one-hot, float32 `[batch_size, num_classes]`. The file uses TFLite's built-in operators only and
    a fixed batch size (accelerators reject others). Sampling stays with the caller: random
    operators do not convert, so draw the noise on the device.

    Blocks that LiteRT's GPU accelerator rejects are written otherwise: a ReLU after a transposed
    convolution, group normalisation, nearest up-sampling. Metadata called `kvae.json` say what the
    file is: the range of the inputs, the prior, the signatures and what, if anything, keeps each
    from running on the GPU as a whole (`gpu`); with a card the preprocessing and the licence too.

    A SHA-256 of the file is in its metadata too (`kvae.sha256`): `export.verify` and the loader of
    this package, `export.runtime.litert.Model`, refuse a file that was cut off or altered. Other
    interpreters read over it.

    The finished file is loaded and run once in LiteRT, in a process of its own, before it appears
    under its name.

    Args:
        model: `kvae.VAE`. Built.
        path: str or path. The file, usually `*.tflite`. An older one is replaced.
        precision: str. `"float32"`; `"float16"` (half-size weights, save the smallest ones where
            they would change an image in [0, 1] by more than 1e-3); `"dynamic"` (8-bit weights,
            where a layer has at least 1024 of them); `"int8"` (8-bit weights and activations, with
            float32 kept at the ends). Defaults to `"float32"`.
        batch_size: int. Rows for each call. Defaults to `1`.
        calibration: array, pair or Dataset, for `"int8"` only: images `[n, *event]`, of which
            posterior samples are taken (beside as many prior draws, where there is a prior), or
            latents `[n, latent_dim]`, taken as they are; where both fit the shape, images are
            meant. They set the range of each activation, and values beyond the range are cut off.
            Of a conditional model a pair of these and their labels `[n]`, or a
            `kvae.datasets.Dataset` with labels. Defaults to 256 draws from the prior (of all
            classes in turn); an encoder needs images.
        parts: str. `"decoder"`, `"encoder"` or `"both"`. Defaults to `"decoder"`.
        prior: bool. Whether a prior other than the standard Gaussian goes with the decoder.
            Defaults to `True`.
        card: optional `zoo.Card`, for the metadata.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: if LiteRT, which checks the file, is not installed.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        OSError: if the disk is full.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: for an unknown precision, a batch size below 1, a model that is not built or a
            part of which does not convert, and for calibration data that are missing (`"int8"`
            without a prior or with an encoder), of another shape, not finite, or given for another
            precision.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    images = kvae.datasets.load("mnist", "train").examples[:256]
    path = export.tflite(vae, "mnist.tflite", "int8", calibration=images)
    ```
    """
    from export import endpoints
    from export.runtime import litert

    litert.require()
    endpoints.exportable(model)
    if precision not in PRECISIONS:
        raise names.unknown_name("precision", precision, PRECISIONS)
    if parts not in PARTS:
        raise names.unknown_name("parts", parts, PARTS)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"`batch_size` is a positive integer, not {batch_size!r}.")
    if calibration is not None and precision != "int8":
        raise ValueError(
            f"Only precision 'int8' is calibrated, not {precision!r}: leave `calibration` out."
        )
    path = pathlib.Path(path)
    signatures = []
    if parts != "encoder":
        samples = None if precision != "int8" else _representative(model, calibration)
        signatures.append(_decoder(model, precision, int(batch_size), samples))
        if prior and _has_transform(model.prior):
            signatures.append(_prior(model, int(batch_size)))
    if parts != "decoder":
        samples = None if precision != "int8" else _images(model, calibration)
        signatures.append(_encoder(model, precision, int(batch_size), samples))
    # The file's folder comes first: a conversion takes long, a path that cannot be written is
    # known at once.
    with io.atomic_write(path) as temporary:
        temporary.write_bytes(_file(model, signatures, precision, card))
        _check(model, signatures, temporary, path, precision, int(batch_size))
    return path


@dataclasses.dataclass(frozen=True)
class _Signature:
    """What becomes one signature of the file.

    Attributes:
        name: str.
        what: str. For errors, e.g. "decoder".
        endpoint: `export.endpoints.Endpoint`, of a fixed batch size.
        precision: str.
        network: keras.Model or `None`. The one in it that the user made.
        samples: dict of arrays or `None`. Representative inputs, for `"int8"`.
    """

    name: str
    what: str
    endpoint: Any
    precision: str
    network: Any = None
    samples: dict[str, np.ndarray] | None = None


def _label(model, batch: int) -> list:
    import tensorflow as tf

    if not model.conditional:
        return []
    # One-hot: the converter's own operator for it comes out wrong in eight bits.
    return [tf.TensorSpec((batch, model.num_classes), tf.float32, name="label")]


def _decoder(model, precision: str, batch: int, samples) -> _Signature:
    import tensorflow as tf

    from export import endpoints

    def decode(z, label=None):
        return {"image": tf.cast(endpoints.mean(model, z, label), tf.float32)}

    inputs = (
        tf.TensorSpec((batch, model.latent_dim), tf.float32, name="z"),
        *_label(model, batch),
    )
    _refuse_half(model, model.decoder, "decoder")
    endpoint = endpoints.Endpoint(inputs, decode)
    return _Signature(_DECODE, "decoder", endpoint, precision, model.decoder, samples)


def _encoder(model, precision: str, batch: int, samples) -> _Signature:
    import tensorflow as tf

    from export import endpoints

    def encode(image, label=None):
        params = model.encode_params(image, label)
        return {name: tf.cast(value, tf.float32) for name, value in params.items()}

    inputs = (
        tf.TensorSpec((batch, *model.event_shape), tf.float32, name="image"),
        *_label(model, batch),
    )
    _refuse_half(model, model.encoder, "encoder")
    endpoint = endpoints.Endpoint(inputs, encode)
    return _Signature(_ENCODE, "encoder", endpoint, precision, model.encoder, samples)


def _has_transform(prior) -> bool:
    return prior is not None and not prior.standard_normal


def _prior(model, batch: int) -> _Signature:
    import tensorflow as tf

    from export import endpoints

    known = (
        model.prior.precomputed()
    )  # What depends on no noise is computed here, not on the device.
    try:
        sizes = known.plain_noise()
    except ValueError as error:
        raise _prior_error(model, str(error)) from None
    order = list(sizes)
    label = _label(model, batch) if model.prior.conditional else []

    def place(*arguments):
        given = known
        if label:
            given = known.conditioned_on(tf.argmax(arguments[-1], axis=-1, output_type=tf.int32))
        return {"z": given.place(dict(zip(order, arguments, strict=False)))}

    inputs = [tf.TensorSpec((batch, sizes[name]), tf.float32, name=name) for name in order]
    endpoint = endpoints.Endpoint((*inputs, *label), place)
    return _Signature(_PRIOR, f"prior ({type(model.prior).__name__})", endpoint, "float32")


def _prior_error(model, why: str) -> ValueError:
    return ValueError(
        f"The prior of {model.name!r} ({type(model.prior).__name__}) does not convert to TFLite's "
        f"built-in operators: {why}. Leave it out with prior=False, and draw z elsewhere."
    )


def _refuse_half(model, network, what: str) -> None:
    half = [layer.name for layer in network.layers if "float16" in layer.compute_dtype]
    if half:
        raise ValueError(
            f"The {what} of {model.name!r} computes in half precision ({half[0]!r}), which TFLite "
            "does not take. Build the model under keras.config.set_dtype_policy('float32') and "
            "load the weights into it; choose precision='float16' for a file of half the size."
        )


def _representative(model, calibration) -> dict[str, np.ndarray]:
    """Gives inputs of the decoder as it will meet them: latents, a conditional model's labels."""
    if calibration is None:
        if model.prior is None:
            raise ValueError(
                f"{model.name!r} has no prior to draw latents from, and precision 'int8' needs "
                "some: give `calibration`, a few hundred images or latents."
            )
        label = np.arange(_CALIBRATION_ROWS) % (model.num_classes or 1)
        given = model.conditioned_on(label if model.conditional else None)
        return _decoder_inputs(model, given.prior.sample(_CALIBRATION_ROWS, 0), label)
    given, label, events = _given(model, calibration)
    if not events:
        model.decode(given, label)  # Checks the labels.
        return _decoder_inputs(model, given, label)
    params = model.encode(given, label)
    known = model.conditioned_on(label)
    latents = np.asarray(known.posterior.sample(params, seed=0), np.float32)
    if model.prior is None:
        return _decoder_inputs(model, latents, label)
    drawn = np.asarray(known.prior.sample(len(latents), 1), np.float32)
    # In turn, so that a prefix of the rows has both.
    both = np.stack([latents, drawn], axis=1).reshape(-1, model.latent_dim)
    return _decoder_inputs(model, both, None if label is None else np.repeat(label, 2))


def _images(model, calibration) -> dict[str, np.ndarray]:
    """Gives inputs of the encoder."""
    events = False
    if calibration is not None:
        given, label, events = _given(model, calibration)
    if not events:
        raise ValueError(
            "Precision 'int8' of an encoder needs images: give `calibration`, a few hundred of "
            f"shape {tuple(model.event_shape)}."
        )
    model.encode(given[:1], None if label is None else label[:1])  # Checks the labels.
    return _with_label(model, {"image": given}, label)


def _given(model, calibration) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Checks calibration data: the rows, their labels, and whether they are images."""
    label = None
    if isinstance(calibration, tuple):
        calibration, label = calibration
    if hasattr(calibration, "examples"):
        calibration, label = calibration.examples, calibration.labels if model.conditional else None
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
    if events:
        model.likelihood.check(given, "calibration")
    return given.astype(np.float32), label, events


def _decoder_inputs(model, latents, label) -> dict[str, np.ndarray]:
    return _with_label(model, {"z": np.asarray(latents, np.float32)}, label)


def _with_label(model, found: dict, label) -> dict[str, np.ndarray]:
    if model.conditional:
        found["label"] = np.eye(model.num_classes, dtype=np.float32)[label]
    return found


def _file(model, signatures: list[_Signature], precision: str, card) -> bytes:
    """Converts each signature, and puts them into one file with its metadata."""
    from export import accelerator, description
    from export.runtime import flatbuffer, litert, seal

    contents, described = [], {}
    for signature in signatures:
        content = flatbuffer.read(_convert(model, signature))
        accelerator.split_activations(content)
        described[signature.name] = {
            "inputs": {spec.name: list(spec.shape) for spec in signature.endpoint.inputs},
            "precision": signature.precision,
            "gpu": accelerator.obstacles(content),
        }
        contents.append(content)
    content = flatbuffer.join(contents)
    facts = {
        **description.describe(model, card),
        "precision": precision,
        "signatures": described,
        "seal": seal.NAME,
    }
    flatbuffer.set_metadata(content, litert.METADATA, json.dumps(facts).encode())
    flatbuffer.set_metadata(content, seal.NAME, seal.BLANK.encode())
    return seal.sealed(flatbuffer.pack(content))


def _convert(model, signature: _Signature) -> bytes:
    from export import accelerator, converter, endpoints
    from export.runtime import child

    network = signature.network
    rewriting = contextlib.nullcontext() if network is None else accelerator.rewritten(network)
    # Through a SavedModel: `from_concrete_functions` can lose a Keras model's weights silently.
    with tempfile.TemporaryDirectory(prefix="kvae-tflite-") as folder:
        try:
            with rewriting:
                endpoints.write({signature.name: signature.endpoint}, folder)
            if signature.samples is None:
                data = converter.convert(folder, signature.precision, signature.name)
                return _widened(model, signature, folder, data)
        except Exception as error:
            why = converter.reason(error)
        else:
            # Calibration runs the network in TensorFlow's old interpreter, which can crash (a
            # loop is enough, such as an LSTM's): not in this process.
            inputs = {"signature": np.array(signature.name), **signature.samples}
            call = child.Call(signature.precision, inputs)
            answer = child.request("export.converter", folder, [call], timeout=3600.0)
            if answer.failure:
                why = f"{answer.failure} while calibrating (recurrent layers need unroll=True)"
            elif not answer.results[0].error:
                return answer.results[0].outputs["file"].tobytes()
            else:
                why = answer.results[0].error
    if signature.name == _PRIOR:
        raise _prior_error(model, why)
    raise ValueError(
        f"The {signature.what} of {model.name!r} does not convert to TFLite's built-in operators "
        f"at precision {signature.precision!r}: {why}. Use another precision, or other layers."
    )


def _widened(model, signature: _Signature, folder: str, data: bytes) -> bytes:
    """Keeps weights in 32 bits where 16 are too few, the smallest first."""
    import tensorflow as tf

    from export import converter, samples
    from export.runtime import child, flatbuffer, signatures

    if signature.precision != "float16":
        return data
    infos = {
        spec.name: signatures.TensorInfo(spec.name, "float32", (None, *spec.shape[1:]))
        for spec in signature.endpoint.inputs
    }
    known = signatures.Signature(inputs=infos, outputs={})
    inputs = samples.inputs(known, _CALIBRATION_ROWS, model)
    want = signature.endpoint.function(*map(tf.constant, inputs.values()))
    want = {name: np.asarray(value) for name, value in want.items()}
    content = flatbuffer.read(data)
    waiting, full = flatbuffer.halves(content), None
    while True:
        file = pathlib.Path(folder) / "half.tflite"
        file.write_bytes(data)
        call = child.Call(signature.name, inputs)
        answer = child.request("export.runtime.litert", file, [call], timeout=300.0)
        if not answer.results or answer.results[0].error:
            return data  # `_check` says why.
        have = answer.results[0].outputs
        errors = [
            np.abs(have[name] - value).max() / max(1.0, np.abs(value).max())
            for name, value in want.items()
        ]
        if max(errors) <= _HALF_ERROR or not waiting:
            return data
        if full is None:
            full = flatbuffer.read(converter.convert(folder, "float32", signature.name))
        while waiting and not flatbuffer.widen(content, waiting.pop(0), full):
            pass
        data = flatbuffer.pack(content)


def _check(model, signatures, file, path, precision: str, batch: int) -> None:
    """Runs the file once in LiteRT: a converter can write a file that only looks right."""
    from export.runtime import child

    calls = []
    for signature in signatures:
        # Half of what a uniform number can be, and all of the first class.
        zeros = {
            spec.name: np.full(spec.shape, 0.5 * spec.name.endswith("uniform"), np.float32)
            for spec in signature.endpoint.inputs
        }
        if "label" in zeros:
            zeros["label"][:, 0] = 1.0
        calls.append(child.Call(signature.name, zeros))
    answer = child.request("export.runtime.litert", file, calls, timeout=300.0)
    problem = answer.failure or answer.load_error
    if not problem:
        problem = "; ".join(result.error for result in answer.results if result.error)
    if not problem:
        operators = answer.facts["operators"]
        foreign = [n for n in operators if n.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
        # Vectors (biases, normalisation) may be folded away; matrices and kernels stay.
        networks = [s.network for s in signatures if s.network is not None]
        kept = [v for network in networks for v in network.weights if len(v.shape) > 1]
        weights = sum(int(np.prod(v.shape)) for v in kept)
        size = file.stat().st_size
        outputs = [array for result in answer.results for array in result.outputs.values()]
        image = answer.results[0].outputs.get("image")
        wrong = image is not None and image.shape != (batch, *model.event_shape)
        if foreign:
            problem = f"it uses operators that are not built in: {', '.join(foreign)}"
        elif size < 0.5 * weights * PRECISIONS[precision]:
            problem = f"it has {size} bytes, too few for {weights} weights"
        elif wrong or not all(np.isfinite(array).all() for array in outputs):
            problem = "what it returns is not finite or has another shape"
    if problem:
        raise ValueError(
            f"The TFLite file of {model.name!r} at precision {precision!r} does not run, so "
            f"{path} was not written: {problem}."
        )
