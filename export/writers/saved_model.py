"""SavedModels in the folder layout of TensorFlow Serving."""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from export import example_inputs, half_precision
from export.files import meta_graph, warmup
from export.files.versions import METADATA, checksums, versions
from export.signatures import INPUTS, WARMUP_BATCH_SIZES, Call, Signature, TensorInfo, left_out
from export.writers import metadata
from export.writers.register import FORMATS, Format
from kvae.utils import io, seals

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["saved_model"]


def saved_model(
    model: "VAE",
    directory: str | os.PathLike,
    version: int | None = None,
    preprocessing: str | None = None,
    signatures: Sequence[str] | None = None,
    fit: str = "stretch",
) -> pathlib.Path:
    """Writes a model as `directory/VERSION/`, a SavedModel that TensorFlow Serving can load.

    `export/signatures.py` specifies the signatures:

    - `serving_default` (decode): `z` `[batch, latent_dim]` to `image` `[batch, *event]`, the mean
      of p(x|z), and the likelihood's parameters, e.g. `logits`.
    - `encode`: `image` to the posterior's parameters, e.g. `z_mean` and `z_log_var`.
    - `reconstruct`: `image` to `image`, through the posterior mean.
    - `embed`: `image` to `embedding` `[batch, latent_dim]`, the posterior mean.
    - `generate`: `seed`, and optionally `temperature`, to `image` and `z`, drawn from the prior.
      Each row has its own seed. Its `z` has the same bits whatever it is batched with. Its `image`
      is `model.sample(1, seed=seed)`, with the row's label and temperature, up to the rounding of a
      batched product (about 1e-6).
    - `interpolate`: `z_start` and `z_end`, and optionally `steps`, to `image`
      `[batch, steps, *event]` and `z` `[batch, steps, latent_dim]`, both ends included. Rows with
      fewer steps than the longest of the batch stay at their end.
    - `interpolate_images`: the same from `image_start` to `image_end`, through their posterior
      means.
    - `score`: `image` and `seed`, and optionally `num_samples`, to `elbo`, `log_prob` (the
      importance-sampled estimate of log p(x), a lower bound in expectation; both in nats) and
      `effective_sample_size`, the number of samples that decide it. A row's numbers have the same
      bits whatever it is batched with.

    - `impute`: `image`, `mask` (bool, True where a value of the image was observed) and `seed`, and
      optionally `num_samples`, to `image` with the other values filled in by importance sampling,
      the `log_prob` of what was observed, and `effective_sample_size`.

    - `detect`: `image` to its anomaly `score` in nats, its `p_value` among normal rows, the verdict
      `is_anomaly` (bool) and the `map` `[batch, *event]` of nats that says where, with the
      threshold and the noise of the `kvae.detection.Detector` that was fitted to the model.

    - `encode_table`: `cells`, the rows of a table as texts `[batch, columns]` in the order of its
      columns (empty ones are missing), to the posterior's parameters.
    - `generate_table`: `seed`, and optionally `temperature`, to `cells` and `z`: rows as the table
      has them, `model.sample(1, seed=seed, output="sample")` within its bounds.
    - `impute_table`: `cells`, `seed`, and optionally `num_samples`, to `cells` whose empty ones are
      filled in, all others as they were, the `log_prob` of these, and `effective_sample_size`.
    - `classify`: `image` to `probabilities` `[batch, num_classes]`, q(y|x) by the classifier of the
      model's objective.
    - `translate`: any of several modalities to all of them, as `model.translate` returns them.

    A model of several modalities has an input, or an output, for each of them in the place of
    `image`, by its name, and `image_start` is `NAME_start` for each. All of these inputs are
    float32 and may be left out; what is left out, and a number below -1e38, is absent. A modality
    of numbers is returned as its mean, one of classes as the most probable class.

    All of them take any batch size, and every input has one value for each row: seeds, steps,
    numbers of samples and labels are int64 `[batch]`, all other numbers float32. The signatures of
    a conditional model but `classify` also take a `label`, the class of each row. Without the
    optional inputs the temperature is 1, the number of steps 8 (of at most 64), and the number of
    samples 64 (of at most 1000). A server that merges the requests of several clients
    (`--enable_batching`) needs the optional inputs from all of them.

    The graph refuses what `VAE.log_prob` refuses, in the same words: images outside the
    likelihood's support, NaN, z that is not finite, labels that are no classes, and seeds,
    temperatures, steps and numbers of samples out of range. The answer is the error
    `INVALID_ARGUMENT`, never a number. A request fails as a whole: where a server merges the
    requests of several clients, one wrong row fails its batch. The development server runs each
    request alone.

    A model without a prior has no `generate` and no `generate_table`, one whose posterior has no
    density (an autoencoder) no `score` and no `impute`, one without `missing` no `impute` and no
    `impute_table`, one without a threshold no `detect`, one without a classifier no `classify`, and
    one whose `schema` names no columns no signature of cells. Of a model with `missing` NaN in
    `image` was not observed, in all signatures.

    `assets.extra/tf_serving_warmup_requests` holds a request of one row and one of eight for each
    signature, which TensorFlow Serving runs before it takes the version into service.

    The version appears at once and whole: it is written beside its place and then renamed, so a
    server that polls the folder never sees half of it. `assets.extra/kvae.json` describes it for
    clients, with the SHA-256 of every file, which `export.verify` and `kvae serve` check.

    Args:
        model: `kvae.VAE`. Built.
        directory: str or path. The model's folder; made when it is not there.
        version: int. At least 1. Defaults to the number after the largest one there.
        preprocessing: str or `None`. How clients send images. `"float32"` (`None`): events as the
            model takes them. `"uint8"`: intensities from 0 to 255, divided by 255 (or as they are
            for a likelihood of whole numbers). `"png"`: PNG or JPEG files, in inputs called
            `image_bytes` and so on, which are read to the same bits as
            `kvae.datasets.from_folder` reads them, and then treated as `"uint8"`.
        signatures: sequence of str or `None`. The signatures to write beside `serving_default`.
            Defaults to `None`: all that the model has.
        fit: str. How files are brought to the model's size: `"stretch"`, or `"crop"` for a model
            whose training images were cropped. Defaults to `"stretch"`.

    Returns:
        Path of the version folder.

    Raises:
        FileExistsError: if the version exists. It is never overwritten.
        NotADirectoryError, PermissionError: if the folder cannot be written.
        OSError: if the disk is full. Nothing half-written is left.
        TypeError: if `model` is no `kvae.VAE`, or `version` no integer.
        ValueError: if the model is not built, `version` is below 1, a signature, the
            preprocessing or the fit is unknown, or the model has no such signature or images.

    Example:

    ```python
    path = export.saved_model(zoo.load("conv_vae.digits"), "serving/digits")   # serving/digits/1
    export.saved_model(zoo.load("conv_vae.digits"), "serving/png", preprocessing="png")
    ```
    """
    from export.graphs import endpoints

    endpoints.exportable(model)
    made = endpoints.endpoints(model, images=preprocessing, signatures=signatures, fit=fit)
    sent = {"preprocessing": preprocessing or "float32"}
    if preprocessing == "png":
        sent["fit"] = fit
    directory = pathlib.Path(directory)
    if version is not None:
        if isinstance(version, bool) or not hasattr(version, "__index__"):
            raise TypeError(f"A version is an integer, not {version!r}.")
        if int(version) < 1:
            raise ValueError(f"A version is at least 1, not {version}.")
        return _write(model, made, directory, int(version), sent)
    while True:
        number = max(versions(directory), default=0) + 1
        try:
            return _write(model, made, directory, number, sent)
        except FileExistsError:
            if number not in versions(directory):
                raise
            # Another process has published this number meanwhile, so take the next one.


def _write(model, made, directory: pathlib.Path, version: int, sent: dict) -> pathlib.Path:
    from export.graphs import endpoints

    if version in versions(directory):  # `00001` is version 1 as well.
        raise FileExistsError(
            f"Version {version} exists in {directory} and is not overwritten. Leave `version` out "
            "to publish the next one."
        )
    path = directory / str(version)
    with io.atomic_directory(path) as folder, io.utf8_path(folder) as temporary:
        endpoints.write(made, temporary)
        found = meta_graph.read_signatures(temporary)
        warmup.write(temporary, model.name, _warmup_calls(model, found))
        content = _describe(model, found, sent) | {"files": checksums(temporary)}
        (temporary / METADATA).write_text(seals.sealed(content))
    return path


def _warmup_calls(model, found) -> list:
    """Returns requests of each size for each signature, so that no first client has to wait."""
    return [
        Call(name, example_inputs.inputs(signature, rows, model))
        for name, signature in found.items()
        for rows in WARMUP_BATCH_SIZES
    ]


def _describe(model, found: dict[str, Signature], sent: dict) -> dict:
    """Returns what a client needs to know, as plain data."""

    def tensors(infos: dict[str, TensorInfo]) -> dict:
        return {
            name: {"dtype": info.dtype, "shape": list(info.shape)} for name, info in infos.items()
        }

    return {
        **metadata.describe(model),
        **sent,
        "half_precision": half_precision.half_type(model),
        "signatures": {
            name: {
                "inputs": tensors(item.inputs),
                "optional": list(item.optional),
                "outputs": tensors(item.outputs),
                "limits": _limits(item.inputs),
            }
            for name, item in found.items()
        },
        "left_out": {
            name: why
            for name, why in left_out(model).items()
            # Nobody misses what a model was not asked to do.
            if not (name == "impute" and model.missing is None)
            and not (name == "detect" and model.calibration is None)
            and not name.endswith("_table")
            and name not in ("classify", "translate")
            and not (name == "reconstruct" and model.modalities)
        },
    }


def _limits(inputs) -> dict[str, dict]:
    """Returns what a request may give for each number, beyond which it is refused."""
    known = {name: item for name in inputs if (item := INPUTS.get(name)) and item.rule}
    return {
        name: {"smallest": item.smallest, "largest": item.largest, "default": item.default}
        for name, item in known.items()
    }


FORMATS.add(
    "saved_model",
    Format("SavedModel", saved_model, "serving/{name}", ("version", "preprocessing", "fit")),
)
