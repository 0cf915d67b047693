"""Compares what a runtime returned with what the model says."""

import dataclasses
import pathlib

import numpy as np

from export import half_precision
from export.runtimes import child
from export.runtimes.register import Runtime
from export.signatures import SIGNATURES, Call, Output
from export.verification import references, tolerances
from export.verification.results import Row

__all__ = ["Comparison", "row_exact"]


class Comparison:
    """Turns results into the rows of a report."""

    def __init__(self, model, available, tolerance: float, runtime: str, unit: float = 0.0):
        self.model, self.available = model, available
        self.tolerance, self.runtime, self.unit = tolerance, runtime, unit
        # The model in float32, where its networks compute in less and can be made again.
        self.precise = half_precision.in_float32(model) if unit and model is not None else None
        # By signature and output, how far the rounding of half precision may move it.
        self.rounding: dict[str, dict[str, float]] = {}
        self.optional = False
        self.rows: list[Row] = []
        # By signature, how far the rounding of codes may move the images decoded from them.
        self.moved: dict[str, dict[str, float]] = {}
        # By signature, the result of the largest batch, the model's answer, and why there is none.
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
                if call.signature == "detect" and name in ("p_value", "is_anomaly"):
                    # They jump where a score's rounding crosses a normal one's.
                    want = references.verdicts(self.model, result.outputs["score"])[name]
                if _along_steps(call.signature, name):  # As long as the longest row of its batch.
                    want = want[:, : have.shape[1]]
            allowed = None
            if name == "effective_sample_size" and want is not None and have.shape == want.shape:
                log_prob = np.maximum(1.0, np.abs(wanted["log_prob"][:size]))
                of_logs = tolerances.OWN_ERROR * self.tolerance * log_prob + self._rounding(
                    call, "log_prob"
                )
                allowed = tolerances.effective_sample_sizes(have, want, of_logs)
            also = self.moved.get(call.signature, {}).get(name, 0.0)
            also += self._rounding(call, name)
            self.compare(call.signature, name, size, have, want, allowed=allowed, also=also)

    def _references(self, call, result) -> tuple[dict, str]:
        if result.error:
            return {}, ""
        if self.model is None:
            # A second runtime is compared with these outputs.
            rounding = tolerances.rounding(self.unit, result.outputs, None)
            self.rounding[call.signature] = rounding
            return {}, ""
        try:
            specified = SIGNATURES.get(call.signature)
            if specified is not None and specified.through_codes:
                rounding = min(self.tolerance, tolerances.TOLERANCES["float32"])
                self.moved[call.signature] = references.moved(self.model, call.inputs, rounding)
            wanted = references.answers(self.model, call.signature, call.inputs)
            precise = None
            if self.precise is not None:
                precise = references.answers(self.precise, call.signature, call.inputs)
            self.rounding[call.signature] = tolerances.rounding(self.unit, wanted, precise)
            return wanted, ""
        except (ValueError, KeyError) as problem:
            return {}, f"the model does not take these inputs: {problem}"

    def _rounding(self, call, name: str) -> float:
        return self.rounding.get(call.signature, {}).get(name, 0.0)

    def row_by_row(self, signature: str, kind: str, result: child.Result) -> None:
        """Compares rows with themselves elsewhere in the batch, and alone.

        Latents and scores keep their bits. Images agree up to the rounding of a product of
        matrices, whose order of summation depends on the batch.
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
            known = _specified(signature, name)
            have, exact = result.outputs[name], known is not None and known.row_exact
            tolerance = 0.0 if exact else self.tolerance
            also = 0.0 if exact else self.rounding.get(signature, {}).get(name, 0.0)
            self.compare(signature, label, len(rows), have, rows, tolerance, also=also)

    def second(self, runtime: Runtime, path: pathlib.Path, plan, timeout: float) -> None:
        """Compares another runtime's answers with the model's, or without a model with the first's.

        Args:
            runtime: `Runtime`. The other one.
            path: path. The file.
            plan: list of pairs of a `Call` and its kind, of which the batches are asked.
            timeout: float. Seconds.
        """
        names = [name for name in self.largest if runtime.only in (None, name)]
        names = [name for name in names if not self.largest[name][0].error]
        calls = [call for call, kind in plan if kind == "batch" and call.signature in names]
        if not calls:
            return
        answer = child.request(runtime.module, path, calls, timeout)
        title = answer.facts.get("runtime", runtime.title)
        other = Comparison(self.model, self.available, self.tolerance, title)
        other.rows, other.rounding, other.optional = self.rows, self.rounding, True
        for name in names:
            first, wanted, problem = self.largest[name]
            other.largest[name] = first, wanted or first.outputs, problem
        if failure := answer.load_error or answer.failure:
            other.add(runtime.only or "(all)", "(all)", 0, error=failure)
        for call, result in zip(calls, answer.results, strict=not failure):
            other.batch(call, result)

    def runs(self, call: Call, kind: str, result: child.Result) -> None:
        """Adds a row that says whether a request ran and returned finite numbers."""
        bad = sum(int((~np.isfinite(array)).sum()) for array in _of_numbers(result))
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
        if have.dtype.kind == "S":
            have = references.cell_numbers(self.model, have)
        if want is not None and want.dtype.kind == "S":
            want = references.cell_numbers(self.model, want)
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


def _of_numbers(result: child.Result) -> list[np.ndarray]:
    return [array for array in result.outputs.values() if array.dtype.kind != "S"]


def row_exact(signature: str) -> list[str]:
    """Returns the outputs whose rows keep their bits whatever they are batched with."""
    known = SIGNATURES.get(signature)
    return [name for name, item in known.outputs.items() if item.row_exact] if known else []


def _specified(signature: str, name: str) -> Output | None:
    """Returns what is specified of an output; that of a modality is as that of the image."""
    known = SIGNATURES.get(signature)
    if known is None or name in known.outputs or known.parameters:
        return None if known is None else known.outputs.get(name)
    return known.outputs.get("map" if name.endswith("_map") else "image")


def _along_steps(signature: str, output: str) -> bool:
    """Checks whether an output has an axis of steps."""
    known = _specified(signature, output)
    return known is not None and "steps" in known.shape


def _rows(call: Call) -> int:
    return len(next(iter(call.inputs.values()), ()))
