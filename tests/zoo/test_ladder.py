"""The ladder of the zoo: its blocks, and its exports."""

import keras
import numpy as np
import pytest

import export
import kvae
import zoo
from kvae.cli.runs import networks
from zoo.residual import residual_block


@pytest.mark.parametrize("normalization", ["weight", "group", "none"])
def test_a_residual_block_is_what_it_says(normalization):
    """Of pre-activation, with a branch of two convolutions and a gate for each channel."""
    inputs = keras.Input((4, 4, 8))
    model = keras.Model(inputs, residual_block(inputs, "b", normalization, squeeze_excite=True))
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 8)).astype("float32")
    y = x
    for index in range(2):
        if normalization == "group":  # Eight groups of one channel.
            y = (y - y.mean((1, 2), keepdims=True)) / np.sqrt(y.var((1, 2), keepdims=True) + 1e-3)
        y = model.get_layer(f"b_conv_{index}")(y / (1 + np.exp(-y))).numpy()
    gate = model.get_layer("b_gate")(model.get_layer("b_excite")(y.mean((1, 2), keepdims=True)))
    np.testing.assert_allclose(model(x), x + gate * y, rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # Small models of all architectures export in test_architectures.py.
def test_the_ladder_of_mnist_exports(tmp_path):
    vae = zoo.build("ladder_vae", filters=(4, 4, 4))
    assert vae.latent_dim == 14 * 14 * 2 + 2 * 7 * 7 * 4 + 2 * 4 * 4 * 8
    for path in (
        export.saved_model(vae, tmp_path / "saved_model"),
        export.tflite(vae, tmp_path / "m.tflite", parts="all"),
        export.onnx(vae, tmp_path / "m.onnx"),
    ):
        report = export.verify(path, vae)
        assert report.ok, str(report)


def test_sizes_that_do_not_fit_say_why():
    with pytest.raises(ValueError, match="an entry for each grid, the finest first, not 2, 1 and"):
        zoo.build("ladder_vae", filters=(4, 4), latents=(1,), groups=(1, 1))
    with pytest.raises(ValueError, match="at least two groups"):
        zoo.build("ladder_vae", filters=(4,), latents=(1,), groups=(1,))
    with pytest.raises(ValueError, match="normalization"):
        zoo.build("ladder_vae", filters=(4,), latents=(1,), groups=(2,), normalization="batch")


@pytest.mark.slow  # A few epochs.
def test_it_learns_digits():
    """Beyond what pixels by themselves allow, which takes latents."""
    data = kvae.datasets.load("digits", "train", binarize="dynamic")
    p = np.clip(data.examples.mean(axis=0), 1e-6, 1 - 1e-6)
    alone = np.sum(p * np.log(p) + (1 - p) * np.log(1 - p))  # -27.1 nats.
    vae = zoo.build(
        "ladder_vae", event_shape=(8, 8, 1), filters=(16, 16), latents=(2, 4), groups=(1, 2)
    )
    vae.compile(keras.optimizers.Adam(3e-3), skip_norm=1e4)
    history = vae.fit(data, epochs=20, batch_size=64, verbose=0).history
    assert history["elbo"][-1] > alone + 1.5 and history["kl"][-1] > 2


def test_the_command_line_names_the_layers_of_a_decoder_without_a_list_of_them():
    vae = zoo.build("ladder_vae", event_shape=(8, 8, 1), filters=(4,), latents=(1,), groups=(2,))
    assert not hasattr(vae.decoder, "layers")
    assert networks(vae.decoder).endswith("Conv2DTranspose 1; WeightNormConv2D 4, 4, 4")
