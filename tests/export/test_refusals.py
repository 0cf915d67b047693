"""Exported graphs refuse what `log_prob` refuses, with an error of the request."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
import zoo
from export import Client, ServingError
from export.graphs import endpoints
from export.runtimes import child, litert, onnx_runtime
from export.serving.development.server import DevelopmentServer
from export.signatures import Call

RUNTIME = "export.runtimes.c_api"
PREFIX = "INVALID_ARGUMENT: assertion failed: ["


def ask(path, *calls):
    answer = child.request(RUNTIME, path, [Call(*call) for call in calls], timeout=120)
    assert not answer.failure and not answer.load_error
    return answer.results


def refused_by(model, x):
    """The words with which `log_prob` refuses x, of an input called `image`."""
    with pytest.raises(ValueError) as error:
        model.log_prob(x, num_samples=1)
    return str(error.value).replace("`x`", "`image`")


def spoiled(x, row, value):
    x = x.copy()
    x[row, 0, 0, 0] = value
    return x


def test_images_that_the_model_does_not_take(dense, dense_path, images):
    x, seed = images[:4], np.arange(4)
    wrong = [spoiled(x, 2, v) for v in (2.0, 255.0, 1e30, -0.5, np.nan, np.inf, 1.0001)]
    wrong.append((x * 255).round())
    extra = {"score": {"seed": seed}, "encode": {}, "embed": {}, "reconstruct": {}}
    calls = [(name, {"image": bad, **own}) for bad in wrong for name, own in extra.items()]
    ends = [{"image_start": x, "image_end": bad} for bad in wrong[:1]]
    calls += [("interpolate_images", pair) for pair in ends]
    results = ask(dense_path, *calls, ("score", {"image": x, "seed": seed}))
    for (name, inputs), result in zip(calls, results, strict=False):
        words = refused_by(dense, inputs.get("image", wrong[0]))
        words = words if name != "interpolate_images" else words.replace("`image`", "`image_end`")
        assert result.error == f"{PREFIX}{words}]", name
        assert not result.outputs
    assert not results[-1].error and np.isfinite(results[-1].outputs["log_prob"]).all()


def test_numbers_out_of_range(dense_path):
    z, seed = np.zeros((3, 2), np.float32), np.arange(3)
    bad = z.copy()
    bad[1, 0] = np.nan
    holds = "holds NaN or infinite values in 1 of 3 examples, first in example 1"
    below = "`temperature` is a finite number of at least 0, not"
    temperatures = [np.array([1, t, 1], np.float32) for t in (-1.0, np.nan, np.inf)]
    cases = [
        ("serving_default", {"z": bad}, f"`z` {holds}"),
        ("interpolate", {"z_start": z, "z_end": bad}, f"`z_end` {holds}"),
        (
            "generate",
            {"seed": np.array([0, -1])},
            "A seed is an integer from 0 to 2**62 - 1, not -1",
        ),
        (
            "generate",
            {"seed": np.array([2**62])},
            "A seed is an integer from 0 to 2**62 - 1, not 4",
        ),
        *(("generate", {"seed": seed, "temperature": t}, below) for t in temperatures),
        *(
            (
                "interpolate",
                {"z_start": z, "z_end": z, "steps": np.array([2, steps, 2])},
                f"`steps` is a whole number from 1 to 64, not {steps}.",
            )
            for steps in (0, -3, 65, 10**12)
        ),
        *(
            (
                "score",
                {"image": np.zeros((1, 8, 8, 1), "f4"), "seed": seed[:1], "num_samples": count},
                "`num_samples` is a whole number from 1 to 1000, not",
            )
            for count in (np.array([0]), np.array([1001]), np.array([2**40]))
        ),
    ]
    results = ask(dense_path, *((name, inputs) for name, inputs, _ in cases))
    for (_, _, words), result in zip(cases, results, strict=True):
        assert result.error.startswith(PREFIX + words), result.error


@pytest.mark.parametrize(
    ("likelihood", "values", "good"),
    [("poisson", (-1.0, 0.5), 7.0), ("gaussian", (np.inf,), -50.0)],
)
@pytest.mark.default("poisson-values0-7.0")
def test_supports_of_other_likelihoods(likelihood, values, good, tmp_path):
    model = zoo.build(
        "dense_vae", event_shape=(4, 4, 1), latent_dim=2, hidden=(4,), likelihood=likelihood
    )
    path = export.saved_model(model, tmp_path / "m", signatures=["encode"])
    x = np.full((2, 4, 4, 1), good, np.float32)
    bad = [spoiled(x, 1, value) for value in values]
    fine, *wrong = ask(path, *(("encode", {"image": image}) for image in (x, *bad)))
    assert not fine.error
    for image, result in zip(bad, wrong, strict=True):
        assert result.error == f"{PREFIX}{refused_by(model, image)}]"
    # Without the model it is known from the warm-up requests what the graph takes.
    assert export.verify(path, batch_sizes=(5,)).ok


def test_a_wrong_request_is_an_error_of_its_own(dense_path, images):
    """The development server answers the others, also those that it was merged with."""
    with DevelopmentServer({"dense": dense_path.parent}, port=0) as server:
        client = Client(server.url, "dense", timeout=60)
        with pytest.raises(ServingError, match=r"values from 0 to 2, outside the support") as error:
            client.score(np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 2.0)]))
        assert error.value.code == "INVALID_ARGUMENT"
        assert np.isfinite(client.score(images[:2]).log_prob).all()


def conditional_with_wrong_rows():
    """A conditional model, and five images and labels of which the fourth alone is right."""
    keras.utils.set_random_seed(0)
    model = zoo.build("dense_vae", event_shape=(4, 4, 1), latent_dim=2, hidden=(4,), num_classes=3)
    rng = np.random.default_rng(0)
    x, label = rng.random((5, 4, 4, 1), np.float32), np.array([0, 1, 2, 0, 3])
    for row, value in enumerate((2.0, np.nan, -1e30)):
        x[row, 1, 1, 0] = value
    return model, x, label


def test_rows_of_a_graph_without_errors_are_nan():
    """ONNX files have no errors of their own."""
    model, x, label = conditional_with_wrong_rows()
    graphs = endpoints.endpoints(model, signatures=["encode"], refuse=False)
    outputs = graphs["encode"].function(tf.constant(x), tf.constant(label))
    own = model.encode(x[3:4], label[3:4])
    assert set(outputs) == set(own)
    for name, array in outputs.items():
        assert np.isnan(array.numpy()[[0, 1, 2, 4]]).all()
        np.testing.assert_allclose(array[3:4], own[name], atol=1e-5)
    z = np.array([[0, np.inf], [0, 0], [0, 0]], np.float32)
    decode = graphs["serving_default"].function
    image = decode(tf.constant(z), tf.constant([0, 1, -1], tf.int64))["image"].numpy()
    assert np.isnan(image[[0, 2]]).all() and np.isfinite(image[1]).all()


@pytest.mark.slow
def test_rows_of_an_onnx_file_are_nan(tmp_path):
    """ONNX has no errors: what comes out of a wrong row is no number."""
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    model, x, label = conditional_with_wrong_rows()
    file = onnx_runtime.Model(export.onnx(model, tmp_path / "encoder.onnx", "encoder"))
    outputs = file.run("encode", {"image": x, "label": label})
    own = model.encode(x[3:4], label[3:4])
    for name, array in outputs.items():
        assert np.isnan(array[[0, 1, 2, 4]]).all()
        np.testing.assert_allclose(array[3:4], own[name], atol=1e-5)
    file = onnx_runtime.Model(export.onnx(model, tmp_path / "decoder.onnx"))
    z = np.zeros((3, 2), np.float32)
    z[0, 1] = np.inf
    image = file.run("serving_default", {"z": z, "label": np.array([0, 1, -1])})["image"]
    assert np.isnan(image[[0, 2]]).all() and np.isfinite(image[1]).all()


def test_the_loader_of_tflite_files_refuses(tmp_path):
    """The files themselves know no errors: the loader reads the range in their metadata."""
    pytest.importorskip("ai_edge_litert")
    model = zoo.build("dense_vae", event_shape=(4, 4, 1), latent_dim=2, hidden=(4,), num_classes=3)
    file = litert.Model(export.tflite(model, tmp_path / "x.tflite", parts="both"))
    x, label = np.zeros((2, 4, 4, 1), np.float32), np.eye(3, dtype=np.float32)[:2]
    for value, words in (
        (2.0, r"from 0 to 2, outside the support \[0, 1\] of Bernoulli"),
        (-1e30, "outside the support"),
        (np.nan, "`image` holds NaN or infinite values"),
    ):
        with pytest.raises(ValueError, match=words):
            file.run("encode", {"image": spoiled(x, 1, value), "label": label})
    z = np.zeros((2, 2), np.float32)
    for wrong in (0 * label, 2 * label, label + label[::-1], label * np.nan):
        with pytest.raises(ValueError, match="`label` (is one-hot|holds NaN)"):
            file.run("serving_default", {"z": z, "label": wrong})
    with pytest.raises(ValueError, match="`z` holds NaN or infinite"):
        file.run("serving_default", {"z": z + np.inf, "label": label})
    file.run("serving_default", {"z": z, "label": label})
    counts = zoo.build("dense_vae", event_shape=(4, 4, 1), latent_dim=2, likelihood="poisson")
    file = litert.Model(export.tflite(counts, tmp_path / "y.tflite", parts="encoder"))
    file.run("encode", {"image": x + 300})
    with pytest.raises(ValueError, match="`image` holds whole numbers, of Poisson"):
        file.run("encode", {"image": x + 0.5})


@pytest.mark.slow  # By default `test_saved_model.py` verifies one, and counts are verified above.
def test_a_model_without_a_prior_is_verified_on_what_it_takes(tmp_path):
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    model = kvae.VAE(
        encoder, decoder, latent_dim=2, likelihood="poisson", posterior="delta", prior=None
    )
    path = export.saved_model(model, tmp_path / "m", signatures=["encode"])
    report = export.verify(path, model, batch_sizes=(4,))
    assert report.ok, str(report)
