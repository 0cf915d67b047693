"""A development server: TensorFlow Serving's predict API over the C++ runtime.

`python -m export.server FOLDER` serves a model repository, or a model's folder of versions, without
importing TensorFlow. It answers one request at a time and knows no batching, TLS or metrics: it is
for trying clients where TensorFlow Serving is not installed.
"""

import argparse
import base64
import binascii
import concurrent.futures
import contextlib
import dataclasses
import errno
import http.server
import json
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
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<what>/metadata|:\w+)?"
)


class Failure(Exception):
    """An answer that says what is wrong: a canonical code, a message, and HTTP's status."""

    def __init__(self, code: str, message: str, status: int | None = None):
        super().__init__(message)
        self.code, self.status = code, status or _STATUS.get(code, 500)


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
        from export.saved_models import versions

        newest = max(versions(self.folder), default=0)
        if newest in (self.version, self._failed) or not newest:
            return
        try:
            session = c_api.Session(self.folder / str(newest))
        except (c_api.SessionError, ValueError) as error:
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

    def run(self, name: str, inputs: dict[str, np.ndarray], deadline: float) -> dict:
        """Runs a signature when its turn comes, within the deadline."""
        if not self._places.acquire(blocking=False):
            raise Failure("UNAVAILABLE", "Too many requests are waiting. Try again later.")
        try:
            future = self._worker.submit(lambda: self.session.run(name, inputs))
        except RuntimeError:
            self._places.release()
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise Failure("DEADLINE_EXCEEDED", "The request's time is up.") from None
        except concurrent.futures.CancelledError:
            raise Failure("UNAVAILABLE", "The server is stopping.") from None
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", str(error)) from None
        except c_api.SessionError as error:
            code, _, message = str(error).partition(": ")
            raise Failure(code, message.splitlines()[0] if message else code) from None

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
            array = np.array(value)
        except ValueError:
            raise bad("is ragged: its lists differ in length") from None
        wanted = np.dtype(info.dtype)
        kinds = {"f": "iuf", "b": "b"}.get(wanted.kind, "iu")
        if not array.size:
            return array.astype(wanted)
        if array.dtype.kind not in kinds:
            numbers = {"f": "numbers", "b": "true or false"}.get(wanted.kind, "whole numbers")
            raise bad(f"does not hold {numbers} of the type {info.dtype}")
        limits = np.finfo if wanted.kind == "f" else np.iinfo
        if wanted.kind != "b" and (
            not np.isfinite(array).all()
            or array.max() > limits(wanted).max
            or array.min() < limits(wanted).min
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
    return np.array(found, "S")


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


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "kvae-development", ""

    def setup(self):
        self.timeout = self.server.limits.timeout  # A client that says nothing is let go.
        super().setup()

    def do_GET(self):
        self._respond(self._get)

    def do_POST(self):
        self._respond(self._post)

    def _respond(self, answer):
        deadline = time.monotonic() + self.server.limits.timeout
        with self.server.counted():
            try:
                status, content = 200, answer(deadline)
            except Failure as error:
                status, content = error.status, {"error": str(error)}
                # The rest of the request may not have been read.
                self.close_connection |= self.command == "POST" and not self._read
            except (ConnectionError, TimeoutError):
                self.close_connection = True
                return
            except Exception as error:  # No request takes the server down.
                status, content = 500, {"error": f"{type(error).__name__}: {error}"}
                self.close_connection = True
            with contextlib.suppress(OSError):
                self._send(status, content)
                if self.command == "POST" and not self._read:
                    self._linger()

    def _send(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _linger(self) -> None:
        # Closing on unread bytes would reset the connection, and the client lose the answer.
        self.connection.shutdown(socket.SHUT_WR)
        end = time.monotonic() + 2.0
        while (left := end - time.monotonic()) > 0:
            self.connection.settimeout(left)
            if not self.rfile.read1(1 << 20):
                return

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

    def _get(self, deadline):
        model, version, what = self._find()
        if what not in (None, "/metadata"):
            raise Failure("INVALID_ARGUMENT", f"{what} is asked by POST.", 405)
        return (_metadata if what else _state)(model, version)

    def _post(self, deadline):
        self._read = False
        body = self._body(deadline)
        self._read = True
        model, version, what = self._find()
        if what != ":predict":
            raise Failure("UNIMPLEMENTED", "Only :predict is served.")
        content = _parse(body)
        name = content.get("signature_name") or "serving_default"
        signature = model.signature(name, version)
        inputs = _arrays(_columns(content, signature), signature)
        return _answer(model.run(name, inputs, deadline), "instances" in content)

    def _body(self, deadline) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if length < 0 or "Transfer-Encoding" in self.headers:
            raise Failure("INVALID_ARGUMENT", "Send the length of the body.", 411)
        limit = self.server.limits.max_bytes
        if length > limit:
            text = f"The request has {length} bytes; {limit} are allowed."
            raise Failure("INVALID_ARGUMENT", text, 413)
        parts, missing = [], length
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure("DEADLINE_EXCEEDED", "The request came too slowly.", 408)
            self.connection.settimeout(left)
            try:
                part = self.rfile.read1(min(missing, 1 << 20))
            except TimeoutError:
                continue
            if not part:
                raise ConnectionError
            parts.append(part)
            missing -= len(part)
        self.connection.settimeout(self.timeout)
        return b"".join(parts)

    def log_message(self, *arguments):
        if self.server.limits.verbose:
            super().log_message(*arguments)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        timeout: float. Seconds for one request, from its first line to its answer.
        max_bytes: int. The largest request body.
        max_pending: int. Requests that may wait for one model; more are answered with 503.
        verbose: bool. Whether requests are logged to standard error.
    """

    timeout: float = 30.0
    max_bytes: int = 64 << 20
    max_pending: int = 64
    verbose: bool = False


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
        self._busy, self._idle = 0, threading.Condition()
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

    def stop(self, grace: float = 10.0) -> None:
        """Takes no more requests, and ends those that are running or the grace, in seconds."""
        self._stopping.set()
        self.shutdown()
        self.server_close()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, grace)
        for thread in self._loops:
            thread.join()
        for model in self.models.values():
            model.close()

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
    previous = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
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
            stop.wait()
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
