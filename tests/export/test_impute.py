"""The signature `impute`: gaps of each row, filled with noise of the row's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import zoo
from export.graphs import endpoints

EVENT = (4, 4, 1)
RNG = np.random.default_rng(0)
X = (RNG.random((6, *EVENT)) < 0.5).astype("float32")
MASK = RNG.random((6, *EVENT)) < 0.5
MASK[0], MASK[1] = False, True
SEED = np.arange(6)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return zoo.build("dense_vae", event_shape=EVENT, latent_dim=2, hidden=(8,), missing="zero:mask")


def test_gaps_are_filled_row_by_row(model):
    endpoint = endpoints.endpoints(model, signatures=["impute"])["impute"]
    impute = tf.function(endpoint.function, autograph=False, input_signature=endpoint.inputs)
    wild = np.where(MASK, X, np.float32(-1e30))  # Outside the support, and of no influence.
    count = np.int64([1000])
    found = {k: v.numpy() for k, v in impute(*map(tf.constant, (wild, MASK, SEED, count))).items()}
    assert found["image"][MASK].tobytes() == X[MASK].tobytes()
    exact = model.impute(X, MASK, num_samples=4000)
    # At most 1/2 is the deviation of a mean over z, of a thousand independent draws at least.
    size = np.minimum(found["effective_sample_size"], 1000).reshape(-1, 1, 1, 1)
    assert (np.abs(found["image"] - exact.value) < 5 * 0.5 / np.sqrt(size)).all()
    log_prob = model.log_prob(X, mask=MASK, num_samples=4000)
    assert found["log_prob"][0] == 0.0
    error = np.sqrt(5) * log_prob.monte_carlo_error  # Of a quarter of the samples, and of these.
    assert (np.abs(found["log_prob"] - log_prob.value) <= 5 * error + 1e-3).all()
    # A row alone, in NaN in place of a mask, with fewer samples than a chunk in the others.
    nan, all_there = np.where(MASK, X, np.float32("nan")), np.ones_like(MASK)
    alone = impute(*(tf.constant(a[3:4]) for a in (nan, all_there, SEED)), tf.constant(count))
    for name, value in alone.items():
        assert np.array_equal(value[0], found[name][3]), name


@pytest.mark.slow
def test_the_file_has_the_models_numbers(model, tmp_path):
    path = export.saved_model(model, tmp_path / "m")
    report = export.verify(path, model, batch_sizes=(1, 7))
    assert report.ok, str(report)
    rows = {row.output for row in report.rows if row.signature == "impute"}
    assert rows >= {"image", "log_prob", "effective_sample_size"}
    with export.DevelopmentServer({"m": tmp_path / "m"}, port=0) as server:
        client = export.Client(server.url, "m")
        found = client.impute(X, MASK, seed=0, num_samples=20)
        assert found.image[MASK].tobytes() == X[MASK].tobytes()
        with pytest.raises(ValueError, match="bool"):
            client.impute(X, MASK.astype("float32"))


@pytest.mark.slow
def test_files_for_devices_take_the_mask(model, tmp_path):
    litert = pytest.importorskip("export.runtimes.litert")
    pytest.importorskip("ai_edge_litert")
    path = export.tflite(model, tmp_path / "m.tflite", parts="both")
    report = export.verify(path, model)
    assert report.ok, str(report)
    file = litert.Model(path)
    inputs = {"image": np.where(MASK, X, np.float32(1.0)), "mask": MASK.astype("float32")}
    found = file.run("encode", inputs)
    wanted = model.encode(X, mask=MASK)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-5)
    assert np.all(found["z_mean"][0] == 0)
