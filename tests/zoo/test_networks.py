"""The networks that architectures are put together from."""

import keras
import numpy as np

from zoo import networks


def test_what_a_decoder_is_told_scales_and_shifts_each_channel():
    shape, filters = (12, 12, 1), (3, 4)
    seed, told = keras.Input((3, 3, 4)), keras.Input((2,))
    plain = keras.Model(seed, networks.up(seed, filters, shape))
    film = keras.Model([seed, told], networks.up(seed, filters, shape, told=told))
    for name in ("up_0", "outputs"):
        film.get_layer(name).set_weights(plain.get_layer(name).get_weights())
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    # At first nothing is scaled or shifted where the features are 0.
    np.testing.assert_allclose(film([x, np.zeros((2, 2))]), plain(x), atol=1e-6)
    for name, kernel in (("scale_0", [[1, 0, 0], [0, 0, 0]]), ("shift_0", [[0, 0, 0], [0, 2, 0]])):
        film.get_layer(name).kernel.assign(np.float32(kernel))
    linear = keras.Model(seed, networks.up(seed, filters, shape))
    linear.set_weights(plain.get_weights())
    layer = linear.get_layer("up_0")
    layer.activation = keras.activations.linear
    features = np.array(layer(x)) * [1.5, 1, 1] + [0, 2 * 0.25, 0]
    expected = linear.get_layer("outputs")(keras.ops.silu(features.astype("float32")))
    np.testing.assert_allclose(film([x, np.full((2, 2), [0.5, 0.25])]), expected, atol=1e-5)
