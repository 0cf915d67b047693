"""The report of a TFLite file: what is measured, and when it is not good enough."""

import dataclasses
import json

import numpy as np
import pytest

import export
import kvae
import zoo


@pytest.fixture(scope="module")
def trained():
    return zoo.load("conv_vae.digits")


@pytest.fixture(scope="module")
def test_images():
    return kvae.datasets.load("digits", "test")[:200]


@pytest.fixture(scope="module")
def profiles(trained, test_images, tmp_path_factory, calibration_in_this_process):
    """Of the trained decoder in three precisions."""
    folder = tmp_path_factory.mktemp("profiles")
    train = kvae.datasets.load("digits", "train")[:200]
    found = {}
    for precision in ("float32", "float16", "int8"):
        samples = train if precision == "int8" else None
        path = export.tflite(
            trained, folder / f"{precision}.tflite", precision, calibration=samples
        )
        found[precision] = export.profile(path, trained, test_images, seconds=0.02)
    return found


@pytest.mark.slow
def test_trained_decoders_pass_the_gate_of_quality(profiles):
    for precision, profile in profiles.items():
        assert profile.precision == precision
        assert profile.ok, str(profile)
        assert profile.gpu == []
    assert profiles["float32"].max_abs_error <= 1e-5
    assert abs(profiles["float32"].nats) < 1e-3
    assert 1e-7 < profiles["float16"].max_abs_error <= 1e-3
    assert abs(profiles["float16"].nats) < 0.05
    assert profiles["int8"].nats <= 1.0
    assert profiles["int8"].max_abs_error > profiles["float16"].max_abs_error
    assert profiles["int8"].bytes < 0.5 * profiles["float32"].bytes


@pytest.mark.slow
def test_the_reconstruction_is_the_models(profiles, trained, test_images):
    x = test_images.examples
    z = trained.posterior.sample(trained.encode(x), seed=0)
    log_p = trained.likelihood.log_prob(trained.decode_params(z), x)
    # But for the probabilities that are kept away from 0 and 1.
    assert profiles["float32"].reconstruction == pytest.approx(-np.mean(log_p), abs=0.02)
    assert profiles["float32"].examples == 200


@pytest.mark.slow
def test_it_prints_and_is_json(profiles):
    profile = profiles["int8"]
    text = str(profile)
    for part in ("kB", "TRANSPOSE_CONV", "all of the decoder", "nats", "SavedModel", "predict"):
        assert part in text
    content = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    assert content["ok"] and [row["batch"] for row in content["latency"]] == [1, 32]
    assert all(row[k] > 0 for row in content["latency"] for k in ("file", "saved_model", "predict"))


@pytest.mark.slow
def test_another_models_file_is_not_good_enough(profiles, trained, test_images):
    other = zoo.build("conv_vae", **zoo.card("conv_vae.digits").arguments)
    found = export.profile(profiles["float16"].path, other, test_images, seconds=0.0)
    assert not found and "NOT good enough" in str(found)
    assert "outputs differ" in found.problems[0] and "more than 1.0e-03" in found.problems[0]
    lossy = dataclasses.replace(profiles["int8"], nats=1.5)
    assert lossy.problems == ["reconstruction costs 1.50 nats more, over 1"]
    assert not dataclasses.replace(profiles["int8"], nats=float("nan")).ok


def test_without_data_latents_come_from_the_prior(conv, autoencoder, tmp_path):
    path = export.tflite(conv, tmp_path / "conv.tflite", batch_size=4)
    found = export.profile(path, conv, batch_sizes=(8,), seconds=0.0)
    assert found.ok and found.nats is None and found.examples == 0
    assert "the file runs 4 at a time" in str(found)
    with pytest.raises(ValueError, match="no prior to draw latents from: give `data`"):
        export.profile(export.tflite(autoencoder, path), autoencoder)
    with pytest.raises(ValueError, match=r"holds no decoder of latents of shape \(4,\)"):
        export.profile(path, conv)
    with pytest.raises(FileNotFoundError, match="Export the model first"):
        export.profile(tmp_path / "nothing.tflite", conv)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("name", ["dense_vae.mnist", "conv_vae.mnist"])
def test_mnist_passes_the_gate_of_quality(name, precision, tmp_path):
    model = zoo.load(name)
    try:
        train, test = (
            kvae.datasets.load("mnist", split, binarize="dynamic")[:300]
            for split in ("train", "test")
        )
    except FileNotFoundError:
        pytest.skip("MNIST is not on this machine")
    samples = train if precision == "int8" else None
    path = export.tflite(model, tmp_path / "x.tflite", precision, calibration=samples)
    profile = export.profile(path, model, test, seconds=0.0)
    assert profile.ok, str(profile)
