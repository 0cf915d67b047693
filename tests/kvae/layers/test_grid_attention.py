"""Attention between the places of a grid, against loops in NumPy."""

import numpy as np

from kvae.layers import GridAttention


def test_each_place_attends_to_all_places():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 2, 4)).astype("float32")
    layer = GridAttention()
    np.testing.assert_array_equal(layer(x), x)  # It starts as the identity.
    kernel, bias = rng.normal(size=(4, 4)).astype("float32"), rng.normal(size=4).astype("float32")
    layer.output_projection.set_weights([kernel, bias])
    weights, offset = layer.project.get_weights()
    for image, found in zip(x, np.asarray(layer(x)), strict=True):
        centred = (image - image.mean()) / np.sqrt(image.var() + layer.normalize.epsilon)
        query, key, value = np.split(centred.reshape(6, 4) @ weights + offset, 3, axis=1)
        for place in range(6):
            share = np.exp(key @ query[place] / 2.0)
            mean = (share[:, None] * value).sum(axis=0) / share.sum()
            expected = image.reshape(6, 4)[place] + mean @ kernel + bias
            np.testing.assert_allclose(found.reshape(6, 4)[place], expected, rtol=1e-4, atol=1e-5)
