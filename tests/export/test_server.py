"""The development server: what it refuses, what it bounds, and how it ends."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import threading
import time
import urllib.parse

import numpy as np
import pytest

import export
from export.serving import stubs
from export.serving.development import grpc_api, served_model
from export.serving.development.failures import Failure
from export.serving.development.server import DevelopmentServer
from export.serving.limits import Limits
from export.serving.repository import find_models
from export.signatures import Signature, TensorInfo

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = b"POST /v1/models/dense:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def test_rows_and_columns_are_two_ways_to_say_the_same(running, post):
    z = [[0.5, -1], [2, 0]]
    columns = post(running[0], json.dumps({"inputs": {"z": z}}))[1]["outputs"]
    for body in ({"inputs": z}, {"instances": z}, {"instances": [{"z": row} for row in z]}):
        status, answer = post(running[0], json.dumps(body))
        assert status == 200
        if "outputs" in answer:
            assert answer["outputs"] == columns
        else:
            rows = answer["predictions"]
            assert [row["image"] for row in rows] == columns["image"]
    # An only output goes without its name.
    image = np.zeros((1, 8, 8, 1)).tolist()
    body = json.dumps({"signature_name": "reconstruct", "inputs": {"image": image}})
    assert np.shape(post(running[0], body)[1]["outputs"]) == (1, 8, 8, 1)
    assert post(running[0], body, "/v1/models/dense/versions/1:predict")[0] == 200


DEEP = '{"inputs": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 400, "not JSON"),
        ("{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        ("[1]", 400, "not a JSON object"),
        (DEEP, 400, "nested too deeply"),
        ("{}", 400, "either 'instances' .* or 'inputs'"),
        ('{"inputs": [[1, 2]], "instances": [[1, 2]]}', 400, "either"),
        ('{"inputs": [[1, 2]], "signature_name": 3}', 400, "is a string"),
        ('{"inputs": [[1, 2]], "signature_name": "nope"}', 400, "no signature 'nope'. There are:"),
        ('{"inputs": [[NaN, 2]]}', 400, "NaN is no JSON number"),
        ('{"inputs": [[-Infinity, 2]]}', 400, "-Infinity is no JSON number"),
        ('{"inputs": [[1e999, 2]]}', 400, "too large for float32"),
        ('{"inputs": [[1e300, 2]]}', 400, "too large for float32"),
        ('{"inputs": [[1' + "0" * 308 + ", 2]]}", 400, "too large for float32"),
        ('{"inputs": [[1' + "0" * 9999 + ", 2]]}", 400, "too large for float32"),
        ('{"inputs": ' + "[" * 33 + "0" + "]" * 33 + "}", 400, "nested too deeply: in 33 lists"),
        ('{"inputs": [[0, [0]]]}', 400, "ragged"),
        ('{"inputs": [["a", "]"]]}', 400, "does not hold|ragged"),
        ('{"inputs": null}', 400, "float32 of the shape"),
        ('{"inputs": [[1, 2, 3]]}', 400, r"shape \[1, 3\], not float32 of \[rows, 2\]"),
        ('{"inputs": [[1, 2], [3]]}', 400, "ragged"),
        ('{"inputs": [["1", "2"]]}', 400, "does not hold numbers"),
        ('{"inputs": [[null, 2]]}', 400, "does not hold numbers"),
        ('{"inputs": []}', 400, "no rows"),
        ('{"inputs": {"x": [[1, 2]]}}', 400, r"unknown: x"),
        ('{"inputs": {}}', 400, "missing: z"),
        ('{"instances": []}', 400, "a row or more"),
        ('{"instances": [{"z": [1, 2]}, {"y": [1, 2]}]}', 400, "name different inputs"),
        ('{"instances": [{"z": [1, 2]}, [1, 2]]}', 400, "name different inputs"),
        ('{"signature_name": "generate", "inputs": {"seed": [1.5]}}', 400, "whole numbers"),
        ('{"signature_name": "generate", "inputs": {"seed": [true]}}', 400, "whole numbers"),
        ('{"signature_name": "generate", "inputs": {"seed": [1' + "0" * 40 + "]}}", 400, "int64"),
        (json.dumps({"inputs": [[0, 0]] * 40_000}), 413, "200000 are allowed"),
    ],
)
def test_malformed_requests_are_refused_in_json(running, body, status, message, post):
    have, answer = post(running[0], body)
    assert have == status and set(answer) == {"error"}
    assert re.search(message, answer["error"]), answer


def test_wrong_paths_methods_and_headers(running, post):
    url, body = running[0], json.dumps({"inputs": [[0, 0]]})
    for path, status, message in (
        ("/", 404, "The paths are"),
        ("/v1/models/other:predict", 404, "no model 'other'. There is: dense"),
        ("/v1/models/dense/versions/7:predict", 404, r"Specific\(7\) dense"),
        ("/v1/models/dense:classify", 501, "Only :predict"),
    ):
        have, answer = post(url, body, path)
        assert have == status and re.search(message, answer["error"])
    assert post(url, None, method="GET")[0] == 405
    assert post(url, None, "/v1/models/nothing", method="GET")[0] == 404
    have, answer = post(url, body, method="PUT")
    assert have == 501 and "PUT" in answer["error"]
    have, answer = post(url, iter([body.encode()]), headers={"Transfer-Encoding": "chunked"})
    assert have == 411


def test_wrong_tensors_by_grpc(repository):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    import tensorflow as tf

    grpc, stub = stubs.modules()
    limits = Limits(timeout=20, max_bytes=100_000)
    folder = {"dense": repository / "models/dense"}

    def change(dims=(1, 2), dtype=tf.float32, **values):
        def fill(tensor):
            tensor.dtype = dtype.as_datatype_enum
            for size in dims:
                tensor.tensor_shape.dim.add(size=size)
            for name, value in values.items():
                getattr(tensor, name).extend(value) if isinstance(value, list) else setattr(
                    tensor, name, value
                )

        return fill

    with (
        DevelopmentServer(folder, port=0, limits=limits) as development,
        grpc_api.serve(development, "127.0.0.1", 0) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        predict = stub("prediction_service_pb2_grpc").PredictionServiceStub(channel).Predict
        for fill, code, text in (
            # A few bytes that promise terabytes.
            (change((1 << 40, 2), float_val=[0.0]), "INVALID_ARGUMENT", "bytes; 100000 are"),
            (change((-1, 2), float_val=[0.0]), "INVALID_ARGUMENT", "shape is not known"),
            (change(tensor_content=b"12345"), "INVALID_ARGUMENT", "no tensor"),
            (change(dtype=tf.string, string_val=[b"x"]), "INVALID_ARGUMENT", "1 strings"),
            (change(dtype=tf.variant), "INVALID_ARGUMENT", "no tensor"),
            (change(dtype=tf.float64, double_val=[0.0]), "INVALID_ARGUMENT", "not float32"),
            (change((40_000, 2), tensor_content=bytes(320_000)), "RESOURCE_EXHAUSTED", "larger"),
            (change((3_000, 2), float_val=[0.0]), "INVALID_ARGUMENT", "Send fewer rows"),
            (change(float_val=[float("inf")]), "INVALID_ARGUMENT", "not finite"),
        ):
            request = stub("predict_pb2").PredictRequest()
            request.model_spec.name = "dense"
            fill(request.inputs["z"])
            with pytest.raises(grpc.RpcError) as failure:
                predict(request, timeout=20)
            assert failure.value.code().name == code, failure.value
            assert text in failure.value.details(), failure.value
        request = stub("predict_pb2").PredictRequest()
        request.model_spec.name = "dense"
        change(float_val=[0.0])(request.inputs["z"])  # One for all, as TensorFlow has it.
        everything = predict(request, timeout=20).outputs
        assert set(everything) == {"image", "logits"}
        # What TensorFlow Serving honours or refuses.
        request.output_filter.append("image")
        (name,) = (only := predict(request, timeout=20).outputs)
        assert name == "image" and only[name] == everything[name]
        service = stub("prediction_service_pb2_grpc").PredictionServiceStub(channel)
        refused = []
        for change_, call in (
            (lambda r: r.output_filter.append("nope"), service.Predict),
            (lambda r: setattr(r.model_spec, "version_label", "stable"), service.Predict),
            (lambda r: setattr(r.model_spec, "name", "x" * 50_000), service.Predict),
            (lambda r: r.inputs["y" * 50_000].CopyFrom(r.inputs["z"]), service.Predict),
            (lambda r: r.metadata_field.append("nope"), service.GetModelMetadata),
        ):
            wrong = stub("get_model_metadata_pb2").GetModelMetadataRequest()
            if call is service.Predict:
                wrong = stub("predict_pb2").PredictRequest()
                wrong.CopyFrom(request)
            wrong.model_spec.name = "dense"
            change_(wrong)
            with pytest.raises(grpc.RpcError) as failure:
                call(wrong, timeout=20)
            refused.append((failure.value.code().name, failure.value.details()))
        codes = [code for code, _ in refused]
        assert codes == ["INVALID_ARGUMENT"] * 2 + ["NOT_FOUND"] + ["INVALID_ARGUMENT"] * 2
        assert "no output 'nope' to filter by. There are: " in refused[0][1]
        assert "Unrecognized servable version label: stable" in refused[1][1]
        assert all(len(text) < 300 for _, text in refused)


def test_the_server_survives_clients_that_break_off(running, client):
    address = urllib.parse.urlsplit(running[0])
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    for data in (b"nonsense\r\n\r\n", half, b""):
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(data)
    assert client.decode(np.zeros((1, 2))).shape == (1, 8, 8, 1)
    assert running[1].poll() is None


def test_rows_of_clients_at_once_are_not_mixed_up(client):
    seeds = np.arange(48)
    alone = client.generate(seeds).z

    def ask(start):
        rows = np.roll(seeds, start)[: 1 + start % 5]
        return np.array_equal(client.generate(rows).z, alone[rows])

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(96)))


def test_new_versions_are_taken_up_and_broken_ones_are_not(repository, tmp_path, capsys):
    folder = shutil.copytree(repository / "models/dense", tmp_path / "dense")
    limits = Limits(timeout=5)
    with DevelopmentServer({"x": folder}, port=0, limits=limits, poll=0.05) as development:
        client = export.Client(development.url, "x")
        assert client.status() == {1: "AVAILABLE"}
        broken = tmp_path / "3"
        shutil.copytree(folder / "1", broken)
        (broken / "saved_model.pb").write_bytes(b"no")
        shutil.copytree(folder / "1", tmp_path / "2")
        os.rename(tmp_path / "2", folder / "2")

        def wait(done):
            end = time.monotonic() + 10
            while not done() and time.monotonic() < end:
                client.decode(np.zeros((1, 2)))  # Nobody notices.
                time.sleep(0.02)
            assert done()

        wait(lambda: client.status() == {2: "AVAILABLE"})
        os.rename(broken, folder / "3")
        wait(lambda: development.models["x"].error)
        assert client.status() == {2: "AVAILABLE"}
        with pytest.raises(OSError, match="taken. Choose another one with --port"):
            DevelopmentServer(
                {"x": repository / "models/dense"}, port=development.server_address[1]
            )


def test_what_is_found_to_serve(repository, tmp_path):
    folder = repository / "models" / "dense"
    assert find_models(repository) == find_models(repository, "dense") == {"dense": folder}
    assert find_models(folder, "other") == {"other": folder}
    assert find_models(folder / "1") == {"dense": folder}
    with pytest.raises(ValueError, match="has no model 'x'. It has: dense"):
        find_models(repository, "x")
    with pytest.raises(FileNotFoundError, match="no model to serve in .*kvae export"):
        find_models(tmp_path)


# What clients may cost.


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_a_request_may_cost_is_bounded(repository, post):
    limits = Limits(timeout=20, max_bytes=50_000, max_connections=3)
    with DevelopmentServer(
        {"dense": repository / "models/dense"}, port=0, limits=limits
    ) as development:
        url, address = development.url, development.server_address[:2]
        # A short request for a long answer.
        ends = {"z_start": [[0, 0]] * 30, "z_end": [[1, 1]] * 30, "steps": [64] * 30}
        body = {"signature_name": "interpolate", "inputs": ends}
        status, answer = post(url, json.dumps(body))
        assert status == 413 and re.search("would have .* Send fewer rows", answer["error"])
        body["inputs"]["steps"] = [2] * 30
        assert post(url, json.dumps(body))[0] == 200
        # Too many bytes at once; they are free again afterwards.
        body = json.dumps({"inputs": [[0, 0]]})
        wait_for(lambda: development.budget.free == 4 * 50_000)  # The last answer has been sent.
        with development.budget.taken(4 * 50_000 - 3):
            status, answer = post(url, body)
            assert status == 429 and "too many bytes" in answer["error"]
        assert post(url, body)[0] == 200
        wait_for(lambda: development.budget.free == 4 * 50_000)
        # A string among short ones is not copied for each of them.
        body = '{"inputs": [["' + "x" * 20_000 + '", ""]' + ', ["", ""]' * 80 + "]}"
        status, answer = post(url, body)
        assert status == 400 and "does not hold numbers" in answer["error"]
        # Too many connections.
        wait_for(lambda: not development._connections)
        with contextlib.ExitStack() as silent:
            for _ in range(3):
                silent.enter_context(socket.create_connection(address))
            wait_for(lambda: len(development._connections) == 3)
            with socket.create_connection(address, timeout=5) as more:
                assert more.recv(1000).startswith(b"HTTP/1.1 503 ")
        wait_for(lambda: not development._connections)
        assert post(url, None, "/v1/models/dense", method="GET")[0] == 200


def test_slow_and_silent_clients_are_let_go(repository):
    limits = Limits(timeout=0.5)
    with DevelopmentServer(
        {"dense": repository / "models/dense"}, port=0, limits=limits
    ) as development:
        address = development.server_address[:2]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
            _, header, slow = clients
            header.sendall(b"POST /v1/models/dense:predict HTTP/1.1\r\n")
            slow.sendall(HEAD % 50)
            for _ in range(7):  # A byte now and then does not give it more time.
                time.sleep(0.1)
                with contextlib.suppress(OSError):
                    header.sendall(b"X")
                    slow.sendall(b"{")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
            wait_for(lambda: not development._connections)  # In 0.5 s, on a quiet machine.


# Its end.


class Slow:
    """A session that takes its time."""

    signatures = {}

    def __init__(self):
        self.running, self.sizes = threading.Event(), []

    def run(self, name, inputs):
        self.running.set()
        self.sizes.append(len(np.atleast_1d(next(iter(inputs.values())))))
        time.sleep(0.3)
        return inputs

    def close(self):
        pass


def test_deadlines_and_the_bound_on_waiting_requests(tmp_path, monkeypatch):
    monkeypatch.setattr(served_model, "_THREADS", 1)
    model = served_model.Model("slow", tmp_path, max_pending=2)
    model.session, model.version = Slow(), 1
    now = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(model.run, "x", {"a": np.float32(1)}, now + 10)
        assert model.session.running.wait(5)
        second = pool.submit(model.run, "x", {"a": np.float32(2)}, now + 0.1)
        while model._worker._work_queue.empty():
            time.sleep(0.001)
        with pytest.raises(Failure, match="Too many requests") as failure:
            model.run("x", {}, now + 10)
        assert (failure.value.code, failure.value.status) == ("RESOURCE_EXHAUSTED", 429)
        with pytest.raises(Failure, match="time is up") as failure:
            second.result()
        assert failure.value.status == 504
        assert first.result() == (1, {"a": 1})
    # The places are free again.
    assert model.run("x", {"a": np.float32(3)}, time.monotonic() + 10) == (1, {"a": 3})
    # Of many rows some are run at a time, and none when the time is up.
    model.session = Slow()
    output = TensorInfo("float32", (None, 2))
    model.session.signatures = {"x": Signature({"a": output, "b": output}, {"a": output}, ("b",))}
    rows = np.arange(260, dtype=np.float32).reshape(130, 2)
    _, done = model.run("x", {"a": rows, "b": rows[:1]}, time.monotonic() + 10)
    np.testing.assert_array_equal(done["a"], rows)
    assert model.session.sizes == [64, 64, 2]
    with pytest.raises(Failure, match="time is up"):
        model.run("x", {"a": rows}, time.monotonic() + 0.1)
    model.run("x", {"a": rows[:1]}, time.monotonic() + 10)
    assert model.session.sizes == [64, 64, 2, 64, 1]
    model.close()


def test_a_running_request_is_answered_when_the_server_stops(repository, monkeypatch, post):
    session = Slow()
    with DevelopmentServer({"dense": repository / "models/dense"}, port=0) as development:
        model = development.models["dense"]
        real, model.session = model.session, session
        session.signatures = real.signatures
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            body = json.dumps({"inputs": {"z": [[1, 2]]}})
            answer = pool.submit(post, development.url, body)
            assert session.running.wait(5)
            development.stop()
            assert answer.result() == (200, {"outputs": [[1.0, 2.0]]})
        real.close()
        with pytest.raises(ConnectionRefusedError):
            post(development.url, body)
        development.stop = lambda: None


def test_what_was_sent_before_it_stops_is_answered(repository):
    session = Slow()
    with DevelopmentServer({"dense": repository / "models/dense"}, port=0) as development:
        model = development.models["dense"]
        real, model.session = model.session, session
        session.signatures = real.signatures
        body = json.dumps({"inputs": {"z": [[1, 2]]}}).encode()
        with contextlib.ExitStack() as stack:
            address = development.server_address[:2]
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
            for client in clients[1:]:  # The first one says nothing, and is let go.
                client.sendall(HEAD % len(body) + body)
            development.stop()
            for client in clients[1:]:
                answer = http.client.HTTPResponse(client)
                answer.begin()
                assert (answer.status, answer.headers["Connection"]) == (200, "close")
        real.close()
        development.stop = lambda: None


# A short form of `make stress`, whose parts the tests above and `test_batching.py` do.


@pytest.mark.slow
def test_a_short_soak(repository):
    import importlib.util

    spec = importlib.util.spec_from_file_location("soak", ROOT / "tests" / "export" / "soak.py")
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    process, host, port = soak.start(repository)
    try:
        clients = soak.Soak(host, port, "dense", process.pid)
        found = clients.run(seconds=1.5, clients=6)
        assert not found["errors"] and found["kinds"]["generate"] and found["kinds"]["decode"]
        assert clients.size()[0] < 1500
        assert clients.stop(process) == [200] * 8
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()
