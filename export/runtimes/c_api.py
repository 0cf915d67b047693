"""Runs a SavedModel in TensorFlow's C++ runtime, through its C API and without its Python.

The installed TensorFlow wheel carries that runtime as a shared library. Loading it here takes the
path that TensorFlow Serving takes (`LoadSavedModel`, then `Session::Run`), so a SavedModel that
only Python can restore fails here too. It shows that the C++ loader accepts a file; it is not a
run of TensorFlow Serving.

`python -m export.runtimes.c_api FOLDER` answers the request in that folder (see `child`).
"""

import ctypes
import importlib.util
import os
import pathlib
import sys

import numpy as np

from export.files import meta_graph
from export.runtimes import child
from export.runtimes.register import RUNTIMES, Runtime
from export.signatures import Signature, matches

__all__ = ["Session", "SessionError", "library_path"]

_CODES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
}
_STRING = 7
_STRING_SIZE = 24  # Bytes of a TF_TString.
# A `ConfigProto` whose `inter_op_parallelism_threads` is -1: the operations of a graph run in the
# thread that calls. Those of a small network take less time than a change of threads, and kernels
# use all cores as before.
_CONFIG = b"\x28" + b"\xff" * 9 + b"\x01"
_NUMBERS = {
    np.dtype(name): number for number, name in meta_graph.DTYPES.items() if number != _STRING
}


class SessionError(RuntimeError):
    """An error status of the C++ runtime, e.g. `FAILED_PRECONDITION: Could not find variable`.

    Attributes:
        code: str. The status, e.g. `"INVALID_ARGUMENT"`.
        message: str. What the runtime says.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


def library_path() -> pathlib.Path:
    """Finds the runtime's shared library in the installed wheel, without importing TensorFlow.

    Raises:
        FileNotFoundError: if TensorFlow is not installed, or its wheel has no such library.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("TensorFlow is not installed: run `pip install tensorflow`.")
    folder = pathlib.Path(next(iter(spec.submodule_search_locations)))
    name = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"This TensorFlow has no {name}, which runs models outside Python. Install its wheel "
            "for Linux or macOS from PyPI."
        )
    return folder / name


def _load_library() -> ctypes.CDLL:
    # Symbols are local, as by default, since global ones clash with other copies of protobuf.
    library = ctypes.CDLL(str(library_path()), mode=ctypes.RTLD_LOCAL)
    pointer, integer, size, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
    array = ctypes.POINTER
    for name, result, arguments in (
        ("TF_Version", text, []),
        ("TF_NewStatus", pointer, []),
        ("TF_DeleteStatus", None, [pointer]),
        ("TF_GetCode", integer, [pointer]),
        ("TF_Message", text, [pointer]),
        ("TF_NewBuffer", array(_Buffer), []),
        ("TF_DeleteBuffer", None, [array(_Buffer)]),
        ("TF_NewGraph", pointer, []),
        ("TF_DeleteGraph", None, [pointer]),
        ("TF_NewSessionOptions", pointer, []),
        ("TF_DeleteSessionOptions", None, [pointer]),
        ("TF_SetConfig", None, [pointer, text, size, pointer]),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [pointer, pointer, text, array(text), integer, pointer, array(_Buffer), pointer],
        ),
        ("TF_CloseSession", None, [pointer, pointer]),
        ("TF_DeleteSession", None, [pointer, pointer]),
        (
            "TF_SessionRun",
            None,
            [pointer, pointer, array(_Output), array(pointer), integer, array(_Output)]
            + [array(pointer), integer, pointer, integer, pointer, pointer],
        ),
        ("TF_GraphOperationByName", pointer, [pointer, text]),
        ("TF_AllocateTensor", pointer, [integer, array(ctypes.c_int64), integer, size]),
        ("TF_DeleteTensor", None, [pointer]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorByteSize", size, [pointer]),
        ("TF_TensorType", integer, [pointer]),
        ("TF_NumDims", integer, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, integer]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, text, size]),
        ("TF_StringDealloc", None, [pointer]),
        ("TF_StringGetDataPointer", pointer, [pointer]),
        ("TF_StringGetSize", size, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Session:
    """A loaded SavedModel. Several threads may run it at once.

    Args:
        path: str or path. The version folder.

    Attributes:
        signatures: dict of str to `Signature`. What can be run.
        version: str. The runtime's version.

    Raises:
        FileNotFoundError: if TensorFlow's library is not installed.
        SessionError: if the runtime refuses the model.

    Example:

    ```python
    with Session("serving/digits/1") as session:
        image = session.run("serving_default", {"z": np.zeros((4, 2), "float32")})["image"]
    ```
    """

    def __init__(self, path: str | os.PathLike):
        self._library = library = _load_library()
        self.version = library.TF_Version().decode()
        self._graph = library.TF_NewGraph()
        self._session = None
        self._places: dict[str, _Output] = {}
        options, serialized = library.TF_NewSessionOptions(), library.TF_NewBuffer()
        status = library.TF_NewStatus()
        try:
            library.TF_SetConfig(options, _CONFIG, len(_CONFIG), status)
            self._check(status)
            session = library.TF_LoadSessionFromSavedModel(
                options,
                None,
                os.fsencode(path),
                (ctypes.c_char_p * 1)(b"serve"),
                1,
                self._graph,
                serialized,
                status,
            )
            self._check(status)
            self._session = session
            buffer = serialized.contents
            data = ctypes.string_at(buffer.data, buffer.length)
            self.signatures = meta_graph.parse_meta_graph(data)
        except BaseException:
            self.close()
            raise
        finally:
            library.TF_DeleteStatus(status)
            library.TF_DeleteSessionOptions(options)
            library.TF_DeleteBuffer(serialized)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Frees the session. It cannot be run afterwards."""
        library = self._library
        if self._session:
            status = library.TF_NewStatus()
            library.TF_CloseSession(self._session, status)
            library.TF_DeleteSession(self._session, status)
            library.TF_DeleteStatus(status)
        if self._graph:
            library.TF_DeleteGraph(self._graph)
        self._session = self._graph = None

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one signature.

        Args:
            signature: str. Its name.
            inputs: dict of str to array. Every input that is not optional, in the type and shape
                it asks for; strings are an array of bytes, `np.array([b"…"])`, or of
                objects that are bytes.

        Returns:
            dict of str to array: every output.

        Raises:
            ValueError: for an unknown signature, or an input that does not fit.
            SessionError: if the runtime reports an error.
        """
        if self._session is None:
            raise ValueError("The session is closed. Open a new one.")
        wanted = self._wanted(signature, inputs)
        library, handles = self._library, []
        outputs = list(wanted.outputs.items())
        results = (ctypes.c_void_p * len(outputs))()
        status = library.TF_NewStatus()  # Of this run, since others may take place beside it.
        try:
            given = {name: info for name, info in wanted.inputs.items() if name in inputs}
            for name in given:
                handles.append(self._tensor(inputs[name]))
            library.TF_SessionRun(
                self._session,
                None,
                self._located(given.values()),
                (ctypes.c_void_p * len(handles))(*handles),
                len(handles),
                self._located(info for _, info in outputs),
                results,
                len(outputs),
                None,
                0,
                None,
                status,
            )
            self._check(status)
            return {name: self._array(results[i]) for i, (name, _) in enumerate(outputs)}
        finally:
            library.TF_DeleteStatus(status)
            for handle in (*handles, *results):
                if handle:
                    self._delete(handle)

    def _wanted(self, signature, inputs) -> Signature:
        if signature not in self.signatures:
            known = ", ".join(self.signatures)
            raise ValueError(f"The model has no signature {signature!r}. It has: {known}.")
        wanted = self.signatures[signature]
        required = set(wanted.inputs) - set(wanted.optional)
        if not required <= set(inputs) <= set(wanted.inputs):
            optional = f" (optional: {', '.join(wanted.optional)})" if wanted.optional else ""
            raise ValueError(
                f"Signature {signature!r} takes the inputs {', '.join(wanted.inputs)}{optional}, "
                f"not {', '.join(sorted(inputs)) or 'none'}."
            )
        for name, array in inputs.items():
            info = wanted.inputs[name]
            if not matches(array, info):
                raise ValueError(
                    f"Input {name!r} of signature {signature!r} is {info.dtype} of shape "
                    f"{info.shape}, not {array.dtype.name} of shape {array.shape}."
                )
        return wanted

    def _check(self, status) -> None:
        code = self._library.TF_GetCode(status)
        if code:
            message = self._library.TF_Message(status).decode(errors="replace")
            raise SessionError(str(_CODES.get(code, code)), message)

    def _located(self, infos):
        places = [self._places.get(info.tensor) or self._locate(info.tensor) for info in infos]
        return (_Output * len(places))(*places)

    def _locate(self, tensor: str) -> _Output:
        operation, _, index = tensor.partition(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise SessionError("NOT_FOUND", f"the graph has no operation {operation!r}")
        place = self._places[tensor] = _Output(found, int(index or 0))
        return place

    def _tensor(self, array: np.ndarray) -> int:
        array = np.ascontiguousarray(array)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        if array.dtype.kind in "SO":
            return self._strings(array, dims)
        handle = self._library.TF_AllocateTensor(
            _NUMBERS[array.dtype], dims, array.ndim, array.nbytes
        )
        ctypes.memmove(self._library.TF_TensorData(handle), array.ctypes.data, array.nbytes)
        return handle

    def _strings(self, array: np.ndarray, dims) -> int:
        library, values = self._library, array.ravel().tolist()
        handle = library.TF_AllocateTensor(_STRING, dims, array.ndim, len(values) * _STRING_SIZE)
        for place, value in zip(self._string_places(handle), values, strict=True):
            library.TF_StringInit(place)
            library.TF_StringCopy(place, value, len(value))
        return handle

    def _string_places(self, handle: int) -> range:
        first = self._library.TF_TensorData(handle) or 0
        return range(first, first + self._library.TF_TensorByteSize(handle), _STRING_SIZE)

    def _delete(self, handle: int) -> None:
        # A tensor of strings does not free what its bytes point to.
        if self._library.TF_TensorType(handle) == _STRING:
            for place in self._string_places(handle):
                self._library.TF_StringDealloc(place)
        self._library.TF_DeleteTensor(handle)

    def _array(self, handle: int) -> np.ndarray:
        library = self._library
        number = library.TF_TensorType(handle)
        if number not in meta_graph.DTYPES:
            raise SessionError("UNIMPLEMENTED", f"an output has type {number}, no number")
        shape = [library.TF_Dim(handle, axis) for axis in range(library.TF_NumDims(handle))]
        if number == _STRING:
            values = [
                ctypes.string_at(
                    library.TF_StringGetDataPointer(place), library.TF_StringGetSize(place)
                )
                for place in self._string_places(handle)
            ]
            return np.array(values, "S").reshape(shape)
        data = ctypes.string_at(library.TF_TensorData(handle), library.TF_TensorByteSize(handle))
        return np.frombuffer(data, meta_graph.DTYPES[number]).reshape(shape).copy()


def _open(path: pathlib.Path):
    session = Session(path)
    return session.run, {"runtime": f"C++ {session.version}"}


RUNTIMES.add(
    "tensorflow",
    Runtime(
        "C++", "export.runtimes.c_api", "", library_path, signatures=meta_graph.read_signatures
    ),
)

if __name__ == "__main__":
    sys.exit(child.serve(sys.argv[1:], _open))
