"""Classes as one-hot vectors, of the levels in which likelihoods hand them to an encoder."""

import keras
from keras import ops

__all__ = ["OneHotLevels"]


@keras.saving.register_keras_serializable(package="kvae.layers")
class OneHotLevels(keras.layers.Layer):
    """Turns columns of class numbers, as levels from −1 to 1, into one-hot vectors.

    A categorical likelihood hands class k of K to the encoder as the level 2 k / (K − 1) − 1, which
    says that neighbouring numbers are alike. This layer, at the beginning of an encoder of rows,
    takes that back. A value between two levels, such as the mean that stands for what is missing,
    is shared by both classes.

    Args:
        sizes: sequence of int. The number of classes of each column; 0 for a column that stays as
            it is, and so do further columns (the mask of missing values).

    Example:

    ```python
    layer = kvae.layers.OneHotLevels((0, 3))
    layer(np.float32([[0.5, -1.0], [0.7, 1.0]]))    # [[0.5, 1, 0, 0], [0.7, 0, 0, 1]]
    ```
    """

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = tuple(int(size) for size in sizes)
        if not all(size == 0 or size >= 2 for size in self.sizes):
            raise ValueError(f"`sizes` holds 0 or numbers from 2 on, not {self.sizes}.")

    def call(self, inputs):
        found = []
        for place, size in enumerate(self.sizes):
            column = inputs[..., place : place + 1]
            if size:
                classes = ops.arange(size, dtype=column.dtype)
                number = (column + 1.0) * (0.5 * (size - 1))
                column = ops.relu(1.0 - ops.abs(number - classes))
            found.append(column)
        return ops.concatenate([*found, inputs[..., len(self.sizes) :]], axis=-1)

    def compute_output_shape(self, input_shape):
        width = sum(size or 1 for size in self.sizes) + input_shape[-1] - len(self.sizes)
        return (*input_shape[:-1], width)

    def get_config(self):
        return {**super().get_config(), "sizes": list(self.sizes)}
