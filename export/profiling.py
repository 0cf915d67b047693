"""Measures what a TFLite file costs and loses: size, operators, latency, error, nats."""

import dataclasses
import math
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from export import conditions
from export.runtimes import litert
from export.signatures import DECODE

if TYPE_CHECKING:
    from kvae.models.vae import VAE

__all__ = ["Profile", "profile"]

# The losses that are allowed: the error relative to the largest value, and nats.
MAX_ERROR = {"float32": 1e-5, "float16": 1e-3}
MAX_NATS = 1.0
# The model's and the file's probabilities of pixels are kept this far from 0 and 1. In eight bits
# they are multiples of 1/256, and the logarithm of an exact 0 says nothing about the image.
_CLOSEST = 1e-4
_DRAWS = 200


@dataclasses.dataclass
class Profile:
    """A profile of a file, by `export.profile`: a table, and true when the file passes.

    Attributes:
        path: Path. The file.
        precision: str.
        bytes: int. Its size.
        operators: dict of str to int. Each with its largest version.
        gpu: list of str. What keeps the decoder from running on the GPU as a whole.
        max_abs_error, mean_abs_error: float. The errors of the image, against the model's.
        nats: float or `None`. By how much the reconstruction −E log p(x|z) of the data rises;
            `None` without data, or for a likelihood that the mean alone does not determine.
        reconstruction: float or `None`. The model's, in nats, to compare with.
        examples: int. Examples behind `nats`; 0 where latents came from the prior.
        latency: list of dict. Milliseconds by batch: `batch`, `file`, `saved_model`, `predict`.
        fixed_batch: int. The file's own batch size; larger batches are run in turn.
        scale: float. The largest absolute value of the model's outputs, or 1 where they are less.
            Errors are allowed in proportion to it.
    """

    path: pathlib.Path
    precision: str
    bytes: int
    operators: dict[str, int]
    gpu: list[str]
    max_abs_error: float
    mean_abs_error: float
    nats: float | None
    reconstruction: float | None
    examples: int
    latency: list[dict]
    fixed_batch: int
    scale: float = 1.0

    @property
    def problems(self) -> list[str]:
        """Returns a line for each thing that is not good enough."""
        lines = []
        allowed = MAX_ERROR.get(self.precision, math.inf) * self.scale
        if not self.max_abs_error <= allowed:
            lines.append(f"outputs differ by {self.max_abs_error:.1e}, more than {allowed:.1e}")
        if self.nats is not None and not self.nats <= MAX_NATS:
            lines.append(f"reconstruction costs {self.nats:.2f} nats more, over {MAX_NATS:g}")
        return lines

    @property
    def ok(self) -> bool:
        """Checks whether the errors and the nats lost are within what is allowed."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def to_dict(self) -> dict:
        """Returns the profile as a dict of plain types, for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path), "ok": self.ok}

    def __str__(self) -> str:
        lines = [
            f"{self.path} ({self.precision}): {'good enough' if self.ok else 'NOT good enough'}",
            f"size        {self.bytes / 1000:.1f} kB",
            f"operators   {', '.join(f'{n} v{v}' for n, v in self.operators.items())}",
            f"GPU         {'; '.join(self.gpu) or 'all of the decoder'}",
            f"error       at most {self.max_abs_error:.1e}, {self.mean_abs_error:.1e} on average",
        ]
        if self.nats is not None:
            lines.append(
                f"nats        {self.nats:+.3f} of {self.reconstruction:.2f} "
                f"(reconstruction of {self.examples} examples)"
            )
        for row in self.latency:
            lines.append(
                f"batch {row['batch']:<5} {row['file']:.3f} ms, SavedModel "
                f"{row['saved_model']:.3f} ms, predict {row['predict']:.1f} ms"
            )
        if any(row["batch"] > self.fixed_batch for row in self.latency):
            lines.append(f"            (the file runs {self.fixed_batch} at a time)")
        return "\n".join([*lines, *(f"FAILED      {line}" for line in self.problems)])


def profile(
    path: str | os.PathLike,
    model: "VAE",
    data: Any = None,
    batch_sizes: tuple[int, ...] = (1, 32),
    seconds: float = 0.3,
) -> Profile:
    """Measures a TFLite file with a decoder against the model that it was made of.

    Latencies are medians on this machine: of the file in LiteRT on one thread, of the SavedModel's
    signature in TensorFlow, and of Keras's `predict`. The errors and the nats are those of latents
    drawn from the posteriors of `data`, the same for both. Probabilities are kept 1e-4 away from 0
    and 1.

    Args:
        path: str or path. A file of `export.tflite`.
        model: `kvae.VAE`. Trained: quantization of random weights says little.
        data: optional array `[n, *event]` or `kvae.datasets.Dataset`; a few hundred examples do.
            Defaults to `None`: latents from the prior, and no nats.
        batch_sizes: tuple of int. Defaults to `(1, 32)`.
        seconds: float. Time to spend on each latency. Defaults to `0.3`.

    Returns:
        `Profile`: true where float32 is within 1e-5 of the model's images, float16 within 1e-3, and
        no precision costs more than 1 nat. Where values exceed 1, as in tables, these errors are
        relative to the largest.

    Raises:
        FileNotFoundError: if the file is not there.
        ModuleNotFoundError: if LiteRT is not installed.
        ValueError: if the file holds no decoder of such a model, or there is nothing to draw
            latents from.

    Example:

    ```python
    vae = zoo.load("conv_vae.mnist")
    train, test = (kvae.datasets.load("mnist", split)[:300] for split in ("train", "test"))
    path = export.tflite(vae, "mnist.tflite", "int8", calibration=train)
    print(export.profile(path, vae, test))
    ```
    """
    from export.graphs import endpoints

    litert.require()
    endpoints.exportable(model)
    if model.modalities:
        raise ValueError(
            f"A profile is one of images, and {model.name!r} has several modalities: use "
            "export.verify."
        )
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Export the model first, with export.tflite.")
    file = litert.Model(path)
    signature = file.signatures.get(DECODE)
    wanted = list(model.latent_shape)
    if signature is None or signature["inputs"]["z"]["shape"][1:] != wanted:
        raise ValueError(
            f"{path} holds no decoder of latents of shape {tuple(wanted)}, so there is nothing to "
            "compare. Export the model with parts='decoder' or 'both'."
        )
    x, label, z = _latents(model, data)
    inputs = {"z": np.asarray(model.on_grid(z))}
    if model.conditions is not None:
        inputs["label"] = model.conditions.encode(label).numpy()
    elif label is not None:
        inputs["label"] = np.eye(model.num_classes, dtype=np.float32)[label]
    have = file.run(DECODE, inputs)["image"]
    want = np.asarray(model.decode(z, label))
    difference = np.abs(have.astype(np.float64) - want)
    reconstruction = None if x is None else _reconstruction(model, z, label, x, want)
    nats = None
    if reconstruction is not None:
        nats = _reconstruction(model, z, label, x, have) - reconstruction
    return Profile(
        path=path,
        precision=file.precision,
        bytes=path.stat().st_size,
        operators=file.operators,
        gpu=file.metadata.get("signatures", {}).get(DECODE, {}).get("gpu", []),
        max_abs_error=float(difference.max()),
        mean_abs_error=float(difference.mean()),
        nats=nats,
        reconstruction=reconstruction,
        examples=0 if x is None else len(x),
        latency=_latencies(model, file, inputs, label, batch_sizes, seconds),
        fixed_batch=signature["inputs"]["z"]["shape"][0],
        scale=max(1.0, float(np.abs(want).max())),
    )


def _latents(model, data):
    """Returns examples (`None` without data), labels (`None` without classes) and latents."""
    if data is None:
        if model.prior is None:
            raise ValueError(f"{model.name!r} has no prior to draw latents from: give `data`.")
        label = np.arange(_DRAWS) % model.num_classes if model.num_classes is not None else None
        if model.conditions is not None:
            label = model.conditions.examples(_DRAWS).numpy()
        return (
            None,
            label,
            np.asarray(model.conditioned_on(label).prior.sample(_DRAWS, 0), np.float32),
        )
    label = None
    if isinstance(data, tuple):
        data, label = data
    if hasattr(data, "examples"):
        data, label = data.examples, data.labels if model.conditional else None
    x = np.asarray(data, np.float32)
    model.likelihood.check(x, "data")
    if model.conditions is not None and label is not None:
        label = model.conditions.record(label, len(x)).numpy()
    params = model.encode_data(x, label)[0]
    return (
        x,
        label,
        np.asarray(model.conditioned_on(label).posterior.sample(params, seed=0), np.float32),
    )


def _reconstruction(model, z, label, x, mean) -> float | None:
    """Returns −E log p(x|z) in nats for this mean of p(x|z); `None` if that is not enough."""
    import kvae

    params = dict(model.conditioned_on(label).decode_params(z))
    if isinstance(model.likelihood, kvae.likelihoods.Bernoulli):
        p = np.clip(mean.astype(np.float64), _CLOSEST, 1.0 - _CLOSEST)
        params["logits"] = np.log(p / (1.0 - p)).astype(np.float32)
    elif "mean" in params:
        params["mean"] = mean
    else:
        return None
    return -float(np.mean(model.likelihood.log_prob(params, x)))


def _latencies(model, file, inputs, label, batch_sizes, seconds) -> list[dict]:
    import tensorflow as tf

    from export.graphs import endpoints

    rows = []
    decoder = model.decoder_model()
    with tempfile.TemporaryDirectory(prefix="kvae-profile-") as folder:
        decode = endpoints.endpoints(model, signatures=[DECODE])[DECODE]
        endpoints.write({DECODE: decode}, folder)
        loaded = tf.saved_model.load(folder)
        served = loaded.signatures[DECODE]
        for size in batch_sizes:
            index = np.arange(size) % len(inputs["z"])
            batch = {name: array[index] for name, array in inputs.items()}
            tensors = {"z": tf.constant(batch["z"])}
            if model.conditions is not None:
                tensors |= conditions.values_of(model, label[index])
            elif label is not None:
                tensors["label"] = tf.constant(np.asarray(label)[index], tf.int64)
            arrays = list(batch.values()) if len(decoder.inputs) > 1 else batch["z"]
            rows.append(
                {
                    "batch": size,
                    "file": _median(lambda b=batch: file.run(DECODE, b), seconds),
                    "saved_model": _median(
                        lambda t=tensors: [v.numpy() for v in served(**t).values()], seconds
                    ),
                    "predict": _median(
                        lambda a=arrays: decoder.predict(a, verbose=0, batch_size=32), seconds
                    ),
                }
            )
    return rows


def _median(function, seconds: float) -> float:
    """Returns the median time that a call of `function` takes, in milliseconds."""
    function()  # The first call traces, allocates and reads weights.
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 1000):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times))
