"""Embeddings of symbols, of which some may be missing."""

import functools

import keras
from keras import ops

__all__ = ["SymbolEmbedding"]


@keras.saving.register_keras_serializable(package="kvae.layers")
class SymbolEmbedding(keras.layers.Layer):
    """Turns sequences of class numbers, as an encoder sees them, into vectors.

    A class that was not observed has an embedding of its own, where the encoder sees the mask
    (`missing="zero:mask"`). Keras's mask, which recurrent layers after it honour, leaves out what
    follows the end of a sequence.

    Args:
        num_classes: int. K; classes are numbers from 0 to K - 1.
        embedding_dim: int. Size of the vectors.
        end: int or `None`. The class that ends a sequence. Defaults to `None`: no class does.

    Call arguments:
        inputs: tensor `[batch, steps, 1]` of classes, or `[batch, steps, 2]` of classes and of 1
            where they were observed and 0 elsewhere.

    Returns:
        Tensor `[batch, steps, embedding_dim]`.

    Example:

    ```python
    layer = kvae.layers.SymbolEmbedding(num_classes=5, embedding_dim=3)
    layer(np.array([[[4.0, 1.0], [0.0, 0.0]]]))  # Class 4, and one that is missing.
    ```
    """

    def __init__(self, num_classes: int, embedding_dim: int, end: int | None = None, **kwargs):
        # Half precision does not hold the numbers of many classes.
        super().__init__(autocast=False, **kwargs)
        self.num_classes, self.embedding_dim, self.end = num_classes, embedding_dim, end
        self.embedding = keras.layers.Embedding(
            num_classes + 1, embedding_dim, name="embedding", dtype=self.dtype_policy
        )

    def build(self, inputs_shape):
        self.embedding.build(inputs_shape[:-1])
        self.built = True

    def call(self, inputs):
        return self.embedding(self._symbols(inputs))

    def compute_mask(self, inputs, previous_mask):
        """Returns which steps belong to the sequence, bool `[batch, steps]`.

        Args:
            inputs: tensor, as for a call.
            previous_mask: bool tensor `[batch, steps]` or `None`. Keras's mask of the inputs.
        """
        # All of it follows from the inputs: a functional model computes masks of what it declares.
        masks = [] if previous_mask is None else [previous_mask]
        if inputs.shape[-1] == 2:
            there = ops.cast(ops.greater(inputs[..., 1], 0.5), "int32")
            masks.append(ops.greater(ops.flip(ops.cumsum(ops.flip(there, 1), axis=1), 1), 0))
        if self.end is not None:
            ends = ops.cast(ops.equal(self._symbols(inputs), self.end), "int32")
            masks.append(ops.equal(ops.cumsum(ends, axis=1) - ends, 0))  # The end itself is read.
        return functools.reduce(ops.logical_and, masks) if masks else None

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], self.embedding_dim)

    def _symbols(self, inputs):
        symbols = ops.cast(ops.round(inputs[..., 0]), "int32")
        if inputs.shape[-1] == 1:
            return symbols
        return ops.where(ops.greater(inputs[..., 1], 0.5), symbols, self.num_classes)

    def get_config(self):
        config = super().get_config()
        config.pop("autocast", None)
        return {
            **config,
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "end": self.end,
        }
