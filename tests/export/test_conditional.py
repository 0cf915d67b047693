"""Conditional models outside Python: every signature takes the label beside its input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
import zoo
from export import signatures
from export.files import meta_graph
from export.graphs import endpoints
from export.runtimes import litert
from export.writers.tflite.calibration import decoder_inputs
from kvae.detection import Calibration

K = 3


@pytest.fixture(scope="module")
def model():
    """Dense networks that both see the label, and a Gaussian of its own for each class."""
    keras.utils.set_random_seed(5)
    model = zoo.build(
        "dense_vae",
        event_shape=(8, 8, 1),
        latent_dim=2,
        hidden=(16,),
        prior="class_conditional",
        num_classes=K,
        missing="mean",
    )
    rng = np.random.default_rng(0)
    model.prior.means.assign(2.0 * rng.normal(size=(K, 2)))
    model.prior.raw_log_vars.assign(rng.normal(size=(K, 2)))
    model.calibration = Calibration("elbo", 4, 0, 0.1, tuple(range(40, 60)))
    return model


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    return export.saved_model(model, tmp_path_factory.mktemp("serving") / "conditional")


@pytest.mark.slow
def test_every_signature_has_the_models_numbers_outside_python(model, path):
    report = export.verify(path, model, batch_sizes=(1, 9))
    assert report.ok, str(report)
    assert report.max_abs_error <= 1e-5
    compared = {row.signature for row in report.rows if row.max_abs_error is not None}
    # Those of other models.
    others = {"classify", "encode_table", "generate_table", "impute_table", "translate"}
    assert compared == set(signatures.SIGNATURES) - others
    found = meta_graph.read_signatures(path)
    for signature in found.values():
        label = signature.inputs["label"]
        assert (label.dtype, label.shape) == ("int64", (None,))
        assert "label" not in signature.optional
    other = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2)
    assert not export.verify(path, other, batch_sizes=(1,)).ok


def test_a_wrong_label_would_be_noticed(model):
    """Another label gives another answer, which is that of the public methods."""
    graphs = endpoints.endpoints(model, signatures=["generate", "encode", "embed"])

    def ask(name, **inputs):
        return graphs[name].function(*(inputs[spec.name] for spec in graphs[name].inputs))

    seed, label = np.array([3, 3, 4], np.int64), np.array([0, 2, 1], np.int64)
    answer = ask(
        "generate", seed=tf.constant(seed), label=tf.constant(label), temperature=tf.ones(3)
    )
    own = [model.sample(1, seed=int(s), label=int(k))[0] for s, k in zip(seed, label, strict=True)]
    np.testing.assert_allclose(answer["image"], own, atol=1e-6)
    assert np.abs(answer["z"][0] - answer["z"][1]).max() > 0.1  # One seed, two classes.
    x = np.random.default_rng(1).random((3, 8, 8, 1), np.float32)
    answer = ask("encode", image=tf.constant(x), label=tf.constant(label))
    np.testing.assert_allclose(answer["z_mean"], model.encode(x, label)["z_mean"], atol=1e-6)
    other = model.encode(x, (label + 1) % K)["z_mean"]
    assert np.abs(answer["z_mean"] - other).max() > 1e-3
    with pytest.raises(tf.errors.InvalidArgumentError, match="`label` is a class number from 0 to"):
        ask("embed", image=tf.constant(x), label=tf.constant(label + 1))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.slow
def test_decoders_for_phones_take_the_label(model, tmp_path, precision):
    path = export.tflite(model, tmp_path / "decoder.tflite", precision, batch_size=2)
    report = export.verify(path, model, batch_sizes=(1, 7))
    assert report.ok and report.precision == precision, str(report)
    file = litert.Model(path)
    label = file.signatures["serving_default"]["inputs"]["label"]
    assert (label["dtype"], label["shape"]) == ("float32", [2, K])
    z = np.zeros((K, 2), np.float32)
    image = file.run("serving_default", {"z": z, "label": np.eye(K, dtype=np.float32)})["image"]
    truth = np.asarray(model.decode(z, np.arange(K)))
    assert np.abs(image - truth).max() < 0.02  # Less than from class to class.
    assert min(np.abs(truth[k] - truth[k - 1]).max() for k in range(K)) > 0.1


def test_calibration_goes_with_labels(model):
    x = np.random.default_rng(0).random((6, 8, 8, 1), np.float32)
    label = np.arange(6) % K
    samples = decoder_inputs(model, (x, label))
    posterior = model.posterior.sample(model.encode(x, label), seed=0)
    np.testing.assert_allclose(samples["z"][::2], posterior, atol=1e-6)
    np.testing.assert_array_equal(np.argmax(samples["label"], axis=-1), np.repeat(label, 2))
    same = decoder_inputs(model, kvae.datasets.Dataset(x, label))
    np.testing.assert_array_equal(same["z"], samples["z"])
    z = np.zeros((6, 2))
    np.testing.assert_array_equal(decoder_inputs(model, (z, label))["label"], np.eye(K)[label])
    drawn = decoder_inputs(model, None)
    for k in range(K):
        own = drawn["z"][drawn["label"][:, k] == 1]
        scale = np.exp(0.5 * np.asarray(model.prior.log_vars)[k])
        error = np.abs(own.mean(axis=0) - model.prior.means[k]) / scale
        assert error.max() < 5 / np.sqrt(len(own))
    for wrong in (x, z, (x, label[:2]), (z, label + 1)):
        with pytest.raises(ValueError, match="label"):
            decoder_inputs(model, wrong)
