"""Numbers as waves of several lengths."""

import keras
import numpy as np
import pytest

from kvae.layers import FourierFeatures


def test_waves_are_those_of_numpy_and_come_back_from_a_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    expected = [x]
    for scale in (1, 2, 4):
        expected += [np.sin(scale * x), np.cos(scale * x)]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, FourierFeatures(3)(inputs))
    assert model.output.shape == (None, 14)
    np.testing.assert_allclose(model(x), np.concatenate(expected, axis=1), atol=1e-6)
    model.save(tmp_path / "waves.keras")
    again = keras.models.load_model(tmp_path / "waves.keras", safe_mode=True)
    np.testing.assert_array_equal(again(x), model(x))
    for wrong in (0, 2.5):
        with pytest.raises(ValueError, match=f"at least 1, not {wrong}"):
            FourierFeatures(wrong)
