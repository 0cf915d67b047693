"""ONNX files: what is in them, and their numbers in ONNX Runtime and in OpenVINO."""

import errno
import os

import keras
import numpy as np
import pytest

import export
import kvae
import zoo
from export.runtimes import onnx_runtime
from export.writers import onnx

for package in ("tf2onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def decoder(conv, tmp_path_factory):
    """With normalisation and transposed convolutions, whose axes ONNX orders otherwise."""
    return export.onnx(conv, tmp_path_factory.mktemp("onnx") / "new" / "conv.onnx")


def in_openvino(path, inputs):
    """The outputs by name, computed in 32 bits."""
    import openvino

    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", precise)
    return {output.any_name: array for output, array in compiled(inputs).items()}


def test_a_decoder_has_the_models_numbers_in_two_runtimes(decoder, conv):
    report = export.verify(decoder, conv, batch_sizes=(1, 7))
    assert report.ok and report.max_abs_error <= 1e-5, str(report)
    assert "ONNX Runtime" in report.rows[0].runtime
    assert {row.output for row in report.rows} == {"image", *conv.decode_params(np.zeros((1, 4)))}
    z = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    found = in_openvino(decoder, {"z": z})
    np.testing.assert_allclose(found["image"], conv.decode(z), atol=1e-5)
    # The file holds this model and no other.
    other = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=4, hidden=(4,))
    assert not export.verify(decoder, other, batch_sizes=(3,)).ok


def test_an_encoder_with_its_card(dense, images, tmp_path):
    card = zoo.card("dense_vae.digits")
    path = export.onnx(dense, tmp_path / "encoder.onnx", part="encoder", card=card)
    assert export.verify(path, dense, batch_sizes=(2, 3)).ok
    file = onnx_runtime.Model(path)
    assert file.metadata["license"] == card.license and file.metadata["latent_dim"] == 2
    assert set(file.signatures) == {"encode"}
    assert file.signatures["encode"]["inputs"] == {
        "image": {"dtype": "float32", "shape": [None, 8, 8, 1]}
    }
    found, params = in_openvino(path, {"image": images[:4]}), dense.encode(images[:4])
    for name in ("z_mean", "z_log_var"):
        np.testing.assert_allclose(found[name], params[name], atol=1e-5)
    with pytest.raises(ValueError, match="no signature 'decode'. It has: encode"):
        file.run("decode", {"image": images[:4]})


@pytest.mark.slow
def test_labels_of_a_conditional_model(tmp_path):
    shape = {"event_shape": (4, 4, 1), "latent_dim": 2, "hidden": (4,)}
    model = zoo.build("dense_vae", num_classes=3, **shape)
    path = export.onnx(model, tmp_path / "x.onnx")
    assert export.verify(path, model, batch_sizes=(4,)).ok
    z, label = np.zeros((3, 2), np.float32), np.arange(3)
    image = onnx_runtime.Model(path).run("serving_default", {"z": z, "label": label})["image"]
    np.testing.assert_allclose(image, model.decode(z, label), atol=1e-5)
    assert np.ptp(image, axis=0).max() > 1e-3


def test_damaged_files_are_refused(decoder, tmp_path):
    data, path = decoder.read_bytes(), tmp_path / "x.onnx"
    rng = np.random.default_rng(0)
    places = {0, 1, len(data) - 1, data.find(b"kvae.json"), data.rfind(b"kvae.sha256:")}
    for place in places | set(rng.integers(len(data), size=50).tolist()):
        changed = bytes([data[place] ^ 1 << int(rng.integers(8))])
        path.write_bytes(data[:place] + changed + data[place + 1 :])
        with pytest.raises(ValueError, match="cut off or altered: its SHA-256 differs"):
            onnx_runtime.Model(path)
    for size in (0, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(Exception, match="SHA-256|[Pp]rotobuf|ModelProto|empty|graph"):
            onnx_runtime.Model(path)


def test_what_does_not_go_is_named_and_leaves_nothing(dense, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    with pytest.raises(ValueError, match="Unknown part 'decode'. Did you mean 'decoder'"):
        export.onnx(dense, path, part="decode")
    with pytest.raises(ValueError, match="not built"):
        unbuilt = keras.Sequential([keras.layers.Dense(4)])
        export.onnx(kvae.VAE(unbuilt, dense.decoder, latent_dim=2), path)
    with pytest.raises(TypeError, match="kvae.VAE"):
        export.onnx(dense.decoder, path)

    def fill_up(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(onnx, "_convert", fill_up)
        with pytest.raises(OSError, match=r"is full .* and .*x\.onnx was not written"):
            export.onnx(dense, path)
    # The tf2onnx command is content with files that no runtime takes.
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "_convert", lambda *_: b"nothing")
        with pytest.raises(ValueError, match="does not run, so .*x.onnx was not written"):
            export.onnx(dense, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["decoder", "encoder"])
@pytest.mark.parametrize("name", zoo.list_models(untrained=True))
def test_every_model_of_the_zoo(name, part, tmp_path):
    card = zoo.card(name)
    model = zoo.load(name) if card.trained else zoo.build(card.architecture, **card.arguments)
    path = export.onnx(model, tmp_path / "x.onnx", part=part, card=card)
    report = export.verify(path, model, batch_sizes=(1, 7))
    assert report.ok, str(report)
