"""A development server: TensorFlow Serving's predict API over the C++ runtime.

`python -m export.server FOLDER` serves a model repository, or a model's folder of versions, without
importing TensorFlow. It answers one request at a time and knows no batching, TLS or metrics: it is
for trying clients where TensorFlow Serving is not installed.

What clients may cost it is bounded: connections, waiting requests, the bytes of a request, of its
answer and of all of them together, and the time from the first byte to the last (`Limits`).
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import socketserver
import sys
import threading
import time

from export import listening, server_http
from export.server_models import Failure, Model, late
from kvae.utils.terminal import say

__all__ = ["Development", "Failure", "run"]

NOTICE = "development server: one request at a time; use TensorFlow Serving in production"

# Larger bodies are turned into arrays, and arrays into answers, one at a time: that takes several
# times their bytes.
_LARGE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may ask for.

    Attributes:
        timeout: float. Seconds for one request, from its first line to its answer.
        max_bytes: int. The largest request body.
        max_pending: int. Requests that may wait for one model; more are answered with 429, or
            RESOURCE_EXHAUSTED.
        max_connections: int. More are answered with 503.
        max_total_bytes: int or `None`. Of all requests and answers that are worked on together;
            what is more is answered with 429. Defaults to `None`: four times `max_bytes`.
    """

    timeout: float = 30.0
    max_bytes: int = 64 << 20
    max_pending: int = 64
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


class Development(socketserver.ThreadingTCPServer):
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
        ValueError: if a model cannot be loaded, or the host has no address.

    Example:

    ```python
    with Development({"digits": "serving/digits"}, port=0) as server:
        print(export.Client(server.url, "digits").status())
    ```
    """

    daemon_threads, block_on_close = True, False
    allow_reuse_address, request_queue_size = True, 128

    def __init__(self, models, host="127.0.0.1", port=8501, limits=None, poll=2.0):
        self.limits = limits or Limits()
        self.models = {
            name: Model(name, pathlib.Path(folder), self.limits.max_pending)
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
                raise ValueError(
                    f"The model {model.name!r} cannot be served: {why}. Export it again."
                )
        host = listening.resolved(host)
        self.address_family = listening.family(host)
        try:
            super().__init__((host, port), server_http.Handler)
        except OSError as error:
            raise listening.refused(error, host, port) from None
        self._loops = [
            threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]

    @property
    def url(self) -> str:
        return f"http://{listening.joined(*self.server_address[:2])}"

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
            request.send(server_http.FULL)
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
            raise late()
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
                    say(f"kvae serve: {model.name}: {model.error}", file=sys.stderr, flush=True)
                elif model.version != before[0]:
                    say(f"{model.name}: version {model.version}", flush=True)


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
                say(f"{model.name}: version {model.version}")
                say(f"  {server.url}/v1/models/{model.name}:predict")
            if grpc_port is not None:
                from export import server_grpc

                bound = stack.enter_context(server_grpc.serving(server, host, grpc_port))
                print(f"  grpc://{listening.joined(server.server_address[0], bound)}")
            if listening.everywhere(server.server_address[0]):
                print(f"  {listening.OPEN}")
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
    if not models and name is not None:
        repository.check_name(name)
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
