"""The operators that LiteRT's GPU accelerator runs, and networks rewritten to use no others."""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from export.files import flatbuffer

__all__ = ["OPERATORS", "obstacles", "rewritten", "split_activations"]

# Operators and the largest version of each with which LiteRT 2.3 ran a whole graph on its GPU
# accelerator (the WebGPU one, of ML Drift). Others may run there as well.
OPERATORS = {
    "ADD": 3,
    "CONCATENATION": 2,
    "CONV_2D": 5,
    "DEPTH_TO_SPACE": 2,
    "DEQUANTIZE": 3,
    "DIV": 1,
    "ELU": 1,
    "EXP": 2,
    "FULLY_CONNECTED": 12,
    "GATHER": 2,
    "GELU": 2,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 3,
    "PACK": 1,
    "PAD": 2,
    "POW": 1,
    "QUANTIZE": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 3,
    "RESIZE_NEAREST_NEIGHBOR": 3,
    "RSQRT": 2,
    "SOFTMAX": 2,
    "SPLIT": 2,
    "SQUARE": 1,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 2,
    "SUB": 3,
    "SUM": 2,
    "TANH": 2,
    "TILE": 1,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 3,
    "UNPACK": 1,
}


def obstacles(content) -> list[str]:
    """Returns what keeps the accelerator from running all of a graph, a line each.

    Args:
        content: `ModelT` of `export.files.flatbuffer`, with one signature.
    """
    return [*_operators(flatbuffer.operators(content)), *_shapes(content)]


def _operators(found: Mapping[str, int]) -> list[str]:
    lines = []
    for name, version in found.items():
        largest = OPERATORS.get(name)
        if largest is None:
            lines.append(f"{name} is not among the operators that the GPU is known to run")
        elif version > largest:
            lines.append(f"{name} has version {version}, the GPU is known to run up to {largest}")
    return lines


def _shapes(content) -> list[str]:
    lines = []
    for graph in content.subgraphs:
        for tensor in graph.tensors:
            rank = 0 if tensor.shape is None else len(tensor.shape)
            name = tensor.name.decode(errors="replace")
            signature = tensor.shapeSignature
            if signature is not None and (np.asarray(signature) < 0).any():
                lines.append(f"the size of {name} is not fixed")
            elif rank > 4:
                lines.append(f"{name} has {rank} axes, the GPU takes 4")
    return lines


def split_activations(content) -> int:
    """Takes ReLUs out of transposed convolutions: the GPU takes version 3, without one."""
    return flatbuffer.split(content, "TRANSPOSE_CONV", version=3)


@contextlib.contextmanager
def rewritten(network) -> Iterator[None]:
    """Makes layers of a Keras model compute the same by other operators, within a `with` block.

    In Keras, group normalisation (of channels that come last) and nearest up-sampling use tensors
    of five axes. Here they use four.

    Args:
        network: keras.Model, or any layer. Built.
    """
    import keras

    from kvae.utils import keras_internals

    kinds = (
        (keras.layers.GroupNormalization, _grouped),
        (keras.layers.UpSampling2D, _nearest),
    )
    changed = []
    try:
        for layer in keras_internals.flat_layers(network):
            for kind, make in kinds:
                function = make(layer) if type(layer) is kind else None
                if function is not None:
                    layer.call = function
                    changed.append(layer)
        yield
    finally:
        for layer in changed:
            del layer.call


def _nearest(layer):
    import tensorflow as tf

    if layer.interpolation != "nearest" or layer.data_format != "channels_last":
        return None

    def call(inputs):
        rows, columns = inputs.shape[1] * layer.size[0], inputs.shape[2] * layer.size[1]
        return tf.image.resize(inputs, (rows, columns), "nearest")

    return call


def _grouped(layer):
    import tensorflow as tf

    channels = layer.gamma if layer.scale else layer.beta if layer.center else None
    if channels is None:
        return None
    channels = channels.shape[0]

    def call(inputs):
        rank = inputs.shape.rank
        if layer.axis not in (-1, rank - 1) or rank not in (3, 4):
            return type(layer).call(layer, inputs)
        # A product with a matrix of blocks averages over the channels of a group.
        groups = np.arange(channels) * layer.groups // channels
        average = (groups[:, None] == groups) * (layer.groups / channels)
        kernel = tf.constant(average[None, None], tf.float32)

        def mean(x):
            return tf.nn.conv2d(tf.reduce_mean(x, (1, 2), keepdims=True), kernel, 1, "VALID")

        x = tf.cast(inputs, tf.float32)
        x = x[:, :, None] if rank == 3 else x
        centred = x - mean(x)
        scale = tf.math.rsqrt(mean(tf.square(centred)) + layer.epsilon)
        if layer.scale:
            scale = scale * tf.cast(layer.gamma, tf.float32)
        y = centred * scale
        if layer.center:
            y = y + tf.cast(layer.beta, tf.float32)
        return tf.cast(tf.reshape(y, tf.shape(inputs)), layer.compute_dtype)

    return call
