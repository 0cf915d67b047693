"""The client: what it checks, what it asks again, and what it says of a server that is silent."""

import socket
import time

import numpy as np
import pytest

import export
from export.serving import transports


@pytest.fixture
def client(repository):
    """Of a server in this process."""
    with export.DevelopmentServer({"dense": repository / "models/dense"}, port=0) as server:
        yield export.Client(server.url, "dense", timeout=20)


def test_the_client_checks_what_it_sends(client):
    for call, message in (
        (lambda: client.decode([[np.nan, 0.0]]), "'z' holds numbers that are not finite"),
        (lambda: client.decode([[1e300, 0.0]]), "not finite"),
        (lambda: client.decode(np.zeros((2, 3))), r"shape \[2, 3\], not \[rows, 2\]"),
        (lambda: client.decode([["a", "b"]]), "takes float32, not str"),
        (lambda: client.decode(np.zeros((0, 2))), "shape"),
        (lambda: client.decode([[0, 0]], label=3), "takes no `label`"),
        (lambda: client.generate([0.5]), "takes int64, not float64"),
        (lambda: client.generate([np.uint64(2**63)]), "int64 cannot hold"),
        (lambda: client.predict("nope", {}), "no signature 'nope'"),
        (lambda: client.predict("generate", {"z": [1]}), "takes the inputs .*seed"),
        (lambda: export.Client("ftp://x", "dense"), "no address of a server"),
        (lambda: export.Client("http://x", "dense", timeout=0), "positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


class Scripted(transports.Rest):
    """A transport that gives the answers it was told to."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def status(self, deadline):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else "UNAVAILABLE"
        if isinstance(answer, str):
            raise export.ServingError(answer, "scripted")
        return answer


def scripted(*answers, **arguments):
    client = export.Client("http://localhost", "dense", **arguments)
    client._transport = Scripted(*answers)
    return client


def test_what_is_transient_is_asked_again_until_the_time_is_up():
    client = scripted("UNAVAILABLE", "RESOURCE_EXHAUSTED", {1: "AVAILABLE"})
    assert client.status() == {1: "AVAILABLE"} and client._transport.asked == 3
    client = scripted("INVALID_ARGUMENT", {1: "AVAILABLE"})
    with pytest.raises(export.ServingError, match="INVALID_ARGUMENT"):
        client.status()
    assert client._transport.asked == 1
    client = scripted(attempts=2)
    with pytest.raises(export.ServingError, match="UNAVAILABLE"):
        client.status()
    assert client._transport.asked == 2
    client = scripted(attempts=1000)
    began = time.monotonic()
    with pytest.raises(export.ServingError):
        client.status(timeout=0.5)
    assert time.monotonic() - began < 1.0 and client._transport.asked < 10
    scripted("NOT_FOUND", {1: "LOADING"}, {1: "AVAILABLE"}).wait_until_ready(5)
    with pytest.raises(export.ServingError, match="not served after 0.3 s: .*scripted"):
        scripted().wait_until_ready(0.3)


def test_servers_that_are_not_there_or_say_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = export.Client(f"localhost:{port}", "dense")
        with pytest.raises(export.ServingError, match=f"DEADLINE_EXCEEDED: localhost:{port}"):
            client.status(timeout=0.3)
    with pytest.raises(export.ServingError, match="cannot be reached: Connection refused"):
        client.status(timeout=0.3)
    assert issubclass(export.ServingError, RuntimeError)
