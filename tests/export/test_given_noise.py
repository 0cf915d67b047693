"""`detect` and `impute` in files for devices, which draw no random numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
import zoo
from export.files import flatbuffer
from export.graphs import given_noise
from export.runtimes import litert, onnx_runtime
from kvae.detection import Detector
from kvae.evaluation import rows
from kvae.evaluation.given_noise import terms

EVENT = (4, 4, 1)
RNG = np.random.default_rng(0)
NORMAL = (RNG.random((40, *EVENT)) < 0.5).astype("float32")
X, MASK = NORMAL[:6].copy(), RNG.random((6, *EVENT)) < 0.5
MASK[0], MASK[1] = False, True
DRAWS = 20  # More than a chunk, and no multiple of one.


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    shape = {"event_shape": EVENT, "latent_dim": 2, "hidden": (8,)}
    return zoo.build("dense_vae", **shape, missing="zero:mask")


@pytest.fixture(scope="module")
def detector(model):
    return Detector(model, num_samples=DRAWS).fit(NORMAL)


@pytest.fixture(scope="module")
def file(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("noise") / "all.tflite"
    return export.tflite(detector.vae, path, batch_size=2, parts="all", num_samples=DRAWS)


# By default, a TFLite file is compared with the detector, and gaps with those of the rows.
@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"posterior": "iaf"},
        {"posterior": "full_covariance"},
        {"posterior": "gumbel_softmax", "prior": "uniform_categorical", "latent_dim": 10},
        {"posterior": "gaussian_mixture", "prior": "vamp:3"},
    ],
    ids=str,
)
def test_the_same_noise_gives_the_same_terms(parts):
    """Of a batch at once as of its rows one by one, whose noise comes from a seed."""
    model = zoo.build("dense_vae", event_shape=EVENT, hidden=(8,), **{"latent_dim": 2, **parts})
    x, noise = tf.constant(X[:2]), rows.row_noise(model.posterior, 5, DRAWS)
    noise = {name: tf.repeat(value, 2, axis=1) for name, value in noise.items()}
    seed, count = (tf.fill([2], tf.constant(value, tf.int64)) for value in (5, DRAWS))
    wanted = rows.row_terms(model, x, seed, count)
    for name, value in terms(model, x, noise).items():
        np.testing.assert_allclose(value, wanted[name], rtol=2e-5, atol=2e-5, err_msg=name)


# By default that of a page is: test_web.py.
@pytest.mark.slow
def test_a_tflite_file_detects_as_the_detector_does(detector, tmp_path):
    path = export.tflite(detector.vae, tmp_path / "d.tflite", batch_size=2, parts="detect")
    x = np.where(MASK, X, np.float32("nan"))
    found = litert.Model(path).run("detect", {"image": X, "mask": MASK.astype("float32")})
    own = detector.detect(x)
    np.testing.assert_allclose(found["score"], own.score, atol=1e-4)
    np.testing.assert_allclose(found["p_value"], detector.calibration.p_value(found["score"]))
    np.testing.assert_array_equal(found["is_anomaly"], found["score"] > own.threshold)
    np.testing.assert_allclose(found["map"], detector.map(x), atol=1e-5)
    assert not found["map"][~MASK].any()
    facts = litert.Model(path).metadata["detection"]
    assert (facts["threshold"], facts["num_samples"]) == (own.threshold, DRAWS)


def filling(model, seed):
    """What `impute` of the seed's noise is given, and what it has to say."""
    noise = np.stack([rows.row_noise(model.posterior, seed, DRAWS)["noise"][:, 0]] * len(X))
    wild = np.where(MASK, X, np.float32(-9))  # Outside the support, and of no influence.
    seeds, count = (tf.fill([len(X)], tf.constant(value, tf.int64)) for value in (seed, DRAWS))
    hidden = tf.constant(np.where(MASK, X, np.float32("nan")))
    wanted = tf.function(rows.row_imputation, autograph=False)(model, hidden, seeds, count)
    return {"image": wild, "mask": MASK.astype("float32"), "noise": noise}, wanted


def test_gaps_are_filled_by_the_noise_that_is_given(model):
    inputs, wanted = filling(model, 7)
    endpoint = given_noise.impute(model, DRAWS, floats=True)
    found = endpoint.function(*map(tf.constant, inputs.values()))
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-5, err_msg=name)


# By default, the graph of the file is compared with the rows above.
@pytest.mark.slow
def test_a_tflite_file_fills_gaps(model, file):
    inputs, wanted = filling(model, 7)
    found = litert.Model(file).run("impute", inputs)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-5, err_msg=name)
    assert found["image"][MASK].tobytes() == X[MASK].tobytes()


@pytest.mark.slow
def test_weights_are_in_the_file_once(detector, file):
    largest = max(detector.vae.encoder.weights, key=lambda v: np.prod(v.shape)).numpy()
    content = flatbuffer.read(file.read_bytes())
    buffers = [bytes(b.data) for b in content.buffers if b.data is not None]
    assert sum(data == largest.T.tobytes() for data in buffers) == 1


# By default, LiteRT's numbers are compared with the detector's above.
@pytest.mark.slow
@pytest.mark.parametrize("labels", [None, 3])
def test_verified_in_each_format(labels, tmp_path):
    keras.utils.set_random_seed(1)
    shape = {"event_shape": EVENT, "latent_dim": 2, "hidden": (8,), "num_classes": labels}
    model = zoo.build("dense_vae", **shape, missing="mean")
    model.missing.adapt(model.likelihood, NORMAL)
    Detector(model, num_samples=8).fit(NORMAL, labels and np.arange(40) % labels)
    paths = [export.tflite(model, tmp_path / "all.tflite", parts="all", num_samples=8)]
    for part in ("impute", "detect"):
        paths.append(export.onnx(model, tmp_path / f"{part}.onnx", part, num_samples=8))
    for path in paths:
        report = export.verify(path, model, batch_sizes=(1, 5))
        assert report.ok, str(report)
        compared = {row.signature for row in report.rows if row.max_abs_error is not None}
        assert compared & {"impute", "detect"}
    # ONNX has no errors: a row that the model does not take is NaN.
    wrong = np.stack([X[0], X[1] + 5])
    label = {} if labels is None else {"label": np.zeros(2, np.int64)}
    score = onnx_runtime.Model(paths[-1]).run("detect", {"image": wrong, **label})["score"]
    assert np.isfinite(score[0]) and np.isnan(score[1])


def test_gaps_of_categories_need_no_operator_that_files_lack():
    """Keras's argmax looks at the bits of zeros, which neither TFLite nor ONNX can."""
    averages = {"probabilities": tf.TensorSpec((2, 3), tf.float32)}
    point = tf.function(kvae.likelihoods.get("categorical:3").point)
    graph = point.get_concrete_function(averages).graph
    assert "Bitcast" not in {operation.type for operation in graph.get_operations()}
    found = point({"probabilities": tf.constant([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])})
    np.testing.assert_array_equal(found, [1, 0])


@pytest.mark.slow  # By default, the operators are tested: above, and in test_conditions.py.
def test_gaps_of_tables_in_each_format(tmp_path):
    columns = ["gaussian", ["categorical", 3], "log_normal", ["ordinal", 4]]
    columns += [["gaussian_mixture", 2], ["rounded_mixture", 2]]
    size = {"event_shape": (6,), "latent_dim": 2, "hidden": (6,)}
    model = zoo.build("tabular_vae", columns=columns, **size, missing="mean")
    x = RNG.integers(1, 3, (60, 6)).astype("float32")
    Detector(model, num_samples=4).fit(x)
    paths = [export.tflite(model, tmp_path / "all.tflite", parts="all", num_samples=4)]
    for part in ("encoder", "detect", "impute"):
        options = {"num_samples": 4} if part == "impute" else {}
        paths.append(export.onnx(model, tmp_path / f"{part}.onnx", part, **options))
    for path in paths:
        report = export.verify(path, model)
        assert report.ok, str(report)


@pytest.mark.slow
def test_an_autoencoder_detects_by_its_reconstruction(autoencoder, tmp_path):
    x = RNG.random((60, 12), "float32")
    model = kvae.load_model(_saved(autoencoder, tmp_path))
    Detector(model).fit(x)
    for path in (
        export.tflite(model, tmp_path / "d.tflite", parts="detect"),
        export.onnx(model, tmp_path / "d.onnx", "detect"),
    ):
        report = export.verify(path, model)
        assert report.ok, str(report)


def _saved(model, folder):
    model.save(folder / "m.keras")
    return folder / "m.keras"


def test_what_cannot_be_written_is_said(dense, tmp_path):
    with pytest.raises(ValueError, match=r"'impute': the model takes no missing values"):
        export.tflite(dense, tmp_path / "x", parts="impute")
    with pytest.raises(ValueError, match=r"'detect': the model keeps no threshold"):
        given_noise.detect(dense)
    with pytest.raises(
        ValueError, match=r"parts impute and detect are written in precision 'float32'"
    ):
        export.tflite(dense, tmp_path / "x", "float16", parts="detect")
    assert not list(tmp_path.iterdir())
