"""What is asked and answered: TensorFlow Serving's JSON, and the arrays in it, checked."""

import base64
import binascii
import json
import math

import numpy as np

from export.runtime import signatures
from export.server_models import Failure, Model

__all__ = [
    "answer",
    "arrays",
    "bound",
    "byte_strings",
    "check",
    "columns",
    "metadata",
    "parse",
    "state",
]

# Steps of an interpolation that does not say how many, and the most that there are.
_STEPS, _MAX_STEPS = 8, 64


def _reject(token):
    raise Failure("INVALID_ARGUMENT", f"{token} is no JSON number. Inputs are finite.")


def parse(body: bytes) -> dict:
    """The JSON object of a request, whose parts have yet to be looked at."""
    try:
        content = json.loads(body, parse_constant=_reject)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise Failure("INVALID_ARGUMENT", f"The request is not JSON: {why}") from None
    if not isinstance(content, dict):
        raise Failure("INVALID_ARGUMENT", "The request is not a JSON object.")
    if ("instances" in content) == ("inputs" in content):
        raise Failure("INVALID_ARGUMENT", "Give either 'instances' (rows) or 'inputs' (columns).")
    if not isinstance(content.get("signature_name", ""), str):
        raise Failure("INVALID_ARGUMENT", "'signature_name' is a string.")
    return content


def columns(content: dict, signature: signatures.Signature) -> dict:
    """The inputs by name, whichever way they were written."""
    required = [name for name in signature.inputs if name not in signature.optional]

    def named(value):
        return isinstance(value, dict) and set(value) != {"b64"}

    if "inputs" in content:
        value = content["inputs"]
    else:
        rows = content["instances"]
        if not isinstance(rows, list) or not rows:
            raise Failure("INVALID_ARGUMENT", "'instances' is a list with a row or more.")
        if not any(named(row) for row in rows):
            value = rows
        elif all(named(row) and set(row) == set(rows[0]) for row in rows):
            return {name: [row[name] for row in rows] for name in rows[0]}
        else:
            raise Failure("INVALID_ARGUMENT", "The rows of 'instances' name different inputs.")
    if named(value):
        return value
    if len(required) != 1:
        names = ", ".join(required)
        raise Failure("INVALID_ARGUMENT", f"Name the inputs, since there are several: {names}")
    return {required[0]: value}


def arrays(columns: dict, signature: signatures.Signature) -> dict[str, np.ndarray]:
    """Arrays of JSON's lists, checked."""
    known = {key: value for key, value in columns.items() if key in signature.inputs}
    for key, value in known.items():
        known[key] = _array(key, value, signature.inputs[key])
    return check(columns | known, signature)


def check(arrays: dict[str, np.ndarray], signature: signatures.Signature) -> dict:
    """Returns the arrays when they are what a signature takes: names, types, shapes, rows."""
    unknown = set(arrays) - set(signature.inputs)
    missing = set(signature.inputs) - set(arrays) - set(signature.optional)
    if unknown or missing:
        names = ", ".join(signature.inputs)
        what = f"unknown: {', '.join(sorted(unknown))}" if unknown else ""
        what = what or f"missing: {', '.join(sorted(missing))}"
        raise Failure("INVALID_ARGUMENT", f"The inputs are {names} ({what})")
    for name, array in arrays.items():
        info = signature.inputs[name]
        if not array.size:
            raise Failure("INVALID_ARGUMENT", f"Input {name!r} has no rows")
        if not signatures.matches(array, info):
            shape = ", ".join("rows" if size is None else str(size) for size in info.shape)
            raise Failure(
                "INVALID_ARGUMENT",
                f"Input {name!r} is {array.dtype.name} of the shape {list(array.shape)}, not "
                f"{info.dtype} of [{shape}]",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Failure("INVALID_ARGUMENT", f"Input {name!r} holds numbers that are not finite")
    rows = {key: len(array) for key, array in arrays.items() if array.ndim}
    if len({n for key, n in rows.items() if not (n == 1 and key in signature.optional)}) > 1:
        text = ", ".join(f"{key} {count}" for key, count in rows.items())
        raise Failure("INVALID_ARGUMENT", f"The inputs differ in their numbers of rows: {text}")
    return arrays


def _array(name: str, value, info: signatures.TensorInfo) -> np.ndarray:
    def bad(text):
        return Failure("INVALID_ARGUMENT", f"Input {name!r} {text}")

    if info.dtype == "string":
        array = _bytes(value, bad)
    else:
        try:
            # As objects: an array of strings would give each the room of the longest.
            array = np.array(value, object)
        except ValueError:
            raise bad("is ragged: its lists differ in length") from None
        wanted = np.dtype(info.dtype)
        if not array.size:
            return np.zeros(array.shape, wanted)
        kinds = set(map(type, array.flat))
        if list in kinds:
            raise bad("is ragged: its lists differ in length")
        if not kinds <= {"f": {int, float}, "b": {bool}}.get(wanted.kind, {int}):
            numbers = {"f": "numbers", "b": "true or false"}.get(wanted.kind, "whole numbers")
            raise bad(f"does not hold {numbers} of the type {info.dtype}")
        limits = np.finfo if wanted.kind == "f" else np.iinfo
        if wanted.kind != "b" and (
            array.max() > limits(wanted).max or array.min() < limits(wanted).min
        ):
            raise bad(f"holds a number that is too large for {info.dtype}")
        array = array.astype(wanted)
    return array


def _bytes(value, bad) -> np.ndarray:
    rows = value if isinstance(value, list) else [value]
    found = []
    for row in rows:
        if isinstance(row, dict) and set(row) == {"b64"} and isinstance(row["b64"], str):
            try:
                found.append(base64.b64decode(row["b64"], validate=True))
            except binascii.Error:
                raise bad("holds a 'b64' that is not base64") from None
        elif isinstance(row, str):
            found.append(row.encode(errors="surrogatepass"))
        else:
            raise bad('holds strings, or bytes as {"b64": "…"}')
    return byte_strings(found)


def byte_strings(values: list[bytes], shape=None) -> np.ndarray:
    """An array of objects: one of NumPy's strings would give each the room of the longest."""
    array = np.empty(len(values), object)
    array[:] = values
    return array if shape is None else array.reshape(shape)


def bound(arrays: dict[str, np.ndarray], signature: signatures.Signature, limit: int) -> int:
    """Returns the bytes of the outputs, when they are at most `limit`."""
    rows = max((len(array) for array in arrays.values() if array.ndim), default=1)
    steps = min(_MAX_STEPS, max(1, int(arrays["steps"].max()))) if "steps" in arrays else _STEPS
    count = sum(
        rows
        * math.prod(steps if size is None else size for size in info.shape[1:])
        * np.dtype("S1" if info.dtype == "string" else info.dtype).itemsize
        for info in signature.outputs.values()
    )
    if count > limit:
        text = f"The answer would have {count} bytes of numbers; {limit} are allowed."
        raise Failure("INVALID_ARGUMENT", f"{text} Send fewer rows at once.", 413)
    return count


def answer(outputs: dict[str, np.ndarray], by_rows: bool) -> dict:
    """The outputs as an object for JSON, by rows where the inputs were."""
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise Failure("INTERNAL", f"The output {name!r} holds numbers that are not finite.")
    lists = {name: array.tolist() for name, array in outputs.items()}
    if len(lists) == 1:
        (only,) = lists.values()
        return {"predictions" if by_rows else "outputs": only}
    if not by_rows:
        return {"outputs": lists}
    rows = zip(*lists.values(), strict=True)
    return {"predictions": [dict(zip(lists, row, strict=True)) for row in rows]}


_DTYPES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


def metadata(model: Model, version: int | None) -> dict:
    """What TensorFlow Serving says about signatures, in its JSON."""

    def tensors(infos):
        return {
            name: {
                "dtype": _DTYPES.get(info.dtype, f"DT_{info.dtype.upper()}"),
                "tensor_shape": {
                    "dim": [
                        {"size": str(-1 if size is None else size), "name": ""}
                        for size in info.shape
                    ],
                    "unknown_rank": False,
                },
                "name": info.tensor,
            }
            for name, info in infos.items()
        }

    definitions = {
        name: {
            "inputs": tensors(item.inputs),
            "outputs": tensors(item.outputs),
            "method_name": "tensorflow/serving/predict",
        }
        for name, item in model.loaded(version).signatures.items()
    }
    return {
        "model_spec": {
            "name": model.name,
            "signature_name": "",
            "version": str(model.version),
        },
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def state(model: Model, version: int | None) -> dict:
    """What TensorFlow Serving says about versions, in its JSON."""
    model.loaded(version)
    status = {"error_code": "OK", "error_message": ""}
    state = {"version": str(model.version), "state": "AVAILABLE", "status": status}
    return {"model_version_status": [state]}
