"""Runs exported files outside the Python that wrote them, and compares."""

import dataclasses
import os
import pathlib

import numpy as np

from export import example_inputs, half_precision
from export.files import meta_graph, versions, warmup
from export.runtimes import c_api, child, litert, onnx_runtime, open_vino
from export.signatures import SIGNATURES, Call, Signature, TensorInfo, specified_input
from export.verification import references
from export.verification.results import Report, Row
from kvae.utils import io, names

__all__ = ["TOLERANCES", "verify"]

# The largest difference from the model that is accepted, by precision. Eight-bit files are lossy on
# purpose: their bounds (of images in [0, 1]) catch broken files, not small losses of quality.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "dynamic": 0.1, "int8": 0.25}

_SAVED_MODEL = "export.runtimes.c_api"
_OPENVINO = "export.runtimes.open_vino"
_TFLITE = {"cpu": "export.runtimes.litert", "gpu": "export.runtimes.litert_gpu"}
_ONNX = "export.runtimes.onnx_runtime"
# Of an effective sample size: sums of tens of numbers in float32.
_ROUNDING = 1e-6
# Of the error that log p(x) may have: what is not common to all log-weights of a row, and does not
# cancel. In float32 that is the rounding of a sum over the pixels, here 17 units in the last place.
_OWN_ERROR = 0.2


def verify(
    path: str | os.PathLike,
    model=None,
    batch_sizes: tuple[int, ...] = (1, 7, 64),
    tolerance: float | None = None,
    timeout: float = 300.0,
    accelerator: str = "cpu",
) -> Report:
    """Runs an exported file outside the Python that wrote it, and compares it with the model.

    A SavedModel runs in TensorFlow's C++ runtime, through its C API and in a process that never
    imports TensorFlow: the loader that TensorFlow Serving uses. (A reload in Python is no proof:
    it accepts files that this loader cannot run.) A TFLite file runs in LiteRT, an ONNX file in
    ONNX Runtime. Each signature is run at each batch size, and once without its optional inputs.
    `generate` is compared with the model's draws from the same seeds, and the `z` of a row has to
    keep its bits when the row stands elsewhere in the batch, and alone; so do the numbers of
    `score`. The requests that a server warms up with are run too, and `serving_default` in OpenVINO
    as well, where that is installed: a second opinion on what the graph says.

    The files of a SavedModel that are not those that `export.saved_model` wrote, by the SHA-256
    that it noted, are refused before they are loaded.

    Args:
        path: str or path. A SavedModel's version folder, a folder of versions (its newest is
            taken), or a `.tflite` or `.onnx` file.
        model: `kvae.VAE` to compare with. `None` checks only that every signature runs and returns
            finite numbers.
        batch_sizes: tuple of int. Defaults to `(1, 7, 64)`. A TFLite file has a fixed batch
            size, and so many rows are run through it in turn.
        tolerance: float. The largest difference allowed, relative to the largest absolute value of
            the output where that exceeds 1; images that are decoded from the codes of others may
            differ besides by what the decoder makes of such a difference of the codes (at most
            1e-5, relatively). Defaults to 1e-5 for float32, 1e-3 for float16, 0.1
            for dynamic-range and 0.25 for int8 files, where quality is a matter of evaluation.
            Where a model's networks compute in half precision (`mixed_float16`, `mixed_bfloat16`),
            runtimes round at other places: by default each output may then differ besides by a few
            times what rounding does to the model itself, which is compared with a copy of it in
            float32.
        timeout: float. Seconds after which the other process is ended. Defaults to `300`.
        accelerator: str. `"gpu"` runs a TFLite file on LiteRT's GPU accelerator, which has to take
            all of it; that needs a Vulkan driver, one in software will do. Defaults to `"cpu"`.

    Returns:
        `Report`: true when all is well, a table when printed. A signature that fails, and a runtime
        that crashes or hangs, are failed rows of it.

    Raises:
        FileNotFoundError: if there is nothing at `path`, or no library to run it.
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
    if accelerator not in _TFLITE:
        raise names.unknown_name("accelerator", accelerator, _TFLITE)
    path = _resolve(pathlib.Path(path))
    if accelerator != "cpu" and path.suffix != ".tflite":
        raise ValueError(f"{path} runs on the CPU only: accelerators are for .tflite files.")
    batch_sizes = tuple(sorted({int(size) for size in batch_sizes}))
    if path.is_dir():
        versions.check(path)
        c_api.library_path()
        module, facts = _SAVED_MODEL, {"runtime": "C++", "precision": "float32"}
        available = meta_graph.read_signatures(path)
    else:
        onnx = path.suffix == ".onnx"
        (onnx_runtime if onnx else litert).require()
        module = _ONNX if onnx else _TFLITE[accelerator]
        answer = child.request(module, path, [], timeout)
        if accelerator != "cpu" and answer.load_error:
            _raise_load_error(path, child.request(_TFLITE["cpu"], path, [], timeout))
            raise ValueError(
                f"{path} does not run on the GPU: {answer.load_error}. Either there is no Vulkan "
                "driver, or the accelerator does not take an operator of the file."
            )
        _raise_load_error(path, answer)
        if answer.failure:
            return _failed(path, "ONNX Runtime" if onnx else "LiteRT", answer.failure)
        facts = answer.facts
        available = {
            name: Signature(
                **{
                    kind: {key: _info(key, item) for key, item in infos.items()}
                    for kind, infos in item.items()
                }
            )
            for name, item in facts["signatures"].items()
        }
    untried = {name: why for name, item in available.items() if (why := _obstacle(item))}
    tried = {name: item for name, item in available.items() if name not in untried}
    warming = warmup.read(path) if path.is_dir() else []
    known = {call.signature: call.inputs for call in warming}
    plan = _plan(tried, model, batch_sizes, known)
    plan += [(call, "warm-up") for call in warming]
    answer = child.request(module, path, [call for call, _ in plan], timeout)
    _raise_load_error(path, answer)
    if answer.failure:
        return _failed(path, facts["runtime"], answer.failure)
    half, precision = None, facts["precision"]
    if tolerance is None:
        tolerance = TOLERANCES[precision]
        half = _half_type(path, model)
    if half is not None:
        precision = f"mixed_{half}"
    comparison = _Comparison(
        model, available, tolerance, answer.facts["runtime"], half_precision.UNITS.get(half, 0.0)
    )
    for (call, kind), result in zip(plan, answer.results, strict=True):
        if kind == "batch":
            comparison.batch(call, result)
        elif kind in ("reversed", "alone"):
            comparison.row_by_row(call.signature, kind, result)
        else:
            comparison.runs(call, kind, result)
    if path.is_dir() and open_vino.SIGNATURE in tried and open_vino.installed():
        comparison.second(path, plan, timeout)
    for name, why in untried.items():
        comparison.add(name, "(all)", 0, error=why)
    comparison.finish()
    return Report(path, precision, comparison.rows)


def _half_type(path: pathlib.Path, model) -> str | None:
    """Returns the half precision that networks compute in: the model's, or as the export says."""
    if model is not None:
        return half_precision.half_type(model)
    file = path / versions.METADATA
    return io.unsealed(file.read_text("utf-8")).get("half_precision") if file.is_file() else None


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


def _info(key: str, item: dict) -> TensorInfo:
    # The first axis is the rows: the runtime module splits them into the file's own batches.
    return TensorInfo(item["dtype"], (None, *item["shape"][1:]))


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
    """Says why a signature cannot be tried; nothing when it can."""
    for key, info in signature.inputs.items():
        known = specified_input(key)
        unknown = info.dtype == "string" and (known is None or known.kind != "image")
        if unknown or info.dtype not in meta_graph.DTYPES.values():
            return f"the input {key!r} holds no numbers ({info.dtype})"
        if not info.shape:
            return f"the input {key!r} has no batch dimension"
    return ""


def _plan(available, model, batch_sizes, known) -> list[tuple[Call, str]]:
    """Lists what to run: each signature at each batch size, the largest first, and variations."""
    count = batch_sizes[-1]
    plan = []
    for name, signature in available.items():
        inputs = example_inputs.inputs(signature, count, model, known=known.get(name))
        for size in reversed(batch_sizes):
            plan.append((_call(name, inputs, slice(size)), "batch"))
        if _row_exact(name):
            plan.append((_call(name, inputs, slice(None, None, -1)), "reversed"))
            plan.append((_call(name, inputs, slice(count // 2, count // 2 + 1)), "alone"))
        if signature.optional:
            required = {key: inputs[key] for key in inputs if key not in signature.optional}
            plan.append((_call(name, required, slice(2)), "defaults"))
    return plan


def _row_exact(signature: str) -> list[str]:
    """Returns the outputs whose rows keep their bits whatever they are batched with."""
    known = SIGNATURES.get(signature)
    return [name for name, item in known.outputs.items() if item.row_exact] if known else []


def _along_steps(signature: str, output: str) -> bool:
    """Checks whether an output has an axis of steps."""
    known = SIGNATURES.get(signature)
    return known is not None and output in known.outputs and "steps" in known.outputs[output].shape


def _call(name, inputs, rows: slice) -> Call:
    return Call(name, {key: np.ascontiguousarray(a[rows]) for key, a in inputs.items()})


def _rows(call: Call) -> int:
    return len(next(iter(call.inputs.values()), ()))


class _Comparison:
    """Turns results into the rows of a report."""

    def __init__(self, model, available, tolerance: float, runtime: str, unit: float = 0.0):
        self.model, self.available = model, available
        self.tolerance, self.runtime, self.unit = tolerance, runtime, unit
        # The model in float32, where its networks compute in less and can be made again.
        self.precise = half_precision.in_float32(model) if unit and model is not None else None
        # By signature and output: what the rounding of half precision may do to it.
        self.rounding: dict[str, dict[str, float]] = {}
        self.optional = False
        self.rows: list[Row] = []
        # By signature: how far its images may be from the model's for the rounding of their codes.
        self.moved: dict[str, float] = {}
        # By signature: the result of the largest batch, what the model says to it, and why not.
        self.largest: dict[str, tuple[child.Result, dict, str]] = {}

    def batch(self, call: Call, result: child.Result) -> None:
        """Compares one batch with the model; smaller ones are the first rows of the largest."""
        size, error = _rows(call), result.error
        if call.signature not in self.largest:
            self.largest[call.signature] = (result, *self._references(call, result))
        _, wanted, problem = self.largest[call.signature]
        error = error or problem
        for name in self.available[call.signature].outputs:
            if error:
                self.add(call.signature, name, size, error=error)
                continue
            have, want = result.outputs[name], wanted.get(name)
            if want is not None:
                want = want[:size]
                if _along_steps(call.signature, name):  # As long as the longest row of its batch.
                    want = want[:, : have.shape[1]]
            allowed = None
            if name == "effective_sample_size" and want is not None and have.shape == want.shape:
                log_prob = np.maximum(1.0, np.abs(wanted["log_prob"][:size]))
                of_logs = _OWN_ERROR * self.tolerance * log_prob + self._rounding(call, "log_prob")
                allowed = _allowed(have, want, of_logs)
            also = self.moved.get(call.signature, 0.0) if name == "image" else 0.0
            also += self._rounding(call, name)
            self.compare(call.signature, name, size, have, want, allowed=allowed, also=also)

    def _references(self, call, result) -> tuple[dict, str]:
        if result.error:
            return {}, ""
        if self.model is None:
            # What another runtime says is compared with this.
            rounding = references.rounding(self.unit, result.outputs, None)
            self.rounding[call.signature] = rounding
            return {}, ""
        try:
            specified = SIGNATURES.get(call.signature)
            if specified is not None and specified.through_codes:
                rounding = min(self.tolerance, TOLERANCES["float32"])
                self.moved[call.signature] = references.moved(self.model, call.inputs, rounding)
            wanted = references.answers(self.model, call.signature, call.inputs)
            precise = None
            if self.precise is not None:
                precise = references.answers(self.precise, call.signature, call.inputs)
            self.rounding[call.signature] = references.rounding(self.unit, wanted, precise)
            return wanted, ""
        except (ValueError, KeyError) as problem:
            return {}, f"the model does not take these inputs: {problem}"

    def _rounding(self, call, name: str) -> float:
        return self.rounding.get(call.signature, {}).get(name, 0.0)

    def row_by_row(self, signature: str, kind: str, result: child.Result) -> None:
        """Compares rows with themselves elsewhere in the batch, and alone.

        Latents and scores keep their bits. Images agree as far as a product of matrices does, whose
        order of summation depends on the batch.
        """
        full = self.largest[signature][0]
        if full.error:
            return
        for name, array in full.outputs.items():
            size = len(array)
            rows = array[::-1] if kind == "reversed" else array[size // 2 : size // 2 + 1]
            label = f"{name}, row {kind}"
            if result.error:
                self.add(signature, label, len(rows), error=result.error)
                continue
            have, exact = result.outputs[name], name in _row_exact(signature)
            tolerance = 0.0 if exact else self.tolerance
            also = 0.0 if exact else self.rounding.get(signature, {}).get(name, 0.0)
            self.compare(signature, label, len(rows), have, rows, tolerance, also=also)

    def second(self, path: pathlib.Path, plan, timeout: float) -> None:
        """Compares OpenVINO's answers with the model's, or where there is none with the first."""
        name = open_vino.SIGNATURE
        first, wanted, problem = self.largest[name]
        if first.error:
            return
        calls = [call for call, kind in plan if kind == "batch" and call.signature == name]
        answer = child.request(_OPENVINO, path, calls, timeout)
        runtime = answer.facts.get("runtime", "OpenVINO")
        other = _Comparison(self.model, self.available, self.tolerance, runtime)
        other.rows, other.rounding, other.optional = self.rows, self.rounding, True
        other.largest[name] = first, wanted or first.outputs, problem
        if failure := answer.load_error or answer.failure:
            other.add(name, "(all)", 0, error=failure)
        for call, result in zip(calls, answer.results, strict=not failure):
            other.batch(call, result)

    def runs(self, call: Call, kind: str, result: child.Result) -> None:
        """Says whether a request runs and returns finite numbers."""
        bad = sum(int((~np.isfinite(array)).sum()) for array in result.outputs.values())
        error = result.error or (f"{bad} numbers are not finite" if bad else "")
        self.add(call.signature, f"({kind})", _rows(call), error=error)

    def finish(self) -> None:
        """Leaves no report that looks fine because nothing was compared."""
        fine = all(row.ok for row in self.rows)
        if self.model is None or not fine:
            return
        if all(row.max_abs_error is None for row in self.rows):
            error = "no signature is one of the model's: nothing was compared"
            self.add("(all)", "(all)", 0, error=error)

    def compare(
        self, signature, name, batch, have, want=None, tolerance=None, allowed=None, also=0.0
    ) -> None:
        """Compares two arrays, as a whole or each number by the difference `allowed` for it.

        As a whole they may differ by the tolerance, and by the difference `also` besides.
        """
        tolerance = self.tolerance if tolerance is None else tolerance
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
            error = float(difference.max(initial=0.0))
            scale = max(1.0, float(np.abs(want).max(initial=0.0)))
            scale += also / tolerance if tolerance else 0.0
            if allowed is not None and tolerance:
                with np.errstate(divide="ignore", invalid="ignore"):
                    worst = np.argmax(difference / allowed)  # NaN counts as the largest.
                error, scale = float(difference[worst]), float(allowed[worst]) / tolerance
            self.add(signature, name, batch, max_abs_error=error, tolerance=tolerance, scale=scale)

    def add(self, signature, name, batch, max_abs_error=None, tolerance=None, **more) -> None:
        row = Row(signature, name, batch, max_abs_error, tolerance, self.runtime, **more)
        self.rows.append(dataclasses.replace(row, optional=self.optional))


def _allowed(have, want, error_of_logs) -> np.ndarray:
    """How far two effective sample sizes of one row may lie apart, where their log-weights do so.

    Log-weights that differ by at most d change (Σw)² / Σw² at most by the factor exp(4d). Where
    one weight has nearly all of the sum, they change less: the others together are at most
    e = ESS - 1 of the largest, at most e·exp(2d) of it afterwards, and (1 + e·exp(2d))² bounds what
    they make the ESS.

    Args:
        have, want: arrays `[batch]`.
        error_of_logs: array `[batch]`. The d of each row.
    """
    low = np.minimum(have, want).astype(np.float64)
    with np.errstate(over="ignore"):
        factor = np.exp(2.0 * error_of_logs.astype(np.float64))
        others = np.maximum(low - 1.0, 0.0) + _ROUNDING
        high = np.minimum(low * factor**2, (1.0 + others * factor) ** 2)
    return high - low + _ROUNDING * np.abs(low)
