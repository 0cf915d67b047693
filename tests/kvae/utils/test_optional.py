"""A missing package is named, with the extra that installs it."""

import sys

import keras
import numpy as np
import pytest

import export
import kvae
import zoo
from export.runtimes import litert, onnx_runtime, open_vino
from kvae.cli import common, main
from kvae.utils import optional


@pytest.fixture(scope="module")
def vae():
    model = zoo.build("dense_vae", event_shape=(4, 4, 1), latent_dim=2, hidden=(4,))
    model.compile("adam")
    return model


# A function for each package that needs it. It takes a model and a path.
ASKS = {
    "ai_edge_litert": [
        lambda vae, path: export.tflite(vae, path / "x.tflite"),
        lambda vae, path: litert.require(),
    ],
    "grpc": [lambda vae, path: export.Client("grpc://localhost", "m")],
    "huggingface_hub": [
        lambda vae, path: zoo.load("hf://me/vae"),
        lambda vae, path: zoo.push_to_hub(vae, "me/vae"),
    ],
    "keras_tuner": [
        lambda vae, path: kvae.training.sweep(None, (1,), (2,), None, None, epochs=1, folder=path)
    ],
    "narwhals": [
        lambda vae, path: kvae.tables.Table.from_frame({"x": [1.0, 2.0]}),
        lambda vae, path: kvae.tables.frame(kvae.datasets.info("breast_cancer").schema, [[0.0]]),
    ],
    "onnx": [lambda vae, path: export.onnx(vae, path / "x.onnx")],
    "onnxruntime": [
        lambda vae, path: export.onnx(vae, path / "x.onnx"),
        lambda vae, path: onnx_runtime.require(),
    ],
    "openvino": [lambda vae, path: open_vino.require()],
    "pyarrow": [lambda vae, path: kvae.datasets.from_path(path.parent / "t.parquet")],
    "tensorboard": [
        lambda vae, path: vae.fit(
            np.zeros((2, 4, 4, 1)), callbacks=[keras.callbacks.TensorBoard(path)]
        )
    ],
    "tensorflow_serving": [lambda vae, path: export.Client("grpc://localhost", "m")],
    "tf2onnx": [lambda vae, path: export.onnx(vae, path / "x.onnx")],
}


@pytest.mark.parametrize("package", ASKS)
def test_missing_package_is_named_with_its_extra(package, vae, tmp_path, monkeypatch):
    """Before any work is done: nothing is written, and no weight is changed."""
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    folder = tmp_path / "written"
    folder.mkdir()
    command = f"pip install 'keras-kvae[{optional.EXTRAS[package]}]'"
    for ask in ASKS[package]:
        with pytest.raises(ModuleNotFoundError) as error:
            ask(vae, folder)
        assert str(error.value).endswith(
            f"the package {package}, which is not installed: {command}"
        )
    assert list(folder.iterdir()) == []
    assert int(vae.optimizer.iterations) == 0


def test_every_optional_package_is_asked_for_here():
    assert set(ASKS) == set(optional.EXTRAS)


def test_broken_package_says_why_beside_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "keras_tuner.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras_tuner", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"no_such_module.*'keras-kvae\[sweep\]'"):
        optional.load("keras_tuner", purpose="A sweep")


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("tf2onnx", "export dense_vae.digits --format onnx"),
        ("ai_edge_litert", "export dense_vae.digits --format tflite"),
        ("ai_edge_litert", "export dense_vae.digits --format web"),
        ("keras_tuner", "sweep dense_vae"),
    ],
)
def test_commands_say_it_before_they_load_anything(package, words, monkeypatch, capsys):

    def loads(*arguments):
        pytest.fail("It is loaded before the package is looked for.")

    for name in ("load_model", "quiet_tensorflow"):
        monkeypatch.setattr(common, name, loads)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(words.split()) == 2
    assert optional.install(package) in capsys.readouterr().err
