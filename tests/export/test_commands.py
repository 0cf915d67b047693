"""Wrong arguments of `kvae export`, `verify` and `serve`: one line that says what to do."""

import re
import socket

import pytest

from export.serving import backends
from kvae.cli import main

VAE = "dense_vae.digits"
DEVELOPMENT = ("--backend", "development", "--port", "0")


@pytest.fixture
def folder(tmp_path, monkeypatch, processes):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("file", "x.tflite", "x.onnx", "x.keras"):
        (tmp_path / name).write_text("no model")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_text("no model")
    return tmp_path


def error(capfd, *arguments):
    """The one line on standard error, of TensorFlow's C++ as well."""
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = stop.code
    text = capfd.readouterr().err
    assert status == 2 and text.startswith("kvae: error: ") and text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nope"], "Unknown model 'nope'"),
        (["export", "nowhere/nope"], "There is no nowhere/nope. Give the path of a .keras file"),
        (["export", "nope.keras"], "There is no model file nope.keras. Give"),
        (["export", "empty"], "empty is a folder, not a model: give a .keras file"),
        (["export", VAE, "-f", "pdf"], "invalid choice: 'pdf'"),
        (["export", VAE, "-f", "onnx", "--precision", "int8"], "for --format tflite or web, not"),
        (["export", VAE, "-f", "onnx", "--parts", "both"], "--parts decoder or --parts encoder"),
        (
            ["export", VAE, "-f", "web", "--precision", "int8"],
            "--precision float32 or --precision float16",
        ),
        (["export", VAE, "-f", "repository", "--version", "3"], "--version is for"),
        (["export", VAE, "--parts", "encoder"], "--parts is for --format onnx or tflite, not"),
        (["export", VAE, "--batch-size", "3"], "--batch-size is for --format tflite, not saved_m"),
        (["export", VAE, "-f", "tflite", "-o", "empty"], "empty: it is a folder. Give a file"),
        (["export", VAE, "-f", "onnx", "-o", "empty"], "empty: it is a folder. Give a file"),
        (["export", VAE, "-f", "onnx", "-o", "file/below"], "file is a file, not a folder"),
        (["export", VAE, "-f", "tflite", "-o", "file/below"], "file is a file, not a folder"),
        (["export", VAE, "-f", "web", "-o", "file"], "file is a file, not a folder"),
        (["export", VAE, "-f", "repository", "-o", "file"], "file is a file, not a folder"),
        (["export", VAE, "-f", "tflite", "-o", "/proc/x/y"], "folder that you may write to"),
        (["verify", "nowhere"], "There is no nowhere. Check the path"),
        (["verify", "empty"], "empty holds neither a SavedModel nor versions"),
        (["verify", "broken"], "is damaged or was cut off: it does not parse"),
        (["verify", "x.keras"], "Export it first, with `kvae export x.keras`"),
        (["verify", "x.onnx", "--gpu"], "accelerators are for .tflite files"),
        (["verify", "x.tflite", "--gpu"], "x.tflite cannot be loaded: it is not a TFLite file"),
        (["verify", "x.tflite", "--model", "nope"], "Unknown model 'nope'"),
        (["serve", VAE, "--port", "99999"], "--port: invalid port from 0"),
        (["serve", VAE, "--grpc-port", "x"], "--grpc-port: invalid port from 0"),
        (["serve", VAE, "--backend", "x"], "invalid choice: 'x'"),
        (["serve", VAE, "--timeout", "0"], "invalid positive number value: '0'"),
        (["serve", "nope", *DEVELOPMENT], "Unknown model 'nope'"),
        (["serve", "empty", *DEVELOPMENT], "kvae export NAME --format repository"),
        (["serve", "x.tflite", *DEVELOPMENT], "x.tflite is no model file"),
        (["serve", "broken", *DEVELOPMENT], "cannot be served: version 1: .*Export it again"),
        (["serve", "broken", "--name", "a/b", *DEVELOPMENT], "no name that can be served"),
    ],
)
def test_wrong_arguments_are_one_line_that_says_what_to_do(folder, capfd, arguments, message):
    text = error(capfd, *arguments)
    assert re.search(message, text), text


def test_a_port_or_a_host_that_is_not_to_be_had(folder, dense_path, capfd, monkeypatch):
    models = str(dense_path.parent)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        text = error(capfd, "serve", models, "--backend", "development", "--port", port)
        assert f"Port {port} is taken. Choose another one with --port" in text
        text = error(capfd, "serve", models, *DEVELOPMENT, "--grpc-port", port)
        assert f"Port {port} is taken. Choose another one with --grpc-port" in text
        # A server of TensorFlow's listens at every address, also at this one.
        with monkeypatch.context() as patch:
            patch.setattr(backends, "choose", lambda backend: "model_server")
            for option in "--port", "--grpc-port":
                ports = {"--port": "0", "--grpc-port": "0", option: port}
                words = [word for pair in ports.items() for word in pair] + ["--host", "0.0.0.0"]
                assert f"another one with {option}." in error(capfd, "serve", VAE, *words)
        # Before a model is loaded and exported.
        text = error(capfd, "serve", VAE, "--backend", "development", "--port", port)
        assert f"Port {port} is taken. Choose another one with --port" in text
    text = error(capfd, "serve", models, *DEVELOPMENT, "--no-grpc", "--host", "203.0.113.1")
    assert "Cannot listen at 203.0.113.1:0 (" in text and "with --host" in text
