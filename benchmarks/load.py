"""A closed loop of clients over HTTP: each sends its next request when it has its answer."""

import collections
import dataclasses
import re
import selectors
import socket
import time

__all__ = ["Found", "request", "run"]

_CLOSE = re.compile(rb"(?i)\r\nconnection:[ \t]*close")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d+)")
_LATE = 60.0  # Seconds after which an answer is taken for lost.


def request(host: str, path: str, body: bytes) -> bytes:
    """Returns a POST request that keeps its connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclasses.dataclass
class Found:
    """The answers that the clients have had, and the time that they took.

    Attributes:
        seconds: float. From the first request to the last answer.
        latencies: list of float. Seconds of each request.
        answers: dict of `(number of the request, status, body)` to how often it came.
        lost: int. Requests whose connection ended, or that had no answer in a minute.
    """

    seconds: float = 0.0
    latencies: list[float] = dataclasses.field(default_factory=list)
    answers: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lost: int = 0


class _Client:
    def __init__(self, address, number: int):
        self._address, self._next = address, number
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._address, timeout=_LATE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends = False

    def send(self, requests) -> None:
        self.asked, self._read, self._end = self._next % len(requests), bytearray(), 0
        self._next += 1
        self.start = time.perf_counter()
        if self._ends:  # The server has said that it closes the connection.
            self.socket.close()
            self._connect()
        self.socket.sendall(requests[self.asked])

    def receive(self) -> tuple[int, bytes] | None:
        """Returns the status and the body when they are there.

        Raises:
            ConnectionError: if the connection ended before.
        """
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        self._read += data
        if not self._end:
            head = self._read.find(b"\r\n\r\n")
            if head < 0:
                return None
            self._body = head + 4
            self._end = self._body + int(_LENGTH.search(self._read, 0, self._body)[1])
            self._ends = _CLOSE.search(self._read, 0, self._body) is not None
        if len(self._read) < self._end:
            return None
        return int(self._read[9:12]), bytes(self._read[self._body : self._end])


def run(address: tuple[str, int], requests: list[bytes], clients: int, seconds: float) -> Found:
    """Lets clients ask for some seconds, and waits for the last answers.

    Args:
        address: tuple of str and int.
        requests: list of bytes. Whole requests, which the clients send in turn, each beginning at
            another one.
        clients: int.
        seconds: float.
    """
    found = Found()
    with selectors.DefaultSelector() as selector:
        waiting = [_Client(address, number) for number in range(clients)]
        start = time.perf_counter()
        for client in waiting:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send(requests)
        while waiting:
            ready = selector.select(_LATE)
            for key, _ in ready:
                client, before = key.data, key.fileobj
                try:
                    answer = client.receive()
                    if answer is None:
                        continue
                    found.latencies.append(time.perf_counter() - client.start)
                    found.answers[(client.asked, *answer)] += 1
                    if time.perf_counter() - start < seconds:
                        client.send(requests)
                        if client.socket is not before:
                            selector.unregister(before)
                            selector.register(client.socket, selectors.EVENT_READ, client)
                        continue
                except OSError:
                    found.lost += 1
                selector.unregister(before)
                client.socket.close()
                waiting.remove(client)
            if not ready:
                found.lost += len(waiting)
                break
        found.seconds = time.perf_counter() - start
    return found
