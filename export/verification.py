"""Runs exported files outside the Python that wrote them, and compares."""

import os
import pathlib

import numpy as np

from export.report import Report, Row
from export.runtime import c_api, child, litert, signatures

__all__ = ["TOLERANCES", "verify"]

# The largest difference from the model that is accepted, by precision. Eight-bit files are lossy on
# purpose: their bounds (of images in [0, 1]) catch broken files, not small losses of quality.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.1, "int8": 0.25}

_SAVED_MODEL = "export.runtime.c_api"
_TFLITE = "export.runtime.litert"
_SEED = 20


def verify(
    path: str | os.PathLike,
    model=None,
    batch_sizes: tuple[int, ...] = (1, 32),
    tolerance: float | None = None,
    timeout: float = 300.0,
) -> Report:
    """Runs an exported file outside the Python that wrote it, and compares it with the model.

    A SavedModel runs in TensorFlow's C++ runtime, through its C API and in a process that never
    imports TensorFlow: the loader that TensorFlow Serving uses. (A reload in Python is no proof:
    it accepts files that this loader cannot run.) A TFLite file runs in LiteRT. Each signature is
    run at each batch size. `generate` is compared with the model's draws from the same seeds, and
    the `z` of a row has to keep its bits when the row stands elsewhere in the batch, and alone.

    Args:
        path: str or path. A SavedModel's version folder, a folder of versions (its newest is
            taken), or a `.tflite` file.
        model: `kvae.VAE` to compare with. `None` checks only that every signature runs and returns
            finite numbers.
        batch_sizes: tuple of int. Defaults to `(1, 32)`. A TFLite file has a fixed batch size, and
            so many rows are run through it in turn.
        tolerance: float. The largest difference allowed, relative to the largest absolute value of
            the output where that exceeds 1. Defaults to 1e-5 for float32, 1e-3 for float16, 0.1
            for dynamic-range and 0.25 for int8 files, where quality is a matter of evaluation.
        timeout: float. Seconds after which the other process is ended. Defaults to `300`.

    Returns:
        `Report`: true when all is well, a table when printed. A signature that fails, and a runtime
        that crashes or hangs, are failed rows of it.

    Raises:
        FileNotFoundError: if there is nothing at `path`, or no library to run it.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: if the file cannot be loaded, e.g. because it was cut off.

    Example:

    ```python
    report = export.verify(export.saved_model(vae, "serving/digits"), vae)
    print(report)
    assert report
    ```
    """
    if not batch_sizes or any(int(size) < 1 for size in batch_sizes):
        raise ValueError(f"`batch_sizes` are positive integers, not {batch_sizes!r}.")
    if model is not None:
        from export import endpoints

        endpoints.exportable(model)
    path = _resolve(pathlib.Path(path))
    batch_sizes = tuple(sorted({int(size) for size in batch_sizes}))
    if path.is_dir():
        c_api.library_path()
        module, facts = _SAVED_MODEL, {"runtime": "C++", "precision": "float32"}
        available = signatures.read_signatures(path)
    else:
        litert.require()
        module = _TFLITE
        answer = child.request(module, path, [], timeout)
        _raise_load_error(path, answer)
        if answer.failure:
            return _failed(path, "LiteRT", answer.failure)
        facts = answer.facts
        available = {
            name: signatures.Signature(
                **{
                    kind: {key: _info(key, item) for key, item in infos.items()}
                    for kind, infos in item.items()
                }
            )
            for name, item in facts["signatures"].items()
        }
    untried = {name: why for name, item in available.items() if (why := _obstacle(item))}
    tried = {name: item for name, item in available.items() if name not in untried}
    plan = _plan(tried, model, batch_sizes)
    answer = child.request(module, path, [call for call, _ in plan], timeout)
    _raise_load_error(path, answer)
    if answer.failure:
        return _failed(path, facts["runtime"], answer.failure)
    if tolerance is None:
        tolerance = TOLERANCES[facts["precision"]]
    comparison = _Comparison(model, available, tolerance, answer.facts["runtime"])
    results = [(call, kind, r) for (call, kind), r in zip(plan, answer.results, strict=True)]
    for call, kind, result in results:
        if kind == "batch":
            comparison.batch(call, result)
    comparison.generate([item for item in results if item[0].signature == "generate"])
    for name, why in untried.items():
        comparison.add(name, "(all)", 0, error=why)
    comparison.finish()
    return Report(path, facts["precision"], comparison.rows)


def _resolve(path: pathlib.Path) -> pathlib.Path:
    """Finds the version folder or the file that is meant."""
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}. Export the model first, with export.saved_model or export.tflite."
        )
    if path.name == "saved_model.pb":
        return path.parent
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        from export.saved_models import versions

        if found := versions(path):
            digits = (entry.name for entry in path.iterdir() if entry.name.isdigit())
            return path / next(name for name in digits if int(name) == found[-1])
        raise FileNotFoundError(
            f"{path} holds neither a SavedModel nor versions of one. Give the path that "
            "export.saved_model returned."
        )
    return path


def _info(key: str, item: dict) -> signatures.TensorInfo:
    # The first axis is the rows: the runtime module splits them into the file's own batches.
    return signatures.TensorInfo(key, item["dtype"], (None, *item["shape"][1:]))


def _raise_load_error(path: pathlib.Path, answer: child.Answer) -> None:
    if answer.load_error:
        raise ValueError(
            f"{path} cannot be loaded: {answer.load_error}. It is damaged or incomplete, or was "
            "written by another tool; export the model again."
        )


def _failed(path, runtime: str, failure: str) -> Report:
    row = Row("(all)", "(all)", 0, None, None, runtime, error=failure)
    return Report(path, "unknown", [row])


def _obstacle(signature: signatures.Signature) -> str:
    """Says why a signature cannot be tried; nothing when it can."""
    for key, info in signature.inputs.items():
        if info.dtype not in signatures.DTYPES.values():
            return f"the input {key!r} holds no numbers ({info.dtype})"
        if not info.shape:
            return f"the input {key!r} has no batch dimension"
    return ""


def _plan(available, model, batch_sizes) -> list[tuple[child.Call, str]]:
    """Lists what to run: each signature at each batch size, and `generate` with moved rows."""
    count = batch_sizes[-1]
    samples = _samples(model)
    plan = []
    for name, signature in available.items():
        inputs = {
            key: samples.get(key, _anything)(info, count) for key, info in signature.inputs.items()
        }
        for size in batch_sizes:
            plan.append((_call(name, inputs, slice(size)), "batch"))
        if name == "generate":
            plan.append((_call(name, inputs, slice(None, None, -1)), "reversed"))
            plan.append((_call(name, inputs, slice(count // 2, count // 2 + 1)), "alone"))
    return plan


def _call(name, inputs, rows: slice) -> child.Call:
    return child.Call(name, {key: np.ascontiguousarray(a[rows]) for key, a in inputs.items()})


def _samples(model) -> dict:
    """Gives makers of inputs that the model would meet: images in range, latents from p(z)."""

    def images(info, count):
        shape = _shape(info, count)
        return np.random.default_rng(_SEED).random(shape).astype(info.dtype)

    def labels(info, count):
        one_hot = len(info.shape) == 2  # As TFLite files take them.
        classes = getattr(model, "num_classes", None) or (info.shape[1] if one_hot else 2)
        drawn = np.random.default_rng(_SEED + 1).integers(classes, size=count)
        return (np.eye(classes)[drawn] if one_hot else drawn).astype(info.dtype)

    def latents(info, count):
        if model is None:
            return _anything(info, count)
        own = labels(signatures.TensorInfo("", "int32", (None,)), count)
        given = model.given(own if model.conditional else None)
        if model.prior is not None:
            return np.asarray(given.prior.sample(count, _SEED), info.dtype)
        shape = signatures.TensorInfo("", "float32", (None, *model.event_shape))
        return np.asarray(given.posterior.mean(given.encode_params(images(shape, count))))

    def seeds(info, count):
        if np.dtype(info.dtype).kind not in "iu":
            return _anything(info, count)
        # Large ones too, where the type has room for them: both halves of a seed count.
        largest = min(np.iinfo(info.dtype).max, 2**62 - 1)
        return np.random.default_rng(_SEED).integers(largest, size=count).astype(info.dtype)

    return {"image": images, "label": labels, "z": latents, "seed": seeds}


def _anything(info: signatures.TensorInfo, count: int) -> np.ndarray:
    rng = np.random.default_rng(_SEED)
    shape = _shape(info, count)
    if np.dtype(info.dtype).kind == "f":
        return rng.normal(size=shape).astype(info.dtype)
    return rng.integers(2, size=shape).astype(info.dtype)


def _shape(info, count) -> tuple[int, ...]:
    return (count, *(8 if size is None else size for size in info.shape[1:]))


def _reference(model, name: str, inputs: dict) -> dict[str, np.ndarray]:
    """What the model itself says to the same inputs; nothing for a signature it does not know."""
    from kvae import random

    label = inputs.get("label")
    if label is not None and label.ndim == 2:
        label = np.argmax(label, axis=-1)
    if name == "serving_default":
        params = model.given(label).decode_params(inputs["z"])
        outputs = {"image": model.decode(inputs["z"], label), **params}
    elif name == "encode":
        outputs = model.encode(inputs["image"], label)
    elif name == "reconstruct":
        outputs = {"image": model.reconstruct(inputs["image"], label)}
    elif name == "generate" and model.prior is not None:
        draws = []
        for row, seed in enumerate(inputs["seed"]):
            prior = model.given(None if label is None else label[row : row + 1]).prior
            draws.append(np.asarray(prior.sample(1, random.split(int(seed))[0])))
        z = np.concatenate(draws)
        outputs = {"image": model.decode(z, label), "z": z}
    else:
        return {}
    return {key: np.asarray(value, np.float32) for key, value in outputs.items()}


class _Comparison:
    """Turns results into the rows of a report."""

    def __init__(self, model, available, tolerance: float, runtime: str):
        self.model, self.available = model, available
        self.tolerance, self.runtime = tolerance, runtime
        self.rows: list[Row] = []

    def batch(self, call: child.Call, result: child.Result) -> None:
        size = len(next(iter(call.inputs.values()), ()))
        reference, error = {}, result.error
        if self.model is not None and not error:
            try:
                reference = _reference(self.model, call.signature, call.inputs)
            except (ValueError, KeyError) as problem:
                error = f"the model does not take these inputs: {problem}"
        for name in self.available[call.signature].outputs:
            if error:
                self.add(call.signature, name, size, error=error)
            else:
                self.compare(call.signature, name, size, result.outputs[name], reference.get(name))

    def generate(self, results) -> None:
        """Compares rows with themselves elsewhere in the batch, and alone.

        The latents keep their bits. Images agree as far as a product of matrices does, whose order
        of summation depends on the batch.
        """
        full = [result for _, kind, result in results if kind == "batch"][-1:]
        if not full or full[0].error:
            return
        for name, array in full[0].outputs.items():
            for _, kind, result in results:
                if kind == "batch":
                    continue
                size = len(array)
                rows = array[::-1] if kind == "reversed" else array[size // 2 : size // 2 + 1]
                label = f"{name}, row {kind}"
                if result.error:
                    self.add("generate", label, len(rows), error=result.error)
                    continue
                tolerance = 0.0 if name == "z" else self.tolerance
                have = result.outputs[name]
                self.compare("generate", label, len(rows), have, rows, tolerance)

    def finish(self) -> None:
        """Leaves no report that looks fine because nothing was compared."""
        fine = all(row.ok for row in self.rows)
        if self.model is None or not fine:
            return
        if all(row.max_abs_error is None for row in self.rows):
            error = "no signature is one of the model's: nothing was compared"
            self.add("(all)", "(all)", 0, error=error)

    def compare(self, signature, name, batch, have, want=None, tolerance=None) -> None:
        if not np.isfinite(have).all():
            bad = int((~np.isfinite(have)).sum())
            error = f"{bad} of {have.size} numbers are not finite"
            self.add(signature, name, batch, error=error)
        elif want is None:
            self.add(signature, name, batch)
        elif have.shape != want.shape:
            error = f"the shape is {have.shape}, the model's {want.shape}"
            self.add(signature, name, batch, error=error)
        else:
            difference = np.abs(have.astype(np.float64) - want)
            self.add(
                signature,
                name,
                batch,
                max_abs_error=float(difference.max(initial=0.0)),
                tolerance=self.tolerance if tolerance is None else tolerance,
                scale=max(1.0, float(np.abs(want).max(initial=0.0))),
            )

    def add(self, signature, name, batch, max_abs_error=None, tolerance=None, **more) -> None:
        self.rows.append(
            Row(signature, name, batch, max_abs_error, tolerance, self.runtime, **more)
        )
