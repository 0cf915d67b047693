"""Models as TFLite files, for LiteRT on phones, boards and in browsers."""

import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from export import example_inputs, modalities
from export.files import checksum, flatbuffer
from export.runtimes import child, litert
from export.signatures import Call, left_out
from export.writers import metadata
from export.writers.register import FORMATS, Format
from export.writers.tflite import accelerator
from export.writers.tflite import calibration as calibrate
from kvae.utils import arguments, io, names

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["PARTS", "PRECISIONS", "tflite", "write"]

# The bytes of a weight, by precision.
PRECISIONS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
# Which signatures each choice writes; `prior` comes with the decoder.
_BOTH = ("decoder", "encoder")
PARTS = {
    **{name: (name,) for name in (*_BOTH, "impute", "detect", "classify", "translate")},
    "both": _BOTH,
    "all": (*_BOTH, "impute", "detect", "classify", "translate"),
}
# The parts whose numbers are nats, for which fewer bits would not do.
_EXACT = ("impute", "detect")


def tflite(
    model: "VAE",
    path: str | os.PathLike,
    precision: str = "float32",
    batch_size: int = 1,
    calibration: Any = None,
    parts: str = "decoder",
    prior: bool = True,
    card: Any = None,
    num_samples: int = 64,
) -> pathlib.Path:
    """Writes a model's decoder and encoder, its imputation and detection as a TFLite file.

    Its signatures:

    - `serving_default` (decode): `z` `[batch_size, latent_dim]` to `image` `[batch_size, *event]`,
      the mean of p(x|z).
    - `encode`: `image` to the posterior's parameters, e.g. `z_mean` and `z_log_var`.
    - `prior`, beside a decoder whose prior is not the standard Gaussian: base noise to `z`. An
      input whose name ends in `uniform` takes numbers uniform on [0, 1), any other takes N(0, 1).
      This signature is float32 at every precision.
    - `impute`: `image`, `mask` (1 where a value was observed, 0 where not) and noise to `image`
      with the gaps filled, `log_prob` and `effective_sample_size`. The noise has the shape
      `[batch_size, num_samples, size]`, and names as those of `prior`.
    - `detect`: `image` (and a `mask` of a model that takes missing values) to `score`, `p_value`,
      `is_anomaly` (1 or 0) and `map`. The threshold and the noise are in the file, so that the
      numbers are those of `kvae.detection.Detector` up to rounding.

    - `classify`: `image` (and a `mask` as above) to `probabilities` `[batch_size, num_classes]`.
    - `translate`, of a model of several modalities: a number below -1e38 in each that is absent, to
      all of them, whose names end in `_imputed`.

    All inputs and outputs are float32. Other signatures of a conditional model also take a one-hot
    `label`, float32 `[batch_size, num_classes]`. The file uses TFLite's built-in operators only and
    has a fixed batch size, since accelerators reject others. Random operators do not convert, so
    the device draws the noise.

    Blocks that LiteRT's GPU accelerator rejects are written with other operators: a ReLU after a
    transposed convolution, group normalisation, nearest up-sampling. The metadata `kvae.json`
    describe the file: the range of the inputs, the prior, the signatures and what, if anything,
    keeps each from running wholly on the GPU (`gpu`); with a card also the preprocessing and the
    licence.

    The metadata `kvae.sha256` hold a SHA-256 of the file. `export.verify` and this package's
    loader, `export.runtimes.litert.Model`, refuse a file that was cut off or altered. Other
    interpreters ignore it.

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
        parts: str. `"decoder"`, `"encoder"`, `"both"` of them, `"impute"`, `"detect"`,
            `"classify"`, `"translate"`, or `"all"` that the model has. `"impute"` and `"detect"`
            are for precision float32. Defaults to `"decoder"`.
        prior: bool. Whether to write a prior other than the standard Gaussian beside the decoder.
            Defaults to `True`.
        card: optional `zoo.Card`, for the metadata.
        num_samples: int. The number of importance samples of `impute`. Defaults to `64`.

    Returns:
        Path of the file.

    Raises:
        ModuleNotFoundError: if LiteRT, which checks the file, is not installed.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        OSError: if the disk is full.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: for an unknown precision, a batch size below 1, a part that the model cannot
            have, a model that is not built or a part of which does not convert, and for calibration
            data that are missing (`"int8"` without a prior or with an encoder), of another shape,
            not finite, or given for another precision.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    images = kvae.datasets.load("mnist", "train").examples[:256]
    path = export.tflite(vae, "mnist.tflite", "int8", calibration=images)
    ```
    """
    litert.require()
    from export.graphs import endpoints
    from export.writers.tflite import parts as built

    endpoints.exportable(model)
    if precision not in PRECISIONS:
        raise names.unknown_name("precision", precision, PRECISIONS)
    if parts not in PARTS:
        raise names.unknown_name("parts", parts, PARTS)
    lacking = left_out(model) if parts == "all" else {}
    if model.modalities:
        modalities.check_file(model, parts, precision)
        lacking |= dict.fromkeys(_EXACT)
    chosen = [part for part in PARTS[parts] if part not in lacking]
    if precision != "float32" and set(chosen) & set(_EXACT):
        raise ValueError(
            f"The parts {' and '.join(_EXACT)} are written in precision 'float32', not "
            f"{precision!r}, which moves log p(x) by too much: leave `precision` out, or choose "
            "parts='both'."
        )
    num_samples = arguments.whole("num_samples", num_samples)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"`batch_size` is a positive integer, not {batch_size!r}.")
    if calibration is not None and precision != "int8":
        raise ValueError(
            f"Only precision 'int8' is calibrated, not {precision!r}: leave `calibration` out."
        )
    path = pathlib.Path(path)
    size, int8 = int(batch_size), precision == "int8"
    written = []
    if "decoder" in chosen:
        samples = calibrate.decoder_inputs(model, calibration) if int8 else None
        written.append(built.decoder(model, precision, size, samples))
        if prior and built.has_transform(model.prior):
            written.append(built.prior(model, size))
    if "encoder" in chosen:
        samples = calibrate.encoder_inputs(model, calibration) if int8 else None
        written.append(built.encoder(model, precision, size, samples))
    if "impute" in chosen:
        written.append(built.impute(model, size, num_samples))
    if "detect" in chosen:
        written.append(built.detect(model, size))
    if "classify" in chosen:
        endpoints.refuse_left_out(model, "classify")
        samples = calibrate.classifier_inputs(model, calibration) if int8 else None
        written.append(built.classifier(model, precision, size, samples))
    if "translate" in chosen:
        endpoints.refuse_left_out(model, "translate")
        written.append(built.translator(model, precision, size))
    return write(model, path, written, precision, size, card)


def write(
    model, path: pathlib.Path, parts: list, precision: str, batch: int = 1, card=None
) -> pathlib.Path:
    """Writes parts as one file, and returns its path.

    Args:
        model: `kvae.VAE`.
        path: path. The file.
        parts: list of `export.writers.tflite.parts.Part`, of the same batch size.
        precision: str. That of the networks among them.
        batch: int. The batch size.
        card: optional `zoo.Card`, for the metadata.
    """
    # The file's folder is opened first: a path that cannot be written is known at once, while a
    # conversion takes long.
    with io.atomic_write(path) as temporary:
        temporary.write_bytes(_file(model, parts, precision, card))
        _check(model, parts, temporary, path, precision, batch)
    return path


def _file(model, parts, precision: str, card) -> bytes:
    """Converts each part, and puts them into one file with its metadata."""
    from export.writers.tflite import conversion

    contents, described = [], {}
    for part in parts:
        content = flatbuffer.read(conversion.convert(model, part))
        accelerator.split_activations(content)
        described[part.name] = {
            "inputs": {spec.name: list(spec.shape) for spec in part.endpoint.inputs},
            "precision": part.precision,
            "gpu": accelerator.obstacles(content),
        }
        contents.append(content)
    content = flatbuffer.join(contents)
    facts = {
        **metadata.describe(model, card),
        "precision": precision,
        "signatures": described,
        "checksum": checksum.NAME,
    }
    flatbuffer.set_metadata(content, litert.METADATA, json.dumps(facts).encode())
    flatbuffer.set_metadata(content, checksum.NAME, checksum.PLACEHOLDER.encode())
    return checksum.embed(flatbuffer.pack(content))


def _check(model, parts, file, path, precision: str, batch: int) -> None:
    """Runs the file once in LiteRT: a converter can write a file that only looks right."""
    calls = [
        Call(part.name, example_inputs.for_graph(part.endpoint.inputs, batch, model))
        for part in parts
    ]
    answer = child.request("export.runtimes.litert", file, calls, timeout=300.0)
    problem = answer.failure or answer.load_error
    if not problem:
        problem = "; ".join(result.error for result in answer.results if result.error)
    if not problem:
        operators = answer.facts["operators"]
        foreign = [n for n in operators if n.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
        # Vectors (biases, normalisation) may be folded away, but matrices and kernels stay.
        networks = [part.network for part in parts if part.network is not None]
        kept = [v for network in networks for v in network.weights if len(v.shape) > 1]
        weights = sum(int(np.prod(v.shape)) for v in kept)
        size = file.stat().st_size
        outputs = [array for result in answer.results for array in result.outputs.values()]
        image = answer.results[0].outputs.get("image")
        wrong = image is not None and image.shape != (batch, *model.event_shape)
        wrong = wrong and not model.modalities
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


FORMATS.add(
    "tflite",
    Format(
        "TFLite",
        tflite,
        "{name}.tflite",
        ("precision", "batch_size", "parts", "calibration", "card", "num_samples"),
        measured=True,
        require=litert.require,
    ),
)
