"""Served models: round trips by REST and gRPC, and `kvae serve`."""

import base64
import io
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import export
from export.serving import addresses, backends
from export.serving.development import grpc_api
from export.serving.development.server import DevelopmentServer
from export.serving.repository import find_models
from kvae.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    return z, encoded


def check_everything(client, dense, images, version=1):
    z, encoded = check_round_trip(client, dense, images, version)
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
    check_everything(client, dense, images)


# By default what REST answers above as well is left out.
@pytest.mark.parametrize(
    "check", [check_round_trip, pytest.param(check_everything, marks=pytest.mark.slow)]
)
def test_round_trip_by_grpc(check, repository, dense, images):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    # In this process, which has TensorFlow already: the stubs import it.
    with (
        DevelopmentServer({"dense": repository / "models/dense"}, port=0) as development,
        grpc_api.serve(development, "127.0.0.1", 0) as port,
        export.Client(f"grpc://127.0.0.1:{port}", "dense", timeout=60) as client,
    ):
        client.wait_until_ready(30)
        check(client, dense, images)
        with pytest.raises(export.ServingError, match="NOT_FOUND.*nothing"):
            export.Client(f"grpc://127.0.0.1:{port}", "nothing").decode(np.zeros((1, 2)))
        # What the client would not send: the server says what is wrong with it.
        known = client._signature("serving_default", time.monotonic() + 5)
        inputs = {"z": np.full((1, 2), np.nan, np.float32)}
        with pytest.raises(export.ServingError, match="INVALID_ARGUMENT.*not finite"):
            client._transport.predict(time.monotonic() + 5, "serving_default", inputs, known)
        with pytest.raises(OSError, match="taken. Choose another one with --grpc-port"):
            with grpc_api.serve(development, "127.0.0.1", port):
                pass


def test_png_files_are_sent_as_they_are(dense, tmp_path, post):
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
    with DevelopmentServer(find_models(tmp_path), port=0) as development:
        client = export.Client(development.url, "png")
        np.testing.assert_allclose(client.embed(files), expected, atol=1e-5)
        np.testing.assert_allclose(client.embed(files[0]), expected[:1], atol=1e-5)
        with pytest.raises(ValueError, match="takes bytes"):
            client.embed(["file.png"])
        for inputs, message in (
            ([{"b64": "&"}], "not base64"),
            ([3], "holds strings, or bytes"),
            ([{"b64": "bm90IGEgcGljdHVyZQ=="}], "is a PNG or a JPEG file"),
            ([{"b64": base64.b64encode(b"").decode()}], "is a PNG or a JPEG file"),
            # It says to be of 3.6 billion pixels.
            ([{"b64": base64.b64encode(bomb).decode()}], "from 1 to 16777216 pixels"),
        ):
            body = json.dumps({"signature_name": "embed", "inputs": inputs})
            status, answer = post(development.url, body, "/v1/models/png:predict")
            assert status == 400 and re.search(message, answer["error"]), answer


def test_the_readme_s_calls_work(running, repository, post):
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
    assert backends.choose() == "development"
    for backend, message in (("docker", "Docker does not answer"), ("model_server", "no tensorf")):
        with pytest.raises(FileNotFoundError, match=message):
            backends.choose(backend)
    programs("docker", "exit 1")  # The command without its daemon.
    assert backends.choose() == "development"
    programs("docker")
    assert backends.choose() == backends.choose("docker") == "docker"
    programs("tensorflow_model_server")
    assert backends.choose() == "model_server"
    assert backends.choose("development") == "development"
    with pytest.raises(ValueError, match="`backend` is one of auto"):
        backends.choose("other")


def test_tensorflow_serving_gets_the_repository(programs, repository, capfd):
    recorded = programs(
        "tensorflow_model_server",
        'for a in "$@"; do case $a in --model_config_file=*) while read -r line; do '
        'echo "$line"; done < "${a#*=}";; esac; done\nexit 3',
    )
    everywhere = ["--host", "0.0.0.0", "--port", "18501", "--grpc-port", "18500"]
    assert main(["serve", str(repository), *everywhere]) == 3
    arguments = recorded.read_text().splitlines()
    assert {"--rest_api_port=18501", "--port=18500", "--enable_batching=true"} <= set(arguments)
    assert f"--batching_parameters_file={repository}/batching_params.pbtxt" in arguments
    out = capfd.readouterr().out
    assert f'base_path: "{repository}/models/dense"' in out
    # It is open to all, and that is what is said of it.
    assert "http://0.0.0.0:18501/v1/models/dense:predict" in out and "grpc://0.0.0.0:18500" in out
    assert "every interface of this machine listens" in out and "localhost" not in out
    # A folder of versions, which has no configuration.
    assert main(["serve", str(repository / "models/dense"), "--name", "x", *everywhere]) == 3
    assert f'name: "x" base_path: "{repository}/models/dense"' in capfd.readouterr().out


@pytest.mark.parametrize("host", [None, "127.0.0.1", "localhost", "192.0.2.7", "::1", "::"])
def test_tensorflow_serving_is_not_started_where_it_cannot_be_kept_to_a_host(
    programs, repository, capfd, host
):
    recorded = programs("tensorflow_model_server")
    command = ["serve", str(repository)] + ([] if host is None else ["--host", host])
    assert main(command) == 2 and not recorded.exists()
    error = capfd.readouterr().err
    kept = "127.0.0.1" if host in (None, "localhost") else host
    assert f"cannot be kept to {kept}. Allow that with --host 0.0.0.0" in error
    assert "reverse proxy" in error and "--backend docker" in error and len(error.splitlines()) == 1


def test_addresses_of_hosts():
    for host, address in (("localhost", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "0.0.0.0")):
        assert addresses.resolved(host) == address
    with pytest.raises(ValueError, match="--host 'no such host' is no address"):
        addresses.resolved("no such host")
    assert addresses.joined("::1", 8501) == "[::1]:8501"
    assert addresses.everywhere("0.0.0.0") and addresses.everywhere("::")
    assert not addresses.everywhere("127.0.0.1")


def test_docker_gets_the_repository(programs, repository, capfd):
    recorded = programs("docker")
    assert main(["serve", str(repository), "--port", "18501", "--image", "serving:1"]) == 0
    arguments = recorded.read_text().splitlines()
    assert arguments[:2] == ["run", "--rm"] and "127.0.0.1:18501:8501" in arguments
    assert "127.0.0.1:8500:8500" in arguments
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true"} <= set(
        arguments
    )
    assert any(re.fullmatch(r"--user=[1-9]\d*:\d+", argument) for argument in arguments)
    assert f"{repository}:/repository:ro" in arguments
    assert arguments[arguments.index("serving:1") + 1 :][:1] == [
        "--model_config_file=/repository/models.config"
    ]
    assert main(["serve", str(repository), "--name", "dense", "--backend", "docker"]) == 0
    assert main(["serve", str(repository / "models/dense"), "--name", "x"]) == 0
    arguments = recorded.read_text().splitlines()
    assert "MODEL_NAME=x" in arguments and f"{repository}/models/dense:/models/x:ro" in arguments
    out = capfd.readouterr().out
    assert "http://127.0.0.1:8501" in out and "every interface" not in out
    # Docker publishes at addresses, and does not know names.
    for host, address in (("localhost", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "0.0.0.0")):
        assert main(["serve", str(repository), "--host", host]) == 0
        arguments = recorded.read_text().splitlines()
        assert {f"{address}:8501:8501", f"{address}:8500:8500"} <= set(arguments)
    assert "every interface of this machine listens" in capfd.readouterr().out


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


@pytest.mark.slow
def test_a_model_file_is_exported_and_served(dense, tmp_path, monkeypatch, capsys):
    dense.save(tmp_path / "mine.keras")
    served = {}

    def run(models, host, port, grpc_port, limits):
        served.update(models)
        assert (models["mine"] / "1" / "saved_model.pb").is_file()
        assert (host, port, grpc_port, limits.max_bytes) == ("127.0.0.1", 1, None, 2_000_000)
        return 0

    monkeypatch.setattr("export.serving.development.run.run", run)
    command = ["serve", str(tmp_path / "mine.keras"), "--port", "1", "--max-request-mb", "2"]
    assert main([*command, "--backend", "development", "--no-grpc"]) == 0
    assert list(served) == ["mine"] and not served["mine"].exists()
    assert main(["serve", str(tmp_path), "--backend", "development"]) == 2
    assert "no model to serve" in capsys.readouterr().err


# TensorFlow Serving itself, where it is installed or Docker runs it (`make serving-test`).


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module", params=["model_server", "docker"])
def official(request, dense, tmp_path_factory):
    """REST and gRPC ports of a server that `kvae serve` has started over two versions."""
    try:
        backends.choose(request.param)
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
        + ["--host", "0.0.0.0", "--port", str(rest), "--grpc-port", str(grpc)],
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
        check_everything(client, dense, images, version=2)


@pytest.mark.slow
def test_tensorflow_serving_answers_by_grpc(official, dense, images):
    pytest.importorskip("tensorflow_serving")
    with export.Client(f"grpc://127.0.0.1:{official[1]}", "dense", timeout=60) as client:
        client.wait_until_ready(60)
        check_everything(client, dense, images, version=2)
