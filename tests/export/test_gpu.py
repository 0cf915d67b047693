"""Every decoder of the zoo on LiteRT's GPU accelerator, as a whole.

By the list of operators everywhere, and on the accelerator itself where there is a Vulkan driver:
`make gpu-test` fetches one in software, and sets `KVAE_GPU`, so that its absence is a failure.
"""

import functools
import os
import pathlib
import tempfile

import keras
import pytest

import export
import kvae
import zoo
from export.runtimes import child, litert
from export.writers.tflite import accelerator


@functools.cache
def without_driver() -> str:
    """Why the accelerator does not start; nothing where it does."""
    with tempfile.TemporaryDirectory() as folder:
        model = zoo.build("dense_autoencoder", event_shape=(2, 2, 1), latent_dim=2)
        path = export.tflite(model, pathlib.Path(folder) / "x.tflite")
        answer = child.request("export.runtimes.litert_gpu", path, [], timeout=120.0)
    return answer.load_error or answer.failure


def need_driver():
    problem = without_driver()
    if problem and os.environ.get("KVAE_GPU"):
        pytest.fail(f"LiteRT's GPU accelerator does not start: {problem}")
    if problem:
        pytest.skip(f"no operator is in the way, and nothing ran: {problem}")


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list_models(untrained=True))
def test_every_decoder_of_the_zoo(name, tmp_path):
    card = zoo.card(name)
    model = zoo.load(name) if card.trained else zoo.build(card.architecture, **card.arguments)
    path = export.tflite(model, tmp_path / "x.tflite", prior=False)
    file = litert.Model(path)
    gpu = file.metadata["signatures"]["serving_default"]["gpu"]
    # Symbols are chosen one by one; whether sines and cosines run there has not been tried.
    assert bool(gpu) == (card.architecture in ("symbol_vae", "conditional_vae"))
    assert export.verify(path, model, batch_sizes=(5,)).ok
    if gpu:
        return
    need_driver()
    report = export.verify(path, model, batch_sizes=(5,), accelerator="gpu")
    assert report.ok, str(report)
    assert "GPU" in report.rows[0].runtime


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
@pytest.mark.parametrize(
    "name", ["dense_vae.digits", "conv_vae.digits", "tabular_vae.breast_cancer"]
)
def test_other_precisions(name, precision, tmp_path):
    model = zoo.load(name)
    path = export.tflite(model, tmp_path / "x.tflite", precision)
    assert litert.Model(path).metadata["signatures"]["serving_default"]["gpu"] == []
    need_driver()
    report = export.verify(path, model, batch_sizes=(5,), accelerator="gpu")
    assert report.ok, str(report)


@pytest.mark.slow
def test_a_graph_that_the_accelerator_does_not_take_is_refused(tmp_path, monkeypatch):
    need_driver()
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(4),
            keras.layers.Reshape((2, 2, 1)),
            keras.layers.UpSampling2D(),
        ]
    )
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    model = kvae.VAE(encoder, decoder, latent_dim=2)
    path = export.tflite(model, tmp_path / "x.tflite")
    assert export.verify(path, model, accelerator="gpu").ok
    # As Keras writes it: by tensors of five axes.
    monkeypatch.setattr(accelerator, "_nearest", lambda layer: None)
    path = export.tflite(model, tmp_path / "x.tflite")
    assert litert.Model(path).metadata["signatures"]["serving_default"]["gpu"] != []
    assert export.verify(path, model).ok
    with pytest.raises(ValueError, match="does not run on the GPU"):
        export.verify(path, model, accelerator="gpu")


def test_accelerators_are_for_tflite_files(dense, dense_path):
    with pytest.raises(ValueError, match="runs on the CPU only"):
        export.verify(dense_path, dense, accelerator="gpu")
    with pytest.raises(ValueError, match="Unknown accelerator 'tpu'"):
        export.verify(dense_path, dense, accelerator="tpu")


@pytest.mark.slow
def test_the_accelerator_refuses_or_runs_all_of_it(conv, tmp_path):
    """Without a driver the error says so; with one the numbers are the model's."""
    path = export.tflite(conv, tmp_path / "x.tflite", batch_size=2)
    try:
        report = export.verify(path, conv, batch_sizes=(1, 3), accelerator="gpu")
    except ValueError as error:
        assert "does not run on the GPU" in str(error) and "Vulkan" in str(error)
    else:
        assert report.ok and report.max_abs_error <= 1e-5, str(report)
