"""Convolutions whose kernels are directions and lengths (weight normalization)."""

import keras
from keras import ops

__all__ = ["WeightNormConv2D"]


@keras.saving.register_keras_serializable(package="kvae")
class WeightNormConv2D(keras.layers.Conv2D):
    """A convolution with the kernel `g v / ‖v‖`, of a direction v and a length g for each filter.

    A step of the optimizer changes both apart, so that filters of any length learn at the same
    pace. It is the normalization that costs nothing for each pixel, and it makes no example depend
    on its batch. At the start g is ‖v‖: the layer begins as the `keras.layers.Conv2D` that has the
    same arguments.

    Example:

    ```python
    layer = kvae.layers.WeightNormConv2D(8, 3, padding="same")
    layer(np.zeros((1, 6, 6, 2)))  # shape (1, 6, 6, 8)
    ```

    Reference:
        - [Salimans & Kingma, Weight Normalization, eq. 2](https://arxiv.org/abs/1602.07868)
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.gain = self.add_weight(
            name="gain", shape=(self.filters,), initializer="ones", dtype=self.dtype
        )
        self.gain.assign(_length(self._kernel))
        self.built = True

    def convolution_op(self, inputs, kernel):
        """Convolves with the kernel that v and g make."""
        kernel = ops.cast(kernel, "float32")
        scaled = kernel * (ops.cast(self.gain, "float32") / _length(kernel))
        return super().convolution_op(inputs, ops.cast(scaled, self.compute_dtype))

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store[str(len(store.keys()))] = self.gain

    def load_own_variables(self, store):
        self._check_load_own_variables(store)
        kept = [self._kernel, *([self.bias] if self.use_bias else []), self.gain]
        for index, variable in enumerate(kept):
            variable.assign(store[str(index)])


def _length(kernel):
    """Returns the norm of each filter."""
    return ops.sqrt(ops.sum(ops.square(kernel), axis=(0, 1, 2)) + 1e-12)
