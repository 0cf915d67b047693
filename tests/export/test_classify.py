"""The signature `classify`: the probabilities of the classes, without a label."""

import numpy as np
import pytest

import export
import zoo
from export.runtimes import litert

EVENT, CLASSES = (6,), 3
X = (np.random.default_rng(0).random((5, *EVENT)) < 0.5).astype("float32")


@pytest.fixture(scope="module")
def model():
    vae = zoo.build(
        "m2_vae",
        event_shape=EVENT,
        latent_dim=2,
        hidden=(4,),
        num_classes=CLASSES,
        missing="zero",
    )
    assert np.ptp(np.asarray(vae.predict_proba(X))) > 0.05
    return vae


def test_a_tflite_file_classifies(model, tmp_path):
    path = export.tflite(model, tmp_path / "m.tflite", batch_size=5, parts="classify")
    mask = np.arange(X.size).reshape(X.shape) % 3 > 0
    found = litert.Model(path).run("classify", {"image": X, "mask": mask.astype("float32")})
    wanted = model.predict_proba(X, mask=mask)
    np.testing.assert_allclose(found["probabilities"], wanted, atol=1e-6)


def test_other_models_do_not(dense, tmp_path):
    with pytest.raises(ValueError, match=r"no signature 'classify': the model has no classifier"):
        export.tflite(dense, tmp_path / "m.tflite", parts="classify")


@pytest.mark.slow  # By default `test_specification.py` writes one, and LiteRT runs the graph above.
def test_every_format_is_verified_and_served(model, tmp_path):
    paths = [
        export.saved_model(model, tmp_path / "m"),
        export.tflite(model, tmp_path / "all.tflite", parts="all"),
        export.tflite(model, tmp_path / "m.tflite", "int8", calibration=X, parts="classify"),
        export.onnx(model, tmp_path / "m.onnx", "classify"),
    ]
    for path in paths:
        report = export.verify(path, model, batch_sizes=(1, 7))
        assert report.ok, str(report)
        assert "probabilities" in {row.output for row in report.rows}
    with export.DevelopmentServer({"m": tmp_path / "m"}, port=0) as server:
        client = export.Client(server.url, "m")
        np.testing.assert_allclose(client.classify(X), model.predict_proba(X), atol=1e-6)
        with pytest.raises(export.ServingError, match="outside the support"):
            client.classify(X + 2)
