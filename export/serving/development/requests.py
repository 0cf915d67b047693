"""Reads and checks requests in TensorFlow Serving's JSON, and writes the answers.

msgspec skips through a body without making objects of it. The contents are examined as text first:
their brackets give the shape, and the numbers are then read some thousands at a time. A body thus
costs a few times its bytes, and the deadline is checked meanwhile.
"""

import functools
import math
import re
import time
from collections.abc import Iterator

import msgspec
import numpy as np

from export.serving.development.failures import Failure, late
from export.serving.development.served_model import Model
from export.signatures import INPUTS, Signature, TensorInfo, fits, matches

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

# The size of an output that is open in a file is the number of steps of an interpolation.
_STEPS = INPUTS["steps"]
# The bytes of Python's objects for a row of `instances` with named inputs, or for a string.
_ROW = 256
_CHUNK = 1 << 16  # Characters that are turned into numbers at once.
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[],"))
_LARGEST_RANK = 8
_BYTES = re.compile(rb'\{\s*"b64"\s*:')


class _Request(msgspec.Struct):
    """A request, whose contents are still the text that was sent."""

    signature_name: str | None = None
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Encoded(msgspec.Struct, forbid_unknown_fields=True):
    b64: bytes


_REQUEST = msgspec.json.Decoder(_Request)
# How inputs of strings are read, by their rank: one string for each row, or several.
_STRINGS = {
    1: msgspec.json.Decoder(list[str | _Encoded]),
    2: msgspec.json.Decoder(list[list[str | _Encoded]]),
}
_NUMBERS = {
    kind: (msgspec.json.Decoder(list[value]), text)
    for kind, value, text in (
        ("f", float, "numbers"),
        ("b", bool, "true or false"),
        ("i", int, "whole numbers"),
        ("u", int, "whole numbers"),
    )
}


def parse(body: bytes | bytearray) -> _Request:
    """Returns the request in a body, whose parts have yet to be looked at."""
    try:
        content = _REQUEST.decode(body)
    except msgspec.ValidationError as error:
        text = f"The request is not a JSON object whose 'signature_name' is a string: {error}"
        raise Failure("INVALID_ARGUMENT", text) from None
    except RecursionError:
        text = "The request is not JSON: it is nested too deeply"
        raise Failure("INVALID_ARGUMENT", text) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        words = ("NaN", "-Infinity", "Infinity")
        token = next((word for word in words if word.encode() in body), None)
        why = error if token is None else f"{error}. {token} is no JSON number; inputs are finite."
        raise Failure("INVALID_ARGUMENT", f"The request is not JSON: {why}") from None
    if (content.instances is msgspec.UNSET) == (content.inputs is msgspec.UNSET):
        raise Failure("INVALID_ARGUMENT", "Give either 'instances' (rows) or 'inputs' (columns).")
    return content


def columns(content: _Request, signature: Signature, limit: int) -> dict[str, bytes]:
    """Returns the JSON of each input by name, whichever way they were written.

    `limit` bounds the bytes that the objects for named rows may take.
    """
    named = _named(tuple(signature.inputs))
    if content.inputs is not msgspec.UNSET:
        text = bytes(content.inputs)
        if text.startswith(b"{") and not _BYTES.match(text):
            try:
                values = msgspec.json.decode(text, type=named)
            except msgspec.ValidationError as error:
                names, unknown = ", ".join(signature.inputs), str(error).split("`")[1]
                text = f"The inputs are {names} (unknown: {unknown})"
                raise Failure("INVALID_ARGUMENT", text) from None
            given = msgspec.structs.asdict(values)
            return {key: bytes(raw) for key, raw in given.items() if raw is not msgspec.UNSET}
    else:
        text = bytes(content.instances)
        first = text[1:].lstrip()
        if not text.startswith(b"[") or first.startswith(b"]"):
            raise Failure("INVALID_ARGUMENT", "'instances' is a list with a row or more.")
        if first.startswith(b"{") and not _BYTES.match(first):
            return _by_name(text, named, signature, limit)
    required = [name for name in signature.inputs if name not in signature.optional]
    if len(required) != 1:
        names = ", ".join(required)
        raise Failure("INVALID_ARGUMENT", f"Name the inputs, since there are several: {names}")
    return {required[0]: text}


@functools.lru_cache(256)
def _named(inputs: tuple[str, ...]) -> type[msgspec.Struct]:
    """Returns the type of an object of inputs, each of them still text."""
    fields = [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in inputs]
    return msgspec.defstruct("Inputs", fields, forbid_unknown_fields=True)


def _by_name(text: bytes, named, signature, limit: int) -> dict[str, bytes]:
    _few(text.count(b"{"), "'instances'", limit)
    different = "The rows of 'instances' name different inputs"
    try:
        rows = msgspec.json.decode(text, type=list[named])
    except msgspec.ValidationError as error:
        raise Failure("INVALID_ARGUMENT", f"{different}, or are no objects: {error}") from None
    found = {}
    for name in signature.inputs:
        given = [bytes(value) for row in rows if (value := getattr(row, name)) is not msgspec.UNSET]
        if len(given) not in (0, len(rows)):
            raise Failure("INVALID_ARGUMENT", different)
        if given:
            found[name] = b"[" + b",".join(given) + b"]"
    return found


def _few(rows: int, where: str, limit: int) -> None:
    if _ROW * rows > limit:
        text = f"{where} holds {rows} values; {limit // _ROW} are allowed. Send fewer rows at once."
        raise Failure("INVALID_ARGUMENT", text, 413)


def arrays(
    columns: dict[str, bytes], signature: Signature, limit: int, deadline: float
) -> dict[str, np.ndarray]:
    """Returns the arrays of the inputs' JSON, checked.

    Their shapes are looked at before their numbers: rows of which the outputs would be larger than
    `limit` bytes are refused unread.
    """
    shapes = {}
    for name, text in columns.items():
        info = signature.inputs[name]
        if info.dtype != "string":
            shapes[name] = _shape(name, text)
            if not fits(shapes[name], info):
                raise _misfit(name, info.dtype, shapes[name], info)
    rows = max((shape[0] for shape in shapes.values() if shape), default=1)
    _bounded(rows, 1, signature, limit)
    found = {}
    for name, text in columns.items():
        info = signature.inputs[name]
        if info.dtype == "string":
            found[name] = _strings(name, text, len(info.shape), limit)
        else:
            found[name] = _numbers(name, text, info, shapes[name], deadline)
    return check(found, signature)


def _shape(name: str, text: bytes) -> tuple[int, ...]:
    """Returns the shape of nested lists, from their brackets and commas."""
    marks = text.translate(None, _NOT_BRACKETS)
    rank = len(marks) - len(marks.lstrip(b"["))
    if rank > _LARGEST_RANK:
        text = f"Input {name!r} is nested too deeply: in {rank} lists"
        raise Failure("INVALID_ARGUMENT", text)
    if re.search(rb"\[\s*\]", text):
        raise Failure("INVALID_ARGUMENT", f"Input {name!r} has no rows, or an empty list in them")
    # The innermost lists that close first say how long all others have to be.
    shape, item = (), b""
    for depth in range(1, rank + 1):
        inside = marks.find(b"]" * depth) + 2 * depth - rank - 2
        count = (inside + 1) // (len(item) + 1)
        shape, item = (count, *shape), b"[" + ((item + b",") * count)[:-1] + b"]"
    if item != marks:
        raise Failure("INVALID_ARGUMENT", f"Input {name!r} is ragged: its lists differ in length")
    return shape


def _numbers(name, text, info, shape, deadline: float) -> np.ndarray:
    wanted = np.dtype(info.dtype)
    decoder, kind = _NUMBERS[wanted.kind]
    array = np.empty(math.prod(shape), wanted)
    done = 0
    try:
        for part in _parts(text.translate(None, b"[]")):
            if time.monotonic() > deadline:
                raise late()
            read = decoder.decode(b"[" + part + b"]")
            values = np.array(read, np.float64 if wanted.kind == "f" else wanted)
            if wanted.kind == "f" and np.abs(values).max() > np.finfo(wanted).max:
                raise OverflowError
            array[done : done + len(values)] = values
            done += len(values)
    except (OverflowError, msgspec.DecodeError) as error:
        if isinstance(error, OverflowError) or "out of range" in str(error):
            why = f"holds a number that is too large for {info.dtype}"
        else:
            why = f"does not hold {kind} of the type {info.dtype}"
        raise Failure("INVALID_ARGUMENT", f"Input {name!r} {why}") from None
    return array.reshape(shape)


def _parts(text: bytes) -> Iterator[bytes]:
    """Cuts a text at commas."""
    start = 0
    while start <= len(text):
        end = text.find(b",", start + _CHUNK)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _strings(name: str, text: bytes, rank: int, limit: int) -> np.ndarray:
    _few(text.count(b",") + 1, f"Input {name!r}", limit)
    try:
        rows = _STRINGS[rank].decode(text if text.startswith(b"[") else b"[" + text + b"]")
    except msgspec.DecodeError as error:
        why = 'holds strings, or bytes as {"b64": "…"}'
        why = "holds a 'b64' that is not base64" if "base64" in str(error) else why
        raise Failure("INVALID_ARGUMENT", f"Input {name!r} {why}") from None
    shape = None
    if rank == 2:
        shape = len(rows), max(map(len, rows), default=0)
        if any(len(row) != shape[1] for row in rows):
            text = f"Input {name!r} is ragged: its lists differ in length"
            raise Failure("INVALID_ARGUMENT", text)
        rows = [cell for row in rows for cell in row]
    values = [one.encode() if isinstance(one, str) else one.b64 for one in rows]
    return byte_strings(values, shape)


def check(arrays: dict[str, np.ndarray], signature: Signature) -> dict:
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
        if not matches(array, info):
            raise _misfit(name, array.dtype.name, array.shape, info)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Failure("INVALID_ARGUMENT", f"Input {name!r} holds numbers that are not finite")
    rows = {key: len(array) for key, array in arrays.items() if array.ndim}
    if len({n for key, n in rows.items() if not (n == 1 and key in signature.optional)}) > 1:
        text = ", ".join(f"{key} {count}" for key, count in rows.items())
        raise Failure("INVALID_ARGUMENT", f"The inputs differ in their numbers of rows: {text}")
    return arrays


def _misfit(name: str, dtype: str, shape, info: TensorInfo) -> Failure:
    wanted = ", ".join("rows" if size is None else str(size) for size in info.shape)
    text = f"is {dtype} of the shape {list(shape)}, not {info.dtype} of [{wanted}]"
    return Failure("INVALID_ARGUMENT", f"Input {name!r} {text}")


def byte_strings(values: list[bytes], shape=None) -> np.ndarray:
    """Returns an array of objects; in one of NumPy's strings each would take the longest's room."""
    array = np.empty(len(values), object)
    array[:] = values
    return array if shape is None else array.reshape(shape)


def bound(arrays: dict[str, np.ndarray], signature: Signature, limit: int) -> int:
    """Returns the bytes of the outputs, when they are at most `limit`."""
    rows = max((len(array) for array in arrays.values() if array.ndim), default=1)
    steps = int(arrays["steps"].max()) if "steps" in arrays else int(_STEPS.default)
    steps = min(max(steps, _STEPS.smallest), _STEPS.largest)
    return _bounded(rows, steps, signature, limit)


def _bounded(rows: int, steps: int, signature: Signature, limit: int) -> int:
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


def answer(outputs: dict[str, np.ndarray], by_rows: bool, deadline: float) -> bytes:
    """Returns the outputs as JSON, by rows where the inputs were."""
    for name, array in outputs.items():
        if array.dtype.kind != "S" and not np.isfinite(array).all():
            raise Failure("INTERNAL", f"The output {name!r} holds numbers that are not finite.")
    if by_rows and len(outputs) > 1:
        return b'{"predictions":%s}' % _listed(outputs, deadline)
    listed = {name: _listed({name: array}, deadline) for name, array in outputs.items()}
    if len(listed) == 1:
        return b'{"%s":%s}' % (b"predictions" if by_rows else b"outputs", *listed.values())
    content = {name: msgspec.Raw(text) for name, text in listed.items()}
    return msgspec.json.encode({"outputs": content})


def _listed(arrays: dict[str, np.ndarray], deadline: float) -> bytes:
    """Returns the rows of arrays as a JSON list, each an object where there are several arrays."""
    arrays = {  # JSON has texts, and no bytes.
        name: np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        for name, array in arrays.items()
    }
    sizes = [max(1, array[:1].size) for array in arrays.values()]
    rows, step = len(next(iter(arrays.values()))), max(1, _CHUNK // 4 // sum(sizes))
    parts = []
    for start in range(0, rows, step):
        if time.monotonic() > deadline:
            raise late()
        lists = {name: array[start : start + step].tolist() for name, array in arrays.items()}
        found = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        found = found if len(lists) > 1 else next(iter(lists.values()))
        parts.append(msgspec.json.encode(found)[1:-1])
    return b"[" + b",".join(parts) + b"]"


_DTYPES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}


def metadata(model: Model, version: int | None) -> dict:
    """Returns what TensorFlow Serving says about signatures, in its JSON."""

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
    """Returns what TensorFlow Serving says about versions, in its JSON."""
    model.loaded(version)
    status = {"error_code": "OK", "error_message": ""}
    state = {"version": str(model.version), "state": "AVAILABLE", "status": status}
    return {"model_version_status": [state]}
