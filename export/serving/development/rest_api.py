"""TensorFlow Serving's REST API: h11 reads the requests; their time and bytes are bounded here."""

import contextlib
import http
import re
import socket
import socketserver
import time

import h11
import msgspec

from export.serving.development import requests
from export.serving.development.failures import Failure
from export.signatures import DECODE

__all__ = ["FULL", "Handler"]

_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>\d{1,18}))?(?P<what>/metadata|:\w+)?"
)
_PATHS = "The paths are /v1/models/NAME[/versions/N] and, after it, /metadata, :predict"
_LENGTHS = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*([^\r\n]*)")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_REASON = b'{"error": "Too many connections."}'
# The answer to a connection beyond the limit.
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s"
) % (len(_REASON), _REASON)


class Handler(socketserver.BaseRequestHandler):
    """A connection, whose requests are read and answered one after the other."""

    def handle(self):
        self._http = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError):  # A connection that breaks, or whose time is up.
            while self._exchange():
                self._http.start_next_cycle()

    def _exchange(self) -> bool:
        """Reads a request and answers it; returns whether another one may follow."""
        # A client that sends nothing, or a byte now and then, is disconnected.
        self._end = time.monotonic() + self.server.limits.timeout
        self._head = bytearray(self._http.trailing_data[0])
        self.server.waits(self.request, True)
        close, method = True, b""
        with contextlib.ExitStack() as held:
            try:
                request = self._event()
                if isinstance(request, h11.ConnectionClosed):
                    return False
                held.enter_context(self.server.counted())
                method = request.method
                self._end = time.monotonic() + self.server.limits.timeout
                length = self._length(request)
                held.enter_context(self.server.budget.taken(length))
                body = self._body(request, length)
                close = False  # It has been read to its end, so that the next one may follow it.
                status, content = 200, self._answer(request, body, held)
            except Failure as error:
                status, content = error.status, {"error": str(error)}
            except h11.RemoteProtocolError as error:
                failure = Failure("INVALID_ARGUMENT", f"This is not HTTP: {error}")
                status, content = error.error_status_hint, {"error": str(failure)}
            except OSError:
                raise
            except Exception as error:  # No request takes the server down.
                failure = Failure("INTERNAL", f"{type(error).__name__}: {error}")
                close, status, content = True, 500, {"error": str(failure)}
            unread, close = close, close or self.server.stopping
            self._send(status, content, close, method)
            if unread:
                self._linger()
        return not close and self._http.our_state is h11.DONE

    def _event(self):
        """Returns the next part of the request.

        Raises:
            TimeoutError: if it does not come in time.
        """
        while (event := self._http.next_event()) is h11.NEED_DATA:
            before_body = self._http.their_state is h11.IDLE
            # The head is read in small parts, so that h11 sees when it gets too long.
            data = self._receive(1 << (14 if before_body else 18))
            if before_body:
                self.server.waits(self.request, False)
                self._head += data
            self._http.receive_data(data)
        return event

    def _receive(self, size: int = 1 << 18) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("The request came too slowly.")
        self.request.settimeout(left)
        return self.request.recv(size)

    def _length(self, request) -> int:
        """Returns the bytes of the body, which the headers have to name once and without doubt."""
        if request.method not in (b"GET", b"POST"):
            raise Failure("UNIMPLEMENTED", f"The method {request.method.decode()} is not served.")
        if not request.http_version.startswith(b"1."):
            raise Failure("UNIMPLEMENTED", "Only version 1 of HTTP is served.", 505)
        # The headers are read as they were sent, since h11 accepts repeated lengths that agree.
        lengths = _LENGTHS.findall(_HEAD_END.split(self._head, maxsplit=1)[0])
        chunked = b"transfer-encoding" in dict(request.headers)
        if len(lengths) > 1 or (lengths and chunked) or b"," in b"".join(lengths):
            raise Failure("INVALID_ARGUMENT", "Send the length of the body once.", 400)
        length = int(lengths[0]) if lengths else 0
        if request.method != b"POST":
            if length or chunked:
                raise Failure("INVALID_ARGUMENT", "Only a POST request has a body.", 400)
        elif not lengths:
            raise Failure("INVALID_ARGUMENT", "Send the length of the body.", 411)
        if length > (limit := self.server.limits.max_bytes):
            text = f"The request has {length} bytes; {limit} are allowed."
            raise Failure("INVALID_ARGUMENT", text, 413)
        return length

    def _body(self, request, length: int) -> bytearray:
        if self._http.they_are_waiting_for_100_continue:
            self.request.sendall(
                self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        body = bytearray()
        try:
            while not isinstance(event := self._event(), h11.EndOfMessage):
                body += event.data
        except TimeoutError as error:
            raise Failure("DEADLINE_EXCEEDED", str(error), 408) from None
        return body

    def _answer(self, request, body, held):
        match = _PATH.fullmatch(request.target.decode())
        if match is None:
            raise Failure("NOT_FOUND", _PATHS)
        model = self.server.models.get(match["model"])
        if model is None:
            known = ", ".join(self.server.models)
            raise Failure("NOT_FOUND", f"There is no model {match['model']!r}. There is: {known}")
        version, what = match["version"] and int(match["version"]), match["what"]
        if request.method == b"POST":
            if what != ":predict":
                raise Failure("UNIMPLEMENTED", "Only :predict is served.")
            return self._predict(model, version, body, held)
        if what not in (None, "/metadata"):
            raise Failure("INVALID_ARGUMENT", f"{what} is asked by POST.", 405)
        return (requests.metadata if what else requests.state)(model, version)

    def _predict(self, model, version, body, held) -> bytes:
        server, limit = self.server, self.server.limits.max_bytes
        with server.one_at_a_time(len(body), self._end):
            content = requests.parse(body)
            name = content.signature_name or DECODE
            signature = model.signature(name, version)
            columns = requests.columns(content, signature, limit)
            by_rows = content.instances is not msgspec.UNSET
            inputs = requests.arrays(columns, signature, limit, self._end)
            del content, columns
        size = requests.bound(inputs, signature, limit)
        held.enter_context(server.budget.taken(size))
        outputs = model.run(name, inputs, self._end, version)[1]
        with server.one_at_a_time(size, self._end):
            return requests.answer(outputs, by_rows, self._end)

    def _send(self, status: int, content, close: bool, method: bytes) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        data = content if isinstance(content, bytes) else msgspec.json.encode(content)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        headers += [("Retry-After", "1")] if status in (429, 503) else []
        headers += [("Connection", "close")] if close else []
        reason = http.HTTPStatus(status).phrase
        head = self._http.send(h11.Response(status_code=status, headers=headers, reason=reason))
        body = b"" if method == b"HEAD" else self._http.send(h11.Data(data=data))
        # A client that does not read its answer is disconnected as well.
        self.request.settimeout(max(1.0, self._end - time.monotonic()))
        self.request.sendall(head + body + self._http.send(h11.EndOfMessage()))

    def _linger(self) -> None:
        # Closing with unread bytes would reset the connection and lose the answer.
        self.request.shutdown(socket.SHUT_WR)
        self._end = time.monotonic() + 2.0
        while self._receive():
            pass
