"""TensorFlow Serving's REST API: the paths, and what is bounded while a request is read."""

import contextlib
import http.server
import io
import json
import re
import socket
import time

from export import server_requests
from export.server_models import Failure

__all__ = ["FULL", "Handler"]

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<what>/metadata|:\w+)?"
)
_REASON = b'{"error": "Too many connections."}'
# The answer to a connection that is one too many.
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s"
) % (len(_REASON), _REASON)


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


class Handler(http.server.BaseHTTPRequestHandler):
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
        return (server_requests.metadata if what else server_requests.state)(model, version)

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
            content = server_requests.parse(body)
            name = content.get("signature_name") or "serving_default"
            signature = model.signature(name, version)
            columns = server_requests.columns(content, signature)
            inputs = server_requests.arrays(columns, signature)
            by_rows = "instances" in content
            del body, content, columns
        size = server_requests.bound(inputs, signature, self.server.limits.max_bytes)
        held.enter_context(self.server.budget.taken(size))
        outputs = model.run(name, inputs, deadline, version)[1]
        with self.server.one_at_a_time(size, deadline):
            return json.dumps(server_requests.answer(outputs, by_rows)).encode()

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
