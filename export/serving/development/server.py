"""The development server: TensorFlow Serving's predict API over the C++ runtime.

It never imports TensorFlow. It merges requests that wait at the same time, and knows no TLS or
metrics: it is for trying clients where TensorFlow Serving is not installed.

What clients may cost it is bounded: connections, waiting requests, the bytes of a request, of its
answer and of all of them together, and the time from the first byte to the last (`Limits`).
"""

import contextlib
import os
import pathlib
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping

from export.serving import addresses
from export.serving.development import rest_api
from export.serving.development.failures import Failure, late
from export.serving.development.served_model import Model
from export.serving.limits import Limits
from kvae.utils.terminal import say

__all__ = ["DevelopmentServer"]

# Bodies beyond this size are turned into arrays, and arrays into answers, one at a time, because
# that takes several times their bytes.
_LARGE = 1 << 20


class _Budget:
    """The bytes that all requests together may take at once."""

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


class DevelopmentServer(socketserver.ThreadingTCPServer):
    """The development server.

    Args:
        models: dict of str to path. Folders of versions, by the names that clients call.
        host: str. The address to listen on. Defaults to `"127.0.0.1"`: this machine alone.
        port: int. The port of the REST API; 0 takes a free one. Defaults to `8501`.
        limits: `Limits`. Defaults to `None`: those of `Limits()`.
        poll: float. Seconds between looks for new versions. Defaults to `2.0`.
        batching: bool. Whether requests of one signature that wait at the same time run as one. No
            request waits for others. Defaults to `True`.

    Attributes:
        url: str. The address of its REST API.

    Raises:
        OSError: if the port is taken.
        ValueError: if a model cannot be loaded, or the host has no address.

    Example:

    ```python
    with DevelopmentServer({"digits": "serving/digits"}, port=0) as server:
        print(export.Client(server.url, "digits").status())
    ```
    """

    daemon_threads, block_on_close = True, False
    allow_reuse_address, request_queue_size = True, 128

    def __init__(
        self,
        models: Mapping[str, str | os.PathLike],
        host: str = "127.0.0.1",
        port: int = 8501,
        limits: Limits | None = None,
        poll: float = 2.0,
        batching: bool = True,
    ):
        self.limits = limits or Limits()
        self.models = {
            name: Model(name, pathlib.Path(folder), self.limits.max_pending, batching)
            for name, folder in models.items()
        }
        total = self.limits.max_total_bytes
        self.budget = _Budget(4 * self.limits.max_bytes if total is None else total)
        self._large = threading.Lock()
        self._busy, self._idle = 0, threading.Condition()
        # Each connection, and whether it waits for a request.
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
        host = addresses.resolved(host)
        self.address_family = addresses.family(host)
        try:
            super().__init__((host, port), rest_api.Handler)
        except OSError as error:
            raise addresses.refused(error, host, port) from None
        self._loops = [
            threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]

    @property
    def url(self) -> str:
        """Returns the address of the REST API."""
        return f"http://{addresses.joined(*self.server_address[:2])}"

    def __enter__(self) -> "DevelopmentServer":
        for thread in self._loops:
            thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def stopping(self) -> bool:
        """Checks whether the server takes no more requests."""
        return self._stopping.is_set()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more requests, and waits until those that were taken are answered.

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
            request.send(rest_api.FULL)
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
        """Counts a request while it is worked on, so that `stop` waits for its answer."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def handle_error(self, request, client_address):
        """Reports errors, but not that a connection broke."""
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
