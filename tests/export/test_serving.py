"""The development server and the client: what goes in comes back, and nothing else does."""

import base64
import concurrent.futures
import contextlib
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

import numpy as np
import pytest

import export
from export import client as clients
from export import server, serving
from export.runtime import signatures
from kvae.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[2]


def start(path, *arguments):
    """A server in a process of its own; returns it and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "export.server", str(path), "--port", "0", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "development" in line:
            break
    text = "".join(lines)
    if process.poll() is not None:
        raise AssertionError(process.stderr.read())
    return process, re.search(r"http://[^/]+", text)[0]


@pytest.fixture(scope="module")
def repository(dense, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    export.publish(dense, folder, "dense", verify=False)
    return folder


@pytest.fixture(scope="module")
def running(repository):
    process, url = start(repository, "--max-bytes", "200000", "--timeout", "20")
    yield url, process
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "stopping" in process.stdout.read()


@pytest.fixture(scope="module")
def client(running):
    return export.Client(running[0], "dense", timeout=20)


def post(url, body, path="/v1/models/dense:predict", headers=None, method="POST"):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=20)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    data = json.loads(response.read())
    connection.close()
    return response.status, data


def check_round_trip(client, dense, images, version=1):
    z = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    np.testing.assert_allclose(client.decode(z), dense.decode(z), atol=1e-6)
    encoded = client.encode(images[:4])
    for name, value in dense.encode(images[:4]).items():
        assert encoded[name].dtype == np.float32
        np.testing.assert_allclose(encoded[name], value, atol=1e-5)
    np.testing.assert_allclose(
        client.reconstruct(images[:4]), dense.reconstruct(images[:4]), atol=1e-6
    )
    drawn = client.generate([7, 2**61])
    np.testing.assert_allclose(drawn.image[:1], dense.sample(1, seed=7), atol=1e-6)
    np.testing.assert_array_equal(client.generate(2**61).z, drawn.z[1:])
    assert client.status() == {version: "AVAILABLE"}
    found = client.signatures()
    assert found["encode"] == ("image",)
    np.testing.assert_allclose(client.embed(images[:2]), encoded["z_mean"][:2], atol=1e-6)
    np.testing.assert_allclose(client.generate(7, temperature=0.0).z, 0.0, atol=1e-6)
    score = client.score(images[:3], seed=5, num_samples=4)
    assert score.log_prob.shape == (3,) and np.all(score.effective_sample_size <= 4.001)
    again = client.score(images[1:2], seed=6, num_samples=4)  # Seeds count up from row to row.
    np.testing.assert_allclose(again.elbo, score.elbo[1:2], rtol=1e-6)
    way = client.interpolate(z[:1], z[1:2], steps=3)
    assert way.z.shape == (1, 3, 2)
    np.testing.assert_allclose(way.image[0, [0, 2]], client.decode(z[:2]), atol=1e-5)
    way = client.interpolate_images(images[:2], images[2:4], steps=2)
    np.testing.assert_allclose(way.z[:, 1], encoded["z_mean"][2:4], atol=1e-5)


def test_round_trip_by_rest(client, dense, images):
    check_round_trip(client, dense, images)


def test_round_trip_by_grpc(repository, dense, images):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from export import server_grpc

    # In this process, which has TensorFlow already: the stubs import it.
    with (
        server.Development({"dense": repository / "models/dense"}, port=0) as development,
        server_grpc.serving(development, "127.0.0.1", 0) as port,
        export.Client(f"grpc://127.0.0.1:{port}", "dense", timeout=60) as client,
    ):
        client.wait_until_ready(30)
        check_round_trip(client, dense, images)
        with pytest.raises(export.ServingError, match="NOT_FOUND.*nothing"):
            export.Client(f"grpc://127.0.0.1:{port}", "nothing").decode(np.zeros((1, 2)))
        # What the client would not send: the server says what is wrong with it.
        known = client._signature("serving_default", time.monotonic() + 5)
        inputs = {"z": np.full((1, 2), np.nan, np.float32)}
        with pytest.raises(export.ServingError, match="INVALID_ARGUMENT.*not finite"):
            client._transport.predict(time.monotonic() + 5, "serving_default", inputs, known)
        with pytest.raises(OSError, match="taken. Choose another one with --grpc-port"):
            with server_grpc.serving(development, "127.0.0.1", port):
                pass


def test_grpc_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ImportError, match="pip install grpcio .*tensorflow-serving-api"):
        export.Client("grpc://localhost", "dense")


def test_png_files_are_sent_as_they_are(dense, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(256, size=(2, 8, 8), dtype=np.uint8)
    files = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        files.append(file.getvalue())
    bomb = files[0][:16] + struct.pack(">II", 60_000, 60_000) + files[0][24:]
    options = {"preprocessing": "png", "signatures": ["embed"]}
    export.publish(dense, tmp_path, "png", verify=False, **options)
    expected = dense.encode(pixels[..., None] / np.float32(255))["z_mean"]
    with server.Development(server.found(tmp_path), port=0) as development:
        client = export.Client(development.url, "png")
        np.testing.assert_allclose(client.embed(files), expected, atol=1e-5)
        np.testing.assert_allclose(client.embed(files[0]), expected[:1], atol=1e-5)
        with pytest.raises(ValueError, match="takes bytes"):
            client.embed(["file.png"])
        for inputs, message in (
            ([{"b64": "&"}], "not base64"),
            ([3], "holds strings, or bytes"),
            ([{"b64": "bm90IGEgcGljdHVyZQ=="}], "sent as a PNG file"),
            ([{"b64": base64.b64encode(b"").decode()}], "sent as a PNG file"),
            # It says to be of 3.6 billion pixels.
            ([{"b64": base64.b64encode(bomb).decode()}], "at most 16777216 pixels"),
        ):
            body = json.dumps({"signature_name": "embed", "inputs": inputs})
            status, answer = post(development.url, body, "/v1/models/png:predict")
            assert status == 400 and re.search(message, answer["error"]), answer


def test_the_readme_s_calls_work(running, repository):
    readme = (repository / "README.md").read_text()
    bodies = re.findall(r"curl http://localhost:8501(\S+) \\\n    -d '(.*)'", readme)
    assert {json.loads(body)["signature_name"] for _, body in bodies} >= {
        "generate",
        "interpolate",
        "serving_default",
    }
    for path, body in bodies:
        status, answer = post(running[0], body, path)
        assert status == 200 and set(answer) == {"outputs"}
    for path in re.findall(r"curl http://localhost:8501(\S+)\n", readme):
        assert post(running[0], None, path, method="GET")[0] == 200


def test_rows_and_columns_are_two_ways_to_say_the_same(running):
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


DEEP = "[" * 100_000


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
def test_malformed_requests_are_refused_in_json(running, body, status, message):
    have, answer = post(running[0], body)
    assert have == status and set(answer) == {"error"}
    assert re.search(message, answer["error"]), answer


def test_wrong_paths_methods_and_headers(running):
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


def test_the_server_survives_clients_that_break_off(running, client):
    address = urllib.parse.urlsplit(running[0])
    for data in (b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{", b""):
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


class Scripted(clients._Rest):
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


def test_deadlines_and_the_bound_on_waiting_requests(tmp_path):
    model = server._Model("slow", tmp_path, max_pending=2)
    model.session, model.version = Slow(), 1
    now = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(model.run, "x", {"a": np.float32(1)}, now + 10)
        assert model.session.running.wait(5)
        second = pool.submit(model.run, "x", {"a": np.float32(2)}, now + 0.1)
        while model._worker._work_queue.empty():
            time.sleep(0.001)
        with pytest.raises(server.Failure, match="Too many requests") as failure:
            model.run("x", {}, now + 10)
        assert (failure.value.code, failure.value.status) == ("RESOURCE_EXHAUSTED", 429)
        with pytest.raises(server.Failure, match="time is up") as failure:
            second.result()
        assert failure.value.status == 504
        assert first.result() == (1, {"a": 1})
    # The places are free again.
    assert model.run("x", {"a": np.float32(3)}, time.monotonic() + 10) == (1, {"a": 3})
    # Of many rows some are run at a time, and none when the time is up.
    model.session = Slow()
    output = signatures.TensorInfo("x", "float32", (None, 2))
    model.session.signatures = {
        "x": signatures.Signature({"a": output, "b": output}, {"a": output}, ("b",))
    }
    rows = np.arange(260, dtype=np.float32).reshape(130, 2)
    _, done = model.run("x", {"a": rows, "b": rows[:1]}, time.monotonic() + 10)
    np.testing.assert_array_equal(done["a"], rows)
    assert model.session.sizes == [64, 64, 2]
    with pytest.raises(server.Failure, match="time is up"):
        model.run("x", {"a": rows}, time.monotonic() + 0.1)
    model.run("x", {"a": rows[:1]}, time.monotonic() + 10)
    assert model.session.sizes == [64, 64, 2, 64, 1]
    model.close()


def test_a_running_request_is_answered_when_the_server_stops(repository, monkeypatch):
    session = Slow()
    with server.Development({"dense": repository / "models/dense"}, port=0) as development:
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


def test_new_versions_are_taken_up_and_broken_ones_are_not(repository, tmp_path, capsys):
    folder = shutil.copytree(repository / "models/dense", tmp_path / "dense")
    limits = server.Limits(timeout=5)
    with server.Development({"x": folder}, port=0, limits=limits, poll=0.05) as development:
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
            assert done()

        wait(lambda: client.status() == {2: "AVAILABLE"})
        os.rename(broken, folder / "3")
        wait(lambda: development.models["x"].error)
        assert client.status() == {2: "AVAILABLE"}
        with pytest.raises(OSError, match="taken. Choose another one with --port"):
            server.Development(
                {"x": repository / "models/dense"}, port=development.server_address[1]
            )


def test_what_is_found_to_serve(repository, tmp_path):
    folder = repository / "models" / "dense"
    assert server.found(repository) == server.found(repository, "dense") == {"dense": folder}
    assert server.found(folder, "other") == {"other": folder}
    assert server.found(folder / "1") == {"dense": folder}
    with pytest.raises(ValueError, match="has no model 'x'. It has: dense"):
        server.found(repository, "x")
    with pytest.raises(FileNotFoundError, match="no model to serve in .*kvae export"):
        server.found(tmp_path)


# `kvae serve`.


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Nothing on the PATH but what `programs(name, script)` puts there; calls are recorded."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")

    def add(name, body=""):
        script = folder / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/{name}.arguments\n{body}\n')
        script.chmod(0o755)
        return folder / f"{name}.arguments"

    return add


def test_the_backend_is_what_is_there(programs):
    assert serving.choose() == "development"
    for backend, message in (("docker", "Docker does not answer"), ("model_server", "no tensorf")):
        with pytest.raises(FileNotFoundError, match=message):
            serving.choose(backend)
    programs("docker", "exit 1")  # The command without its daemon.
    assert serving.choose() == "development"
    programs("docker")
    assert serving.choose() == serving.choose("docker") == "docker"
    programs("tensorflow_model_server")
    assert serving.choose() == "model_server"
    assert serving.choose("development") == "development"
    with pytest.raises(ValueError, match="`backend` is one of auto"):
        serving.choose("other")


def test_tensorflow_serving_gets_the_repository(programs, repository, capfd):
    recorded = programs(
        "tensorflow_model_server",
        'for a in "$@"; do case $a in --model_config_file=*) while read -r line; do '
        'echo "$line"; done < "${a#*=}";; esac; done\nexit 3',
    )
    status = main(["serve", str(repository), "--port", "18501", "--grpc-port", "18500"])
    assert status == 3
    arguments = recorded.read_text().splitlines()
    assert {"--rest_api_port=18501", "--port=18500", "--enable_batching=true"} <= set(arguments)
    assert f"--batching_parameters_file={repository}/batching_params.pbtxt" in arguments
    out = capfd.readouterr().out
    assert f'base_path: "{repository}/models/dense"' in out
    assert "http://localhost:18501/v1/models/dense:predict" in out
    # A folder of versions, which has no configuration.
    assert main(["serve", str(repository / "models/dense"), "--name", "x"]) == 3
    assert f'name: "x" base_path: "{repository}/models/dense"' in capfd.readouterr().out


def test_docker_gets_the_repository(programs, repository):
    recorded = programs("docker")
    assert main(["serve", str(repository), "--port", "18501", "--image", "serving:1"]) == 0
    arguments = recorded.read_text().splitlines()
    assert arguments[:2] == ["run", "--rm"] and "127.0.0.1:18501:8501" in arguments
    assert f"{repository}:/repository:ro" in arguments
    assert arguments[arguments.index("serving:1") + 1 :][:1] == [
        "--model_config_file=/repository/models.config"
    ]
    assert main(["serve", str(repository), "--name", "dense", "--backend", "docker"]) == 0
    assert main(["serve", str(repository / "models/dense"), "--name", "x"]) == 0
    arguments = recorded.read_text().splitlines()
    assert "MODEL_NAME=x" in arguments and f"{repository}/models/dense:/models/x:ro" in arguments


def test_the_command_serves_for_development(repository, images):
    process = subprocess.Popen(
        [sys.executable, "-m", "kvae", "serve", str(repository), "--backend", "development"]
        + ["--port", "0", "--no-grpc"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    text = ""
    while "Ctrl-C" not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    assert "development server" in text and "dense: version 1" in text
    client = export.Client(re.search(r"http://[^/]+", text)[0], "dense")
    assert client.reconstruct(images[:2]).shape == (2, 8, 8, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_model_file_is_exported_and_served(dense, tmp_path, monkeypatch, capsys):
    dense.save(tmp_path / "mine.keras")
    served = {}

    def run(models, host, port, grpc_port, limits):
        served.update(models)
        assert (models["mine"] / "1" / "saved_model.pb").is_file()
        assert (host, port, grpc_port, limits.max_bytes) == ("127.0.0.1", 1, None, 2_000_000)
        return 0

    monkeypatch.setattr(server, "run", run)
    command = ["serve", str(tmp_path / "mine.keras"), "--port", "1", "--max-request-mb", "2"]
    assert main([*command, "--backend", "development", "--no-grpc"]) == 0
    assert list(served) == ["mine"] and not served["mine"].exists()
    assert main(["serve", str(tmp_path), "--backend", "development"]) == 2
    assert "no model to serve" in capsys.readouterr().err


# What clients may cost.


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_a_request_may_cost_is_bounded(repository):
    limits = server.Limits(timeout=20, max_bytes=50_000, max_connections=3)
    with server.Development(
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
        with development.budget.taken(4 * 50_000 - 3):
            status, answer = post(url, body)
            assert status == 429 and "too many bytes" in answer["error"]
        assert post(url, body)[0] == 200
        wait_for(lambda: development.budget.free == 4 * 50_000)
        # A string among short ones is not copied for each of them.
        body = '{"inputs": [["' + "x" * 20_000 + '"]' + ', [""]' * 4_000 + "]}"
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
    limits = server.Limits(timeout=0.5)
    with server.Development(
        {"dense": repository / "models/dense"}, port=0, limits=limits
    ) as development:
        address = development.server_address[:2]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
            _, header, slow = clients
            header.sendall(b"POST /v1/models/dense:predict HTTP/1.1\r\n")
            slow.sendall(b"POST /v1/models/dense:predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n")
            for _ in range(7):  # A byte now and then does not give it more time.
                time.sleep(0.1)
                with contextlib.suppress(OSError):
                    header.sendall(b"X")
                    slow.sendall(b"{")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
            wait_for(lambda: not development._connections)  # In 0.5 s, on a quiet machine.


def test_what_was_sent_before_it_stops_is_answered(repository):
    session = Slow()
    with server.Development({"dense": repository / "models/dense"}, port=0) as development:
        model = development.models["dense"]
        real, model.session = model.session, session
        session.signatures = real.signatures
        body = json.dumps({"inputs": {"z": [[1, 2]]}}).encode()
        head = b"POST /v1/models/dense:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        with contextlib.ExitStack() as stack:
            address = development.server_address[:2]
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(4)]
            for client in clients[1:]:  # The first one says nothing, and is let go.
                client.sendall(head + body)
            development.stop()
            for client in clients[1:]:
                answer = http.client.HTTPResponse(client)
                answer.begin()
                assert (answer.status, answer.headers["Connection"]) == (200, "close")
        real.close()
        development.stop = lambda: None


def test_wrong_tensors_by_grpc(repository):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    import tensorflow as tf

    from export import server_grpc

    grpc, stubs = server_grpc.modules()
    limits = server.Limits(timeout=20, max_bytes=100_000)
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
        server.Development(folder, port=0, limits=limits) as development,
        server_grpc.serving(development, "127.0.0.1", 0) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        predict = stubs("prediction_service_pb2_grpc").PredictionServiceStub(channel).Predict
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
            request = stubs("predict_pb2").PredictRequest()
            request.model_spec.name = "dense"
            fill(request.inputs["z"])
            with pytest.raises(grpc.RpcError) as failure:
                predict(request, timeout=20)
            assert failure.value.code().name == code, failure.value
            assert text in failure.value.details(), failure.value
        request = stubs("predict_pb2").PredictRequest()
        request.model_spec.name = "dense"
        change(float_val=[0.0])(request.inputs["z"])  # One for all, as TensorFlow has it.
        assert len(predict(request, timeout=20).outputs) == 2


# A short form of `make stress`.


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


# TensorFlow Serving itself, where it is installed or Docker runs it (`make serving-test`).


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module", params=["model_server", "docker"])
def official(request, dense, tmp_path_factory):
    """REST and gRPC ports of a server that `kvae serve` has started over two versions."""
    try:
        serving.choose(request.param)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("official")
    folder.chmod(0o755)  # The container's user is another one.
    for _ in range(2):
        export.publish(dense, folder, "dense", verify=False)
    rest, grpc = free_port(), free_port()
    log = (folder / "server.log").open("w+")
    server = subprocess.Popen(
        [sys.executable, "-m", "kvae", "serve", str(folder), "--backend", request.param]
        + ["--port", str(rest), "--grpc-port", str(grpc)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        with export.Client(f"http://127.0.0.1:{rest}", "dense") as client:
            client.wait_until_ready(600)  # Docker may have to fetch the image.
        yield rest, grpc
    finally:
        server.terminate()
        server.wait(60)
        log.seek(0)
        print(log.read())  # Shown where a test fails.


@pytest.mark.slow
def test_tensorflow_serving_answers_by_rest(official, dense, images):
    with export.Client(f"http://127.0.0.1:{official[0]}", "dense", timeout=60) as client:
        check_round_trip(client, dense, images, version=2)


@pytest.mark.slow
def test_tensorflow_serving_answers_by_grpc(official, dense, images):
    pytest.importorskip("tensorflow_serving")
    with export.Client(f"grpc://127.0.0.1:{official[1]}", "dense", timeout=60) as client:
        client.wait_until_ready(60)
        check_round_trip(client, dense, images, version=2)
