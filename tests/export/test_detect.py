"""The signature `detect`: scores, p-values, verdicts and maps by the threshold of the model."""

import numpy as np
import pytest
import tensorflow as tf

import export
from export.graphs import endpoints
from kvae.detection import Detector


@pytest.fixture(scope="module")
def detector(linear_gaussian):
    normal = linear_gaussian.draw(60, seed=1)
    return Detector(linear_gaussian.vae(widen=0.3), num_samples=20).fit(normal)


def rows(linear_gaussian):
    return np.concatenate([linear_gaussian.draw(6, seed=2), linear_gaussian.draw(3, seed=3) + 4])


def test_it_says_what_the_detector_says(detector, linear_gaussian):
    x = rows(linear_gaussian)
    endpoint = endpoints.endpoints(detector.vae, signatures=["detect"])["detect"]
    detect = tf.function(endpoint.function, autograph=False, input_signature=endpoint.inputs)
    found = {name: value.numpy() for name, value in detect(x).items()}
    own = detector.detect(x)
    np.testing.assert_array_equal(found["score"], own.score)
    np.testing.assert_array_equal(found["p_value"], own.p_value)
    np.testing.assert_array_equal(found["is_anomaly"], own.is_anomaly)
    assert own.is_anomaly[6:].all() and not own.is_anomaly[:6].all()
    np.testing.assert_array_equal(found["map"], detector.map(x))
    alone = detect(x[4:5])
    for name, value in alone.items():
        np.testing.assert_array_equal(value[0], found[name][4])


def test_a_model_without_a_threshold_has_none(linear_gaussian):
    with pytest.raises(ValueError, match=r"no signature 'detect': the model keeps no threshold"):
        endpoints.endpoints(linear_gaussian.vae(), signatures=["detect"])


@pytest.mark.slow
def test_the_file_has_the_models_numbers(detector, linear_gaussian, tmp_path):
    path = export.saved_model(detector.vae, tmp_path / "m")
    report = export.verify(path, detector.vae, batch_sizes=(1, 7))
    assert report.ok, str(report)
    compared = {row.output for row in report.rows if row.signature == "detect"}
    assert compared >= {"score", "p_value", "is_anomaly", "map"}
    with export.DevelopmentServer({"m": tmp_path / "m"}, port=0) as server:
        found = export.Client(server.url, "m").detect(rows(linear_gaussian))
    own = detector.detect(rows(linear_gaussian))
    np.testing.assert_allclose(found.score, own.score, rtol=1e-5)
    np.testing.assert_array_equal(found.is_anomaly, own.is_anomaly)
    assert found.map.shape == rows(linear_gaussian).shape
