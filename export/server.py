"""A development server: TensorFlow Serving's predict API over the C++ runtime.

`python -m export.server FOLDER` serves a model repository, or a model's folder of versions, without
importing TensorFlow. It answers one request at a time and knows no batching, TLS or metrics: it is
for trying clients where TensorFlow Serving is not installed.

What clients may cost it is bounded: connections, waiting requests, the bytes of a request, of its
answer and of all of them together, and the time from the first byte to the last (`Limits`).
"""

import argparse
import base64
import binascii
import concurrent.futures
import contextlib
import dataclasses
import errno
import http.server
import io
import json
import math
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time

import numpy as np

from export.runtime import c_api, signatures

__all__ = ["Development", "Failure", "run"]

NOTICE = "development server: one request at a time; use TensorFlow Serving in production"

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 503,
    "DEADLINE_EXCEEDED": 504,
}
# Rows that are run at once. Between two such parts a request whose time is up is given up.
_ROWS = 64
# Steps of an interpolation that does not say how many, and the most that there are.
_STEPS, _MAX_STEPS = 8, 64
# Larger bodies are turned into arrays, and arrays into answers, one at a time: as objects of Python
# they take twenty times their bytes.
_LARGE = 1 << 20
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<what>/metadata|:\w+)?"
)


class Failure(Exception):
    """An answer that says what is wrong: a canonical code, a message, and HTTP's status."""

    def __init__(self, code: str, message: str, status: int | None = None):
        super().__init__(message)
        self.code, self.status = code, status or _STATUS.get(code, 500)


def _late() -> Failure:
    return Failure("DEADLINE_EXCEEDED", "The request's time is up.")


class _Model:
    """One model: its newest version, loaded, and the thread that runs it."""

    def __init__(self, name: str, folder: pathlib.Path, max_pending: int):
        self.name, self.folder = name, folder
        self.version, self.session, self.error = 0, None, ""
        self._failed = None
        self._places = threading.BoundedSemaphore(max_pending)
        # A session is run by one thread; the kernels use all cores.
        self._worker = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"run-{name}")

    def refresh(self) -> None:
        """Loads the newest version where it is newer than the loaded one."""
        from export import saved_models

        newest = max(saved_models.versions(self.folder), default=0)
        if newest in (self.version, self._failed) or not newest:
            return
        try:
            saved_models.check(self.folder / str(newest))
            session = c_api.Session(self.folder / str(newest))
        except (c_api.SessionError, OSError, ValueError) as error:
            self.error, self._failed = f"version {newest}: {error}", newest
            return
        # By the worker, so that no request is running in the one that is closed.
        self._worker.submit(self._replace, newest, session).result()

    def _replace(self, version, session) -> None:
        old, self.session, self.version, self.error = self.session, session, version, ""
        if old is not None:
            old.close()

    def loaded(self, version: int | None = None):
        if self.session is None or version not in (None, self.version):
            wanted = "Latest" if version is None else f"Specific({version})"
            why = f" ({self.error})" if self.error else ""
            raise Failure("NOT_FOUND", f"Servable not found for request: {wanted} {self.name}{why}")
        return self.session

    def signature(self, name: str, version: int | None = None) -> signatures.Signature:
        available = self.loaded(version).signatures
        if name not in available:
            known = ", ".join(available)
            raise Failure("INVALID_ARGUMENT", f"There is no signature {name!r}. There are: {known}")
        return available[name]

    def run(
        self,
        name: str,
        inputs: dict[str, np.ndarray],
        deadline: float,
        version: int | None = None,
    ) -> tuple[int, dict]:
        """Runs a signature when its turn comes, within the deadline.

        Returns:
            The version that ran, and its outputs.
        """
        if not self._places.acquire(blocking=False):
            text = "Too many requests are waiting. Try again later."
            raise Failure("RESOURCE_EXHAUSTED", text, 429)
        try:
            future = self._worker.submit(self._run, name, inputs, deadline, version)
        except RuntimeError:
            self._places.release()
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise _late() from None
        except concurrent.futures.CancelledError:
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", str(error)) from None
        except c_api.SessionError as error:
            code, _, message = str(error).partition(": ")
            raise Failure(code, message.splitlines()[0] if message else code) from None

    def _run(self, name, inputs, deadline, version) -> tuple[int, dict]:
        session = self.loaded(version)
        optional, outputs = (), {}
        if name in session.signatures:
            optional, outputs = session.signatures[name].optional, session.signatures[name].outputs
        rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
        # Parts of an interpolation could differ in their steps.
        free = any(None in info.shape[1:] for info in outputs.values())
        if rows <= _ROWS or free:
            return self.version, session.run(name, inputs)
        parts = []
        for start in range(0, rows, _ROWS):
            if time.monotonic() > deadline:
                raise _late()
            part = {
                key: array if len(array) == 1 and key in optional else array[start : start + _ROWS]
                for key, array in inputs.items()
            }
            parts.append(session.run(name, part))
        return self.version, {key: np.concatenate([part[key] for part in parts]) for key in outputs}

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        if self.session is not None:
            self.session.close()
            self.session = None


# JSON and arrays.


def _reject(token):
    raise Failure("INVALID_ARGUMENT", f"{token} is no JSON number. Inputs are finite.")


def _parse(body: bytes) -> dict:
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


def _columns(content: dict, signature: signatures.Signature) -> dict:
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


def _arrays(columns: dict, signature: signatures.Signature) -> dict[str, np.ndarray]:
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


def _answer(outputs: dict[str, np.ndarray], by_rows: bool) -> dict:
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


def _metadata(model: _Model, version: int | None) -> dict:
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


def _state(model: _Model, version: int | None) -> dict:
    model.loaded(version)
    status = {"error_code": "OK", "error_message": ""}
    state = {"version": str(model.version), "state": "AVAILABLE", "status": status}
    return {"model_version_status": [state]}


# The web server.


class _Timed(io.RawIOBase):
    """What a connection sends until `end`, however slowly it comes."""

    def __init__(self, connection):
        super().__init__()
        self.connection, self.end = connection, 0.0

    def readable(self):
        return True

    def readinto(self, buffer):
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("The request came too slowly.")
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "kvae-development", ""

    def setup(self):
        super().setup()
        self.rfile.close()
        self._source = _Timed(self.connection)
        self.rfile = io.BufferedReader(self._source)

    def handle_one_request(self):
        # A client that says nothing, or a byte now and then, is let go.
        self._source.end = time.monotonic() + self.server.limits.timeout
        self._read = True
        self.server.waits(self.connection, True)
        super().handle_one_request()

    def parse_request(self):
        self.server.waits(self.connection, False)
        fine = super().parse_request()
        # What is unread would be taken for the next request.
        self.close_connection |= fine and self.command != "POST" and self._has_body()
        return fine

    def _has_body(self) -> bool:
        length = self.headers.get("Content-Length", "0")
        return length != "0" or "Transfer-Encoding" in self.headers

    def do_GET(self):
        self._respond(self._get)

    def do_POST(self):
        self._respond(self._post)

    def _respond(self, answer):
        deadline = self._source.end = time.monotonic() + self.server.limits.timeout
        with self.server.counted(), contextlib.ExitStack() as held:
            try:
                status, content = 200, answer(deadline, held)
            except Failure as error:
                status, content = error.status, {"error": str(error)}
                # The rest of the request may not have been read.
                self.close_connection |= not self._read
            except (ConnectionError, TimeoutError):
                self.close_connection = True
                return
            except Exception as error:  # No request takes the server down.
                status, content = 500, {"error": f"{type(error).__name__}: {error}"}
                self.close_connection = True
            self.close_connection |= self.server.stopping
            try:
                self._send(status, content, deadline)
                if not self._read:
                    self._linger()
            except OSError:
                self.close_connection = True  # Half an answer may have been sent.

    def _send(self, status: int, content, deadline: float | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        # A client that does not read its answer is let go as well.
        left = 1.0 if deadline is None else max(1.0, deadline - time.monotonic())
        self.connection.settimeout(left)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503):
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _linger(self) -> None:
        # Closing on unread bytes would reset the connection, and the client lose the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self._source.end = time.monotonic() + 2.0
        while self.rfile.read1(1 << 20):
            pass

    def send_error(self, code, message=None, explain=None):
        """What the base class refuses, e.g. a method that is none, in JSON too."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self._send(int(code), {"error": message or http.HTTPStatus(code).phrase})

    def _find(self):
        match = _PATH.fullmatch(self.path)
        if match is None:
            message = (
                "The paths are /v1/models/NAME[/versions/N] and, after it, /metadata, :predict"
            )
            raise Failure("NOT_FOUND", message)
        model = self.server.models.get(match["model"])
        if model is None:
            known = ", ".join(self.server.models)
            raise Failure("NOT_FOUND", f"There is no model {match['model']!r}. There is: {known}")
        return model, match["version"] and int(match["version"]), match["what"]

    def _get(self, deadline, held):
        model, version, what = self._find()
        if what not in (None, "/metadata"):
            raise Failure("INVALID_ARGUMENT", f"{what} is asked by POST.", 405)
        return (_metadata if what else _state)(model, version)

    def _post(self, deadline, held):
        self._read = False
        length = self._length()
        held.enter_context(self.server.budget.taken(length))
        body = self._body(length)
        self._read = True
        model, version, what = self._find()
        if what != ":predict":
            raise Failure("UNIMPLEMENTED", "Only :predict is served.")
        with self.server.one_at_a_time(length, deadline):
            content = _parse(body)
            name = content.get("signature_name") or "serving_default"
            signature = model.signature(name, version)
            inputs = _arrays(_columns(content, signature), signature)
            by_rows = "instances" in content
            del body, content
        size = bound(inputs, signature, self.server.limits.max_bytes)
        held.enter_context(self.server.budget.taken(size))
        outputs = model.run(name, inputs, deadline, version)[1]
        with self.server.one_at_a_time(size, deadline):
            return json.dumps(_answer(outputs, by_rows)).encode()

    def _length(self) -> int:
        given = self.headers.get_all("Content-Length", [])
        if len(given) != 1 or not re.fullmatch(r"[0-9]{1,18}", given[0].strip()):
            raise Failure("INVALID_ARGUMENT", "Send the length of the body.", 411)
        if "Transfer-Encoding" in self.headers:
            raise Failure("INVALID_ARGUMENT", "Send the length of the body.", 411)
        length, limit = int(given[0]), self.server.limits.max_bytes
        if length > limit:
            text = f"The request has {length} bytes; {limit} are allowed."
            raise Failure("INVALID_ARGUMENT", text, 413)
        return length

    def _body(self, length: int) -> bytes:
        body = bytearray()
        while len(body) < length:
            try:
                part = self.rfile.read1(min(length - len(body), 1 << 20))
            except TimeoutError as error:
                raise Failure("DEADLINE_EXCEEDED", str(error), 408) from None
            if not part:
                raise ConnectionError
            body += part
        return bytes(body)

    def log_message(self, *arguments):
        if self.server.limits.verbose:
            super().log_message(*arguments)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        timeout: float. Seconds for one request, from its first line to its answer.
        max_bytes: int. The largest request body.
        max_pending: int. Requests that may wait for one model; more are answered with 429, or
            RESOURCE_EXHAUSTED.
        verbose: bool. Whether requests are logged to standard error.
        max_connections: int. More are answered with 503.
        max_total_bytes: int or `None`. Of all requests and answers that are worked on together;
            what is more is answered with 429. Defaults to `None`: four times `max_bytes`.
    """

    timeout: float = 30.0
    max_bytes: int = 64 << 20
    max_pending: int = 64
    verbose: bool = False
    max_connections: int = 256
    max_total_bytes: int | None = None


class _Budget:
    """So many bytes may be taken at once."""

    def __init__(self, free: int):
        self.free, self._lock = free, threading.Lock()

    @contextlib.contextmanager
    def taken(self, count: int):
        with self._lock:
            if count > self.free:
                text = "The server is busy with too many bytes. Try again later."
                raise Failure("RESOURCE_EXHAUSTED", text, 429)
            self.free -= count
        try:
            yield
        finally:
            with self._lock:
                self.free += count


_REASON = b'{"error": "Too many connections."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s"
) % (len(_REASON), _REASON)


class Development(http.server.ThreadingHTTPServer):
    """The development server.

    Args:
        models: dict of str to path. Folders of versions, by the names that clients call.
        host: str. The address to listen on. Defaults to this host alone.
        port: int. 0 takes a free one.
        limits: `Limits`.
        poll: float. Seconds between looks for new versions.

    Attributes:
        url: str. Where it listens.

    Raises:
        OSError: if the port is taken.
        ValueError: if a model cannot be loaded.

    Example:

    ```python
    with Development({"digits": "serving/digits"}, port=0) as server:
        print(export.Client(server.url, "digits").status())
    ```
    """

    daemon_threads, block_on_close = True, False

    def __init__(self, models, host="127.0.0.1", port=8501, limits=None, poll=2.0):
        self.limits = limits or Limits()
        self.models = {
            name: _Model(name, pathlib.Path(folder), self.limits.max_pending)
            for name, folder in models.items()
        }
        total = self.limits.max_total_bytes
        self.budget = _Budget(4 * self.limits.max_bytes if total is None else total)
        self._large = threading.Lock()
        self._busy, self._idle = 0, threading.Condition()
        # The connections, and whether each waits for a request.
        self._connections: dict[socket.socket, bool] = {}
        self._stopping = threading.Event()
        self._poll = poll
        for model in self.models.values():
            model.refresh()
            if model.session is None:
                why = model.error or "it has no versions"
                raise ValueError(f"The model {model.name!r} cannot be served: {why}")
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"Port {port} is taken. Choose another one with --port."
                raise OSError(error.errno, text) from None
            raise
        self._loops = [
            threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_address[1]}"

    def __enter__(self) -> "Development":
        for thread in self._loops:
            thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, and waits for the answers to those that were taken.

        Args:
            grace: float. The most seconds to wait. Defaults to `None`: until the time of the last
                request is up.
        """
        self._stopping.set()
        self.shutdown()
        self._accept_waiting()
        self.server_close()
        with self._idle:
            for connection, waits in self._connections.items():
                if waits:  # What it sent before is still read.
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RD)
            grace = self.limits.timeout + 5.0 if grace is None else grace
            self._idle.wait_for(lambda: not (self._busy or self._connections), grace)
        for thread in self._loops:
            thread.join()
        for model in self.models.values():
            model.close()

    def _accept_waiting(self):
        """Takes the connections that the system has made already: their requests may be sent."""
        self.socket.setblocking(False)
        while True:
            try:
                request, address = self.get_request()
            except OSError:
                return
            request.setblocking(True)
            self.process_request(request, address)

    def process_request(self, request, address):
        with self._idle:
            fits = len(self._connections) < self.limits.max_connections
            if fits:
                self._connections[request] = True
        if fits:
            super().process_request(request, address)
            return
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_FULL)
        self.shutdown_request(request)

    def shutdown_request(self, request):
        with self._idle:
            self._connections.pop(request, None)
            self._idle.notify_all()
        super().shutdown_request(request)

    def waits(self, connection, waits: bool) -> None:
        """Notes whether a connection waits for its next request."""
        with self._idle:
            if connection in self._connections:
                self._connections[connection] = waits
            if waits and self.stopping:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    @contextlib.contextmanager
    def one_at_a_time(self, size: int, deadline: float):
        """Waits until no other large request is turned into arrays, or arrays into an answer."""
        if size <= _LARGE:
            yield
            return
        if not self._large.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise _late()
        try:
            yield
        finally:
            self._large.release()

    @contextlib.contextmanager
    def counted(self):
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def handle_error(self, request, client_address):
        """A connection that breaks is no news."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def _watch(self):
        while not self._stopping.wait(self._poll):
            for model in self.models.values():
                before = model.version, model.error
                model.refresh()
                if model.error and model.error != before[1]:
                    print(f"kvae serve: {model.name}: {model.error}", file=sys.stderr, flush=True)
                elif model.version != before[0]:
                    print(f"{model.name}: version {model.version}", flush=True)


def run(models, host="127.0.0.1", port=8501, grpc_port=None, limits=None) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit status.

    Args:
        models: dict of str to path. Folders of versions, by name.
        host: str.
        port: int. Of the REST API.
        grpc_port: int or `None`. Of the gRPC API. Needs `grpcio` and `tensorflow-serving-api`.
        limits: `Limits`.
    """
    stop = threading.Event()

    def told(number, _):
        if stop.is_set():  # Told twice: at once.
            os._exit(128 + number)
        stop.set()

    previous = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(Development(models, host, port, limits))
            for model in server.models.values():
                print(f"{model.name}: version {model.version}")
                print(f"  {server.url}/v1/models/{model.name}:predict")
            if grpc_port is not None:
                from export import server_grpc

                bound = stack.enter_context(server_grpc.serving(server, host, grpc_port))
                print(f"  grpc://{host}:{bound}")
            print(f"({NOTICE}; stop with Ctrl-C)", flush=True)
            # Not for ever: a signal that another thread received does not wake this one.
            while not stop.wait(0.2):
                pass
            print("stopping", flush=True)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def found(path: str | os.PathLike, name: str | None = None) -> dict[str, pathlib.Path]:
    """Finds what there is to serve at a path: name to folder of versions.

    Args:
        path: str or path. A model repository, a model's folder of versions, or one of them.
        name: str. The model's name where the path is not a repository, or the only one to take.

    Raises:
        FileNotFoundError: if there is nothing that can be served.
        ValueError: if a repository has no model of that name, or the version is not the newest.
    """
    from export import repository
    from export.saved_models import versions

    path = pathlib.Path(path).resolve()
    models = repository.models(path)
    if models:
        if name is not None and name not in models:
            raise ValueError(f"{path} has no model {name!r}. It has: {', '.join(models)}.")
        return models if name is None else {name: models[name]}
    if (path / "saved_model.pb").is_file() and path.name.isdigit():
        if int(path.name) != versions(path.parent)[-1]:
            raise ValueError(f"The newest version is served, and {path.name} is not: {path.parent}")
        path = path.parent
    if versions(path):
        return {name or path.name: path}
    raise FileNotFoundError(
        f"There is no model to serve in {path}. Write one with `kvae export NAME --format "
        f"repository {path}`."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.server", description=NOTICE)
    parser.add_argument("path")
    parser.add_argument("--name")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--max-bytes", type=int, default=64 << 20)
    values = parser.parse_args(arguments)
    limits = Limits(values.timeout, values.max_bytes)
    return run(
        found(values.path, values.name), port=values.port, grpc_port=values.grpc_port, limits=limits
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
