"""kvae.callbacks.Pictures: what TensorBoard shows of a training."""

import io
import types

import numpy as np
import pytest
from PIL import Image

import kvae
from kvae.models.fit import plan
from kvae.utils import keras_internals


def events(folder):
    """What TensorBoard would read: `{(tag, step): value}`."""
    import tensorflow as tf

    return {
        (value.tag, event.step): getattr(value, value.WhichOneof("value"))
        for path in folder.glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def test_pictures_histograms_and_the_projector(make_vae, tmp_path):
    config = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    from google.protobuf import text_format

    vae = make_vae()
    data = kvae.datasets.load("digits", "train")[:24]
    pictures = kvae.callbacks.Pictures(data, tmp_path / "logs", num_images=3, every=2, num_codes=20)
    pictures.set_model(vae)
    before = vae.seed_generator.state.numpy()
    for epoch in range(3):
        pictures.on_epoch_end(epoch)
    pictures.on_train_end()
    # No random number of the training is taken.
    np.testing.assert_array_equal(vae.seed_generator.state, before)
    found = events(tmp_path / "logs")
    names = {"pictures/reconstructions", "pictures/samples", "codes/all", "codes/z0", "codes/z1"}
    assert set(found) == {(name, 1) for name in names}
    for name in ("reconstructions", "samples"):
        image = Image.open(io.BytesIO(found[f"pictures/{name}", 1].encoded_image_string))
        assert min(image.size) > 50
    assert found["codes/all", 1].num == 40 and found["codes/z1", 1].num == 20
    settings = text_format.Parse(
        (tmp_path / "logs/projector_config.pbtxt").read_text(), config.ProjectorConfig()
    )
    (shown,) = settings.embeddings
    codes = np.loadtxt(tmp_path / "logs" / shown.tensor_path, delimiter="\t")
    rows = np.linspace(0, 23, 20).astype(int)
    expected = vae.posterior.mean(vae.encode(data.take(rows)))
    np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-5)
    labels = np.loadtxt(tmp_path / "logs" / shown.metadata_path)
    np.testing.assert_array_equal(labels, data.labels[rows])
    sheet = np.asarray(Image.open(tmp_path / "logs" / shown.sprite.image_path))
    assert list(shown.sprite.single_image_dim) == [8, 8] and sheet.shape == (40, 40)
    np.testing.assert_allclose(sheet[:8, 8:16] / 255, data.examples[rows[1], ..., 0], atol=0.01)


def test_a_training_that_diverges_is_not_ended_by_its_pictures(make_vae, digits, tmp_path):
    vae, pictures = make_vae(), kvae.callbacks.Pictures(digits, tmp_path)
    pictures.set_model(vae)
    vae.set_weights([np.nan * weight for weight in vae.get_weights()])
    with pytest.warns(UserWarning, match="not finite after epoch 3, which has no pictures"):
        pictures.on_epoch_end(2)


def test_it_leaves_blocks_of_steps(make_vae, digits, tmp_path):
    pictures = kvae.callbacks.Pictures(digits, tmp_path)
    assert keras_internals.steps_between(pictures) is None
    vae = make_vae(optimizer="sgd")
    data = kvae.datasets.Dataset(digits)
    assert plan.plan_steps(vae, data, 16, 1000, None, [pictures]).steps == 4


def test_numbers_out_of_range(digits, tmp_path):
    with pytest.raises(ValueError, match="Pictures takes an array"):
        kvae.callbacks.Pictures(digits[:1], tmp_path)
    with pytest.raises(ValueError, match="num_images"):
        kvae.callbacks.Pictures(digits, tmp_path, num_images=0)


def test_reconstructions_are_of_whole_examples_at_even_distances(digits, tmp_path, monkeypatch):
    """Files may be sorted, and pictures refuse gaps, which would end the training."""
    x = digits[:20].copy()
    x[::2, 0] = np.nan
    pictures = kvae.callbacks.Pictures(x, tmp_path, num_images=3)
    pictures.set_model(types.SimpleNamespace(modalities=(), conditional=False, prior=None))
    shown = []
    monkeypatch.setattr(kvae.plots, "reconstructions", lambda _, x, *__: shown.append(x))
    pictures._drawn()["reconstructions"]("file.png")
    np.testing.assert_array_equal(shown[0], x[[1, 9, 19]])
    x[:, 0] = np.nan
    none = kvae.callbacks.Pictures(x, tmp_path)
    none.set_model(types.SimpleNamespace(modalities=(), conditional=False, prior=None))
    assert none._drawn() == {}
