"""Weight normalization against its equation."""

import keras
import numpy as np

import kvae


def test_it_begins_as_a_convolution_and_follows_the_equation(tmp_path):
    options = dict(padding="same", kernel_initializer=keras.initializers.GlorotUniform(1))
    plain = keras.layers.Conv2D(3, 3, **options)
    layer = kvae.layers.WeightNormConv2D(3, 3, **options)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype("float32")
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-6)
    direction, bias, gain = (np.random.default_rng(1).normal(size=w.shape) for w in layer.weights)
    layer.set_weights([direction, bias, gain])
    plain.set_weights([gain * direction / np.sqrt((direction**2).sum(axis=(0, 1, 2))), bias])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    # The length of v does not matter.
    layer.set_weights([7 * direction, bias, gain])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    model = keras.Sequential([keras.Input((5, 5, 2)), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
