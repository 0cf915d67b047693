"""The requests that TensorFlow Serving runs before it takes a version into service.

They are serialized `PredictionLog`s in a TFRecord file. Writing and reading take no TensorFlow.
"""

import os
import pathlib
import struct
from collections.abc import Iterable

import numpy as np

from export.files import meta_graph
from export.signatures import Call

__all__ = ["FILE", "MAX_RECORDS", "read", "write"]

FILE = pathlib.PurePath("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000  # TensorFlow Serving refuses a version with more.

_NUMBERS = {name: number for number, name in meta_graph.DTYPES.items()}


def write(folder: str | os.PathLike, name: str, calls: Iterable[Call]) -> pathlib.Path:
    """Writes the warm-up file of a version.

    Args:
        folder: str or path. The version folder.
        name: str. The model's name. TensorFlow Serving replays requests whatever name they bear.
        calls: iterable of `Call`: signatures and inputs, at most 1000.

    Returns:
        Path of the file.

    Raises:
        ValueError: for more requests than TensorFlow Serving takes.
    """
    records = [_record(name, call) for call in calls]
    if len(records) > MAX_RECORDS:
        raise ValueError(f"{len(records)} warm-up requests are more than {MAX_RECORDS}.")
    path = pathlib.Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        for record in records:
            length = struct.pack("<Q", len(record))
            stream.write(length + _checksum(length) + record + _checksum(record))
    return path


def read(folder: str | os.PathLike) -> list[Call]:
    """Reads the warm-up requests of a version; none where it has no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    path = pathlib.Path(folder) / FILE
    if not path.is_file():
        return []
    data, calls = path.read_bytes(), []
    damaged = ValueError(f"{path} is damaged or was cut off. Export the model again.")
    while data:
        length = struct.unpack("<Q", data[:8])[0] if len(data) >= 16 else len(data)
        record, rest = data[12 : 12 + length], data[16 + length :]
        sums = data[8:12], data[12 + length : 16 + length]
        if sums != (_checksum(data[:8]), _checksum(record)):
            raise damaged
        request = meta_graph.messages()["PredictionLog"].FromString(record).predict_log.request
        inputs = {name: _array(tensor) for name, tensor in request.inputs.items()}
        calls.append(Call(request.model_spec.signature_name, inputs))
        data = rest
    return calls


def _record(name: str, call: Call) -> bytes:
    log = meta_graph.messages()["PredictionLog"]()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = name, call.signature
    for key, array in call.inputs.items():
        tensor = request.inputs[key]
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        if array.dtype.kind == "S":
            tensor.dtype = _NUMBERS["string"]
            tensor.string_val.extend(array.ravel().tolist())
        else:
            tensor.dtype = _NUMBERS[array.dtype.name]
            tensor.tensor_content = np.ascontiguousarray(array).tobytes()
    return log.SerializeToString(deterministic=True)


def _array(tensor) -> np.ndarray:
    shape, dtype = [dim.size for dim in tensor.tensor_shape.dim], meta_graph.DTYPES[tensor.dtype]
    if dtype == "string":
        return np.array(list(tensor.string_val)).reshape(shape)
    return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)


def _checksum(data: bytes) -> bytes:
    """Returns the masked CRC-32C of the TFRecord format."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
