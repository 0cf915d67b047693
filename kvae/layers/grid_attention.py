"""Attention between the places of a grid."""

import keras
from keras import layers, ops

__all__ = ["GridAttention"]


@keras.saving.register_keras_serializable(package="kvae.layers")
class GridAttention(layers.Layer):
    """Self-attention of one head between all places of a grid of any size, added to its input.

    `x + W_o softmax(q kᵀ / √c) v` over the places, with `q`, `k` and `v` linear in the group
    normalization of x. `W_o` starts at 0, so that the layer starts as the identity. The memory
    grows with the square of the number of places: use it on small grids.

    Args:
        groups: int. Groups of channels of the normalization. Defaults to `1`.

    Call arguments:
        inputs: tensor `[batch, …, channels]`.

    Returns:
        Tensor like the inputs.

    Example:

    ```python
    kvae.layers.GridAttention()(np.ones((2, 8, 6, 16), "float32"))     # shape (2, 8, 6, 16)
    ```

    Reference:
        - [Zhang et al., Self-Attention Generative Adversarial Networks, section 3](
          https://arxiv.org/abs/1805.08318)
    """

    def __init__(self, groups: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, input_shape):
        channels = input_shape[-1]
        own = {"dtype": self.dtype_policy}
        self.normalize = layers.GroupNormalization(self.groups, name="normalize", **own)
        self.project = layers.Dense(3 * channels, name="project", **own)
        self.output_projection = layers.Dense(
            channels, kernel_initializer="zeros", name="output", **own
        )
        for layer in (self.normalize, self.project, self.output_projection):
            layer.build(input_shape)
        self.built = True

    def call(self, inputs):
        shape, channels = ops.shape(inputs), inputs.shape[-1]
        projected = self.project(self.normalize(inputs))
        query, key, value = ops.split(ops.reshape(projected, (shape[0], -1, 3 * channels)), 3, -1)
        weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 2, 1))) / channels**0.5)
        found = ops.reshape(ops.matmul(weights, value), shape)
        return inputs + self.output_projection(found)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}
