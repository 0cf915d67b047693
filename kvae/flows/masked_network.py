"""MADE, the dense network in which an output depends on the inputs before it only."""

import keras
import numpy as np
from keras import ops

from kvae.parts import Part

__all__ = ["MaskedNetwork"]


class MaskedNetwork(Part):
    """A MADE: dense layers with masks, so that output i depends on inputs of lower degree only.

    Args:
        degrees: sequence of int, one for each input. Outputs of degree k see the inputs of degrees
            below k; degrees 1, 2, …, D give an autoregressive network.
        num_outputs: int. Outputs for each input.
        hidden: sequence of int. Widths of the hidden layers.
        context_dim: int. Size of a context that every output sees; `0` for none.
        final_bias: sequence of `num_outputs` floats. The outputs start near these.

    Call arguments: `z`, `[..., D]`; `context`, `[batch, context_dim]` or `None`. Returns
    `[..., D, num_outputs]`.

    Reference:
        - [Germain et al., MADE: Masked Autoencoder for Distribution Estimation, section 4](
          https://arxiv.org/abs/1502.03509)
    """

    def __init__(self, degrees, num_outputs, hidden, context_dim=0, final_bias=None, **kwargs):
        super().__init__(**kwargs)
        self.degrees = np.asarray(degrees)
        self.num_outputs, self.hidden, self.context_dim = num_outputs, tuple(hidden), context_dim
        self.final_bias = final_bias or (0.0,) * num_outputs

    def build(self, input_shape=None):
        lowest, highest = self.degrees.min(), self.degrees.max()
        # The degrees of hidden units are spread evenly; a unit of degree k sees the inputs up to k.
        # If all inputs have one degree, the units see the context only.
        spread = max(1, highest - lowest)
        first = lowest if highest > lowest else lowest - 1
        before = self.degrees
        self.kernels, self.biases, self.context_kernels, self.masks = [], [], [], []
        for index, width in enumerate(self.hidden):
            degrees = first + np.arange(width) % spread
            self._add(index, np.greater_equal, before, degrees, "glorot_uniform", "zeros")
            before = degrees
        outputs = np.repeat(self.degrees, self.num_outputs)
        bias = keras.initializers.Constant(np.tile(self.final_bias, len(self.degrees)))
        small = keras.initializers.RandomNormal(stddev=0.01)
        self._add(len(self.hidden), np.greater, before, outputs, small, bias)
        self.built = True

    def _add(self, index, sees, before, after, kernel, bias) -> None:
        shape = (len(before), len(after))
        self.kernels.append(
            self.add_weight(shape=shape, initializer=kernel, name=f"kernel_{index}")
        )
        self.biases.append(self.add_weight(shape=shape[1:], initializer=bias, name=f"bias_{index}"))
        # The weights come first, so that a network that is too large fails before masks are made.
        self.masks.append(sees(after[None, :], before[:, None]).astype("float32"))
        if self.context_dim:
            # The outputs see the context directly: those of the lowest degree see no hidden unit.
            self.context_kernels.append(
                self.add_weight(
                    shape=(self.context_dim, shape[1]),
                    initializer=kernel,
                    name=f"context_kernel_{index}",
                )
            )

    def call(self, z, context=None):
        x = z
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = ops.matmul(x, kernel * self.masks[index]) + bias
            if self.context_dim:
                x = x + ops.matmul(context, self.context_kernels[index])
            if index < len(self.hidden):
                # Bounded units make inputs harmless that a sequential pass has not filled yet.
                x = ops.tanh(x)
        return ops.reshape(x, (*ops.shape(z)[:-1], len(self.degrees), self.num_outputs))
