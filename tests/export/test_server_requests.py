"""The development server's HTTP, tested through raw sockets, and the cost of its JSON."""

import contextlib
import json
import re
import socket
import time
import tracemalloc
import urllib.parse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.serving.development import requests
from export.serving.development.failures import Failure
from export.signatures import Signature, TensorInfo

HEAD = b"POST /v1/models/dense:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
# What would be answered as a request of its own.
SMUGGLED = b"GET /v1/models/dense/metadata HTTP/1.1\r\nHost: x\r\n\r\n"


def ask_raw(url, data: bytes) -> bytes:
    """All that the server answers to these bytes, until it closes the connection."""
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("GET @ HTTP/1.1|Content-Length: 0|Content-Length: %d", 400),
        ("GET @ HTTP/1.1|Content-Length: %d|Content-Length: %d", 400),
        ("GET @ HTTP/1.1|Content-Length: %d", 400),
        ("GET @ HTTP/1.1|Transfer-Encoding: chunked", 400),
        ("POST @:predict HTTP/1.1|Content-Length: 0|Content-Length: %d", 400),
        ("POST @:predict HTTP/1.1|Content-Length: %d|content-length:%d", 400),
        ("POST @:predict HTTP/1.1|Content-Length: %d, %d", 400),
        ("POST @:predict HTTP/1.1|Content-Length: +%d", 400),
        ("POST @:predict HTTP/1.1|Content-Length: -1", 400),
        ("POST @:predict HTTP/1.1|Content-Length : %d", 400),
        ("POST @:predict HTTP/1.1|no header|Content-Length: %d", 400),
        ("POST @:predict HTTP/1.1|Content-Length: %d|Transfer-Encoding: chunked", 400),
        ("POST @:predict HTTP/1.1|Transfer-Encoding: chunked", 411),
        ("POST @:predict HTTP/1.1|Transfer-Encoding: xchunked", 501),
        ("POST @:predict HTTP/1.1", 411),
        ("HEAD @ HTTP/1.1|Content-Length: %d", 501),
        ("OPTIONS @ HTTP/1.1|Content-Length: %d", 501),
        ("GET @ HTTP/0.9", 505),
        ("GET @", 400),
        ("GET @ HTTP/1.1|Cookie: " + "x" * 100_000, 431),
    ],
)
def test_no_second_request_hides_in_the_body_of_one(running, headers, status):
    head, size = headers.replace("@", "/v1/models/dense"), len(SMUGGLED)
    line, *rest = head.replace("%d", str(size)).split("|")
    data = "\r\n".join([line, "Host: x", *rest, "", ""]).encode()
    answer = ask_raw(running[0], data + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1 and b"signature_def" not in answer
    assert b"\r\nConnection: close\r\n" in answer and len(answer) < 500


def test_requests_follow_each_other_on_a_connection(running):
    body = b'{"inputs": [[0, 0]]}'
    wrong = HEAD % 2 + b"{}"
    answer = ask_raw(running[0], SMUGGLED + wrong + HEAD % len(body) + body + SMUGGLED)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400", b"200", b"200"]
    waits = HEAD[:-2] % len(body) + b"Expect: 100-continue\r\n\r\n"
    assert ask_raw(running[0], waits + body).startswith(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        HEAD.replace(b"dense", b"x" * 5000) % 2 + b"{}",
        b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"x" * 50_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x" * 50_000 + b"\r\n\r\n",
        *(
            HEAD % len(body) + body
            for body in (
                b'{"inputs": {"%s": [[0, 0]]}}' % (b"x" * 150_000),
                b'{"instances": [{"%s": [0, 0]}]}' % (b"x" * 150_000),
                b'{"inputs": [[0, 0]], "signature_name": "%s"}' % (b"x" * 150_000),
                b'{"inputs": [["%s", 0]]}' % (b"x" * 150_000),
                b'{"inputs": [[%s, 0]]}' % (b"9" * 150_000),
                b"x" * 150_000,
            )
        ),
    ],
)
def test_errors_do_not_repeat_the_request(running, request_):
    answer = ask_raw(running[0], request_)
    head, _, text = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 (4\d\d|501) ", head) and len(text) < 400


def cost(function, *arguments) -> int:
    """The most bytes that a call takes at once. A failure is an answer, too."""
    tracemalloc.start()
    with contextlib.suppress(Failure):
        function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_body_costs_a_few_times_its_bytes():
    """However it is made: as objects of Python some of these took fifty times as much."""
    z = TensorInfo("float32", (None, 2))
    text = TensorInfo("string", (None,))
    image = TensorInfo("float32", (None, 1))
    of_z = Signature({"z": z}, {"image": image})
    of_text = Signature({"text": text}, {"image": image})
    size = 1_000_000

    def read(body, signature):
        content = requests.parse(body)
        columns = requests.columns(content, signature, size)
        requests.arrays(columns, signature, size, time.monotonic() + 60)

    keys = b", ".join(b'"%06d": 0' % number for number in range(size // 13))
    for start, repeated, end in (
        (b"{%s" % keys, b"", b', "inputs": [[0, 0]]}'),
        (b'{"inputs": {%s' % keys, b"", b"}}"),
        (b'{"instances": [{%s' % keys, b"", b"}]}"),
        (b'{"inputs": [', b"0,", b"0]}"),
        (b'{"inputs": [', b"[],", b"[]]}"),
        (b'{"inputs": [', b"[0,0],", b"[0,0]]}"),
        (b'{"inputs": [', b'"",', b'""]}'),
        (b'{"inputs": [', b"{},", b"{}]}"),
        (b'{"instances": [', b"{},", b"{}]}"),
        (b'{"instances": [', b'{"z":0},', b"{}]}"),
        (b'{"instances": [', b'{"z":[0,0]},', b'{"z":[0,0]}]}'),
        (b'{"instances": [', b'{"text":""},', b'{"text":""}]}'),
        (b'{"inputs": ', b"[", b""),
    ):
        body = start + repeated * ((size - len(start)) // max(1, len(repeated))) + end
        for signature in (of_z, of_text):
            assert cost(read, body, signature) < 8 * len(body), body[:40]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"instances": ["a", {"b64": "AP8="}, "[,]"]}', [b"a", b"\0\xff", b"[,]"]),
        ('{"instances": [{"text": "a"}, {"text": {"b64": "AP8="}}]}', [b"a", b"\0\xff"]),
        ('{"instances": [ {"b64": "AP8="} ]}', [b"\0\xff"]),
        ('{"inputs": {"text": ["a", "\\u00e9"]}}', [b"a", "é".encode()]),
        ('{"inputs": { "b64" : "AP8=" }}', [b"\0\xff"]),
        ('{"inputs": "a"}', [b"a"]),
        ('{"inputs": {"text": "a"}, "more": [{}]}', [b"a"]),
        ('{"instances": [{"text": "a"}, "b"]}', "name different inputs"),
        ('{"instances": ["b", {"text": "a"}]}', "holds strings, or bytes"),
        ('{"instances": [{"text": ["a", "b"]}]}', "holds strings, or bytes"),
        ('{"instances": [{"b64": "AP8=", "x": 1}]}', "holds strings, or bytes"),
        ('{"instances": {"text": "a"}}', "a list with a row or more"),
        ('{"inputs": [null]}', "holds strings, or bytes"),
    ],
)
def test_strings_and_bytes_in_every_form(body, expected):
    info = TensorInfo("string", (None,))
    signature = Signature({"text": info}, {})

    def read():
        columns = requests.columns(requests.parse(body.encode()), signature, 10_000)
        return requests.arrays(columns, signature, 10_000, time.monotonic() + 60)["text"]

    if isinstance(expected, list):
        assert read().tolist() == expected
    else:
        with pytest.raises(Failure, match=expected):
            read()


def test_reading_and_writing_end_when_the_time_is_up():
    info = TensorInfo("float32", (None, 2))
    signature = Signature({"z": info}, {"z": info})
    late = time.monotonic() - 1
    with pytest.raises(Failure, match="time is up"):
        requests.arrays({"z": b"[[0,0]]"}, signature, 1000, late)
    for by_rows in (False, True):
        with pytest.raises(Failure, match="time is up"):
            requests.answer({"z": np.zeros((2, 2))}, by_rows, late)


@pytest.mark.parametrize("by_rows", [False, True])
def test_answers_are_the_json_of_their_lists(by_rows):
    rng = np.random.default_rng(0)
    outputs = {"z": rng.normal(size=(3, 20_000)).astype("f4"), "n": np.arange(3)}
    answer = json.loads(requests.answer(outputs, by_rows, time.monotonic() + 60))
    lists = {name: array.tolist() for name, array in outputs.items()}
    if by_rows:
        rows = zip(*lists.values(), strict=True)
        assert answer == {"predictions": [dict(zip(lists, row, strict=True)) for row in rows]}
    else:
        assert answer == {"outputs": lists}


@given(
    st.recursive(
        st.floats(-1, 1) | st.integers(-9, 9) | st.none() | st.text("a[],{}", max_size=2),
        lambda children: st.lists(children, max_size=3),
    ),
    st.sampled_from([None, 1]),
)
def test_lists_are_read_as_numpy_reads_them(value, indent):
    info = TensorInfo("float32", (None, 2))
    signature = Signature({"x": info}, {})
    text = json.dumps(value, indent=indent).encode()
    try:
        expected = np.array(value, object)
        fits = expected.ndim == 2 and expected.shape[1] == 2 and expected.size
        fits = fits and set(map(type, expected.flat)) <= {int, float}
    except ValueError:
        fits = False
    end = time.monotonic() + 60
    if fits:
        array = requests.arrays({"x": text}, signature, 1 << 20, end)["x"]
        np.testing.assert_array_equal(array, expected.astype("f4"))
    else:
        with pytest.raises(Failure):
            requests.arrays({"x": text}, signature, 1 << 20, end)
