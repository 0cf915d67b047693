"""Runs exported files outside the Python that wrote them, and compares."""

import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from export import example_inputs, half_precision
from export.files import meta_graph, versions, warmup
from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from export.signatures import Call, Signature, TensorInfo, specified_input
from export.verification import tolerances
from export.verification.comparison import Comparison, row_exact
from export.verification.results import Report, Row
from kvae.utils import names, seals
from kvae.utils.register import import_modules

if TYPE_CHECKING:
    from kvae.datasets import Dataset
    from kvae.models.vae import VAE

__all__ = ["verify"]

import_modules("export.runtimes")


def verify(
    path: str | os.PathLike,
    model: "VAE | None" = None,
    batch_sizes: tuple[int, ...] = (1, 7, 64),
    tolerance: float | None = None,
    timeout: float = 300.0,
    accelerator: str = "cpu",
    data: "Dataset | None" = None,
) -> Report:
    """Runs an exported file outside the Python that wrote it, and compares it with the model.

    A SavedModel runs in TensorFlow's C++ runtime, through its C API and in a process that never
    imports TensorFlow. That is the loader of TensorFlow Serving; a reload in Python proves nothing,
    because it accepts files that this loader cannot run. A TFLite file runs in LiteRT, an ONNX file
    in ONNX Runtime. Each signature is run at each batch size, and once without its optional inputs.
    `generate` is compared with the model's draws from the same seeds, and the `z` of a row has to
    keep its bits when the row stands elsewhere in the batch, and alone; so do the numbers of
    `score`. The requests that a server warms up with are run too. Where OpenVINO is installed, it
    runs `serving_default` as a second opinion on the graph.

    `export.saved_model` notes the SHA-256 of its files. Files that differ are refused before they
    are loaded.

    Args:
        path: str or path. A SavedModel's version folder, a folder of versions (its newest is
            taken), or a `.tflite` or `.onnx` file.
        model: `kvae.VAE` to compare with, or `None`, to check only that every signature runs and
            returns finite numbers. Defaults to `None`.
        batch_sizes: tuple of int. Defaults to `(1, 7, 64)`. A TFLite file has a fixed batch
            size, and runs larger batches in parts of that size.
        tolerance: float or `None`. The largest difference allowed, relative to the largest absolute
            value of the output where that exceeds 1. Images that are decoded from the codes of
            others may also differ by what the decoder makes of such a difference of the codes (at
            most 1e-5, relatively). Defaults to `None`: 1e-5 for float32, 1e-3 for float16, 0.1 for
            dynamic-range and 0.25 for int8 files, whose quality `export.profile` measures. Where a
            model's networks compute in half precision (`mixed_float16`, `mixed_bfloat16`), runtimes
            round at different places. By default each output may then also differ by a few times
            what rounding does to the model itself, which is compared with a copy in float32.
        timeout: float. Seconds after which the other process is ended. Defaults to `300`.
        accelerator: str. `"gpu"` runs a TFLite file on LiteRT's GPU accelerator, which has to take
            all of it; that needs a Vulkan driver, one in software will do. Defaults to `"cpu"`.
        data: optional `kvae.datasets.Dataset` of examples, with labels for a conditional model,
            that the signatures are called with. Defaults to `None`: made ones.

    Returns:
        `Report`: true when all is well, a table when printed. A signature that fails, and a runtime
        that crashes or hangs, are failed rows of it.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ModuleNotFoundError: if the package that runs it is not installed.
        TypeError: if `model` is no `kvae.VAE`.
        ValueError: if the file cannot be loaded, e.g. because it was cut off or altered.

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
        from export.graphs import endpoints

        endpoints.exportable(model)
    path = _resolve(pathlib.Path(path))
    runtime, *others = _runtimes(path, accelerator)
    batch_sizes = tuple(sorted({int(size) for size in batch_sizes}))
    if path.is_dir():
        versions.check(path)
    runtime.require()
    facts: dict = {"runtime": runtime.title, "precision": "float32"}
    if runtime.signatures is not None:
        available = runtime.signatures(path)
    else:
        answer = child.request(runtime.module, path, [], timeout)
        if runtime.accelerator != "cpu" and answer.load_error:
            plain, *_ = _runtimes(path, "cpu")
            _raise_load_error(path, child.request(plain.module, path, [], timeout))
            raise ValueError(
                f"{path} does not run on the GPU: {answer.load_error}. Either there is no Vulkan "
                "driver, or the accelerator does not take an operator of the file."
            )
        _raise_load_error(path, answer)
        if answer.failure:
            return _failed(path, runtime.title, answer.failure)
        facts |= answer.facts
        available = {name: _signature(item) for name, item in facts["signatures"].items()}
    untried = {name: why for name, item in available.items() if (why := _obstacle(item))}
    tried = {name: item for name, item in available.items() if name not in untried}
    warming = warmup.read(path) if path.is_dir() else []
    known = {call.signature: call.inputs for call in warming}
    plan = _plan(tried, model, batch_sizes, known, data, by_row=path.is_dir())
    plan += [(call, "warm-up") for call in warming]
    answer = child.request(runtime.module, path, [call for call, _ in plan], timeout)
    _raise_load_error(path, answer)
    if answer.failure:
        return _failed(path, facts["runtime"], answer.failure)
    half, precision = None, facts["precision"]
    if tolerance is None:
        tolerance = tolerances.TOLERANCES[precision]
        half = _half_type(path, model)
    if half is not None:
        precision = f"mixed_{half}"
    comparison = Comparison(
        model, available, tolerance, answer.facts["runtime"], half_precision.UNITS.get(half, 0.0)
    )
    for (call, kind), result in zip(plan, answer.results, strict=True):
        if kind == "batch":
            comparison.batch(call, result)
        elif kind in ("reversed", "alone"):
            comparison.row_by_row(call.signature, kind, result)
        else:
            comparison.runs(call, kind, result)
    for other in others:
        # OpenVINO makes constants of inputs that may be left out, such as conditions.
        constant = other.only in available and available[other.only].optional
        if other.installed() and not constant:
            comparison.second(other, path, plan, timeout)
    for name, why in untried.items():
        comparison.add(name, "(all)", 0, error=why)
    comparison.finish()
    return Report(path, precision, comparison.rows)


def _half_type(path: pathlib.Path, model) -> str | None:
    """Returns the half precision that networks compute in: the model's, or as the export says."""
    if model is not None:
        return half_precision.half_type(model)
    file = path / versions.METADATA
    return seals.unsealed(file.read_text("utf-8")).get("half_precision") if file.is_file() else None


def _resolve(path: pathlib.Path) -> pathlib.Path:
    """Finds the version folder or the file that is meant."""
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}. Export the model first, with export.saved_model or export.tflite."
        )
    if path.name == "saved_model.pb":
        return path.parent
    if path.suffix == ".keras":
        raise ValueError(
            f"{path} is no exported file, but one of Keras. Export it first, with `kvae export "
            f"{path}`, and give the path that was written."
        )
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        if found := versions.versions(path):
            digits = (entry.name for entry in path.iterdir() if entry.name.isdigit())
            return path / next(name for name in digits if int(name) == found[-1])
        raise FileNotFoundError(
            f"{path} holds neither a SavedModel nor versions of one. Give the path that "
            "export.saved_model returned."
        )
    return path


def _signature(item: dict) -> Signature:
    """Returns a signature as a runtime's process describes it."""

    def infos(kind: str) -> dict[str, TensorInfo]:
        # The first axis is the rows: the process splits them into the file's own batches.
        return {
            key: TensorInfo(info["dtype"], (None, *info["shape"][1:]))
            for key, info in item[kind].items()
        }

    return Signature(infos("inputs"), infos("outputs"))


def _runtimes(path: pathlib.Path, accelerator: str) -> list[Runtime]:
    """Returns the runtime of a file, and after it those that give a second opinion."""
    known = {runtime.accelerator for runtime in RUNTIMES.values()}
    if accelerator not in known:
        raise names.unknown_name("accelerator", accelerator, sorted(known))
    suffix = "" if path.is_dir() else path.suffix
    able = [runtime for runtime in RUNTIMES.values() if runtime.suffix == suffix]
    # A file of another name is taken for a TFLite file, and refused if it is none.
    able = able or [runtime for runtime in RUNTIMES.values() if runtime.suffix == ".tflite"]
    found = [runtime for runtime in able if runtime.accelerator == accelerator]
    if not found:
        accelerated = sorted({r.suffix for r in RUNTIMES.values() if r.accelerator == accelerator})
        raise ValueError(
            f"{path} runs on the CPU only: accelerators are for {', '.join(accelerated)} files."
        )
    return sorted(found, key=lambda runtime: runtime.second)


def _raise_load_error(path: pathlib.Path, answer: child.Answer) -> None:
    if answer.load_error:
        raise ValueError(
            f"{path} cannot be loaded: {answer.load_error}. It is damaged or incomplete, or was "
            "written by another tool; export the model again."
        )


def _failed(path, runtime: str, failure: str) -> Report:
    row = Row("(all)", "(all)", 0, None, None, runtime, error=failure)
    return Report(path, "unknown", [row])


def _obstacle(signature: Signature) -> str:
    """Returns why a signature cannot be tried; an empty text when it can."""
    for key, info in signature.inputs.items():
        known = specified_input(key)
        unknown = info.dtype == "string" and (known is None or known.kind not in ("image", "cells"))
        if unknown or info.dtype not in meta_graph.DTYPES.values():
            return f"the input {key!r} holds no numbers ({info.dtype})"
        if not info.shape:
            return f"the input {key!r} has no batch dimension"
    return ""


def _plan(available, model, batch_sizes, known, data, by_row) -> list[tuple[Call, str]]:
    """Returns what to run: each signature at each batch size, the largest first, and variations.

    `by_row` says whether the rows of some outputs keep their bits wherever they stand, which
    SavedModels promise.
    """
    count = batch_sizes[-1]
    plan = []
    for name, signature in available.items():
        inputs = example_inputs.inputs(signature, count, model, known=known.get(name), data=data)
        for size in reversed(batch_sizes):
            plan.append((_call(name, inputs, slice(size)), "batch"))
        if by_row and row_exact(name):
            plan.append((_call(name, inputs, slice(None, None, -1)), "reversed"))
            plan.append((_call(name, inputs, slice(count // 2, count // 2 + 1)), "alone"))
        if signature.optional:
            required = {key: inputs[key] for key in inputs if key not in signature.optional}
            plan.append((_call(name, required, slice(2)), "defaults"))
    return plan


def _call(name, inputs, rows: slice) -> Call:
    return Call(name, {key: np.ascontiguousarray(a[rows]) for key, a in inputs.items()})
