"""Numbers as waves of several lengths, from which a network learns fine differences sooner."""

import keras
from keras import ops

from kvae.utils import arguments

__all__ = ["FourierFeatures"]


@keras.saving.register_keras_serializable(package="kvae.layers")
class FourierFeatures(keras.layers.Layer):
    """Appends sin(2^k x) and cos(2^k x) of each number x, for k = 0, 1, … `octaves` − 1.

    Of a number alone a network learns coarse functions long before fine ones. The waves let a
    decoder put a thing to the pixel where a condition says, for one.

    Args:
        octaves: int. How many lengths of waves; the shortest is 2π / 2^(octaves − 1).

    Call arguments:
        inputs: tensor `[..., n]`.

    Returns:
        Tensor `[..., n (1 + 2 octaves)]`: the inputs, their sines and cosines, octave by octave.

    Raises:
        ValueError: for less than one octave.

    Example:

    ```python
    kvae.layers.FourierFeatures(octaves=2)(np.array([[0.5]]))  # [[0.5, sin 0.5, cos 0.5, …]]
    ```

    Reference:
        - [Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low
          Dimensional Domains](https://arxiv.org/abs/2006.10739)
    """

    def __init__(self, octaves: int, **kwargs):
        super().__init__(**kwargs)
        self.octaves = arguments.whole("octaves", octaves)

    def call(self, inputs):
        scaled = [inputs * 2.0**k for k in range(self.octaves)]
        waves = [wave(x) for x in scaled for wave in (ops.sin, ops.cos)]
        return ops.concatenate([inputs, *waves], axis=-1)

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], inputs_shape[-1] * (1 + 2 * self.octaves))

    def get_config(self):
        return {**super().get_config(), "octaves": self.octaves}
