"""The autoregressive prior over a grid of codes."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from kvae.priors.discrete import CodesPrior
from kvae.priors.prior import register

__all__ = ["PixelCNN"]


@register("pixel_cnn")
class PixelCNN(CodesPrior):
    """`p(z) = Π_i p(code_i | codes before it)` of the codes of a `Quantizer` posterior.

    A gated PixelCNN reads the grid of codes row by row: a vertical stack of convolutions sees the
    rows above, a horizontal one the codes to the left. Of several codes at a position (`groups`,
    `residual`) each sees those before it as well. Trained with the model it fits the codes by
    maximum likelihood; which code the encoder chooses has no gradient, so it leaves the encoder
    alone, and the ELBO holds the true cost of the codes instead of N log K. A draw takes one pass
    of the network for each code. `kvae.samplers.PixelCNN` fits one to a model that is trained
    already. `temperature` divides the logits; 0 takes the likeliest codes.

    Args:
        latent_dim: int or `None`. Set by `kvae.VAE` when `None`.
        grid: pair of int or `None`. Rows and columns of the positions. Defaults to `None`: those of
            the model's `latent_shape`; without one a square where their number is one, else a
            single row.
        filters: int. Channels of both stacks. Defaults to `32`.
        num_layers: int. Gated layers after the first one. Defaults to `4`.

    Raises:
        ValueError: for a model with another posterior, and a grid of another number of codes.

    Example:

    ```python
    vae = kvae.VAE(
        encoder, decoder, latent_dim=16, posterior="vector_quantized", prior="pixel_cnn"
    )
    ```

    References:
        - [van den Oord et al., Conditional Image Generation with PixelCNN Decoders, section 2](
          https://arxiv.org/abs/1606.05328)
        - [van den Oord et al., Neural Discrete Representation Learning, section 3.3](
          https://arxiv.org/abs/1711.00937)
    """

    any_size = True

    def __init__(
        self,
        latent_dim: int | None = None,
        grid=None,
        filters: int = 32,
        num_layers: int = 4,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        if filters < 1 or num_layers < 0:
            raise ValueError(
                f"`filters` is at least 1 and `num_layers` at least 0, not {filters} and "
                f"{num_layers}."
            )
        self._like = lambda: None  # The network of another size, whose layers this one shares.
        self.grid = None if grid is None else tuple(grid)
        self.filters, self.num_layers = filters, num_layers

    def build(self, input_shape=None):
        if self.built:
            return
        positions = self.quantizer.num_positions
        grid = self.grid
        if grid is None and len(self.latent_shape or ()) == 3:
            grid = (self.latent_shape[0], positions // self.latent_shape[0])
        elif grid is None:
            side = math.isqrt(positions)
            grid = (side, side) if side**2 == positions else (1, positions)
        if math.prod(grid) != positions:
            depth = self.quantizer.codes_per_position
            codes = "codes" if depth == 1 else f"positions of {depth} codes"
            raise ValueError(
                f"A grid of {grid[0]} by {grid[1]} does not hold {positions} {codes}, as the "
                "encoder's output has."
            )
        self.network = _network(
            grid,
            self.quantizer.codes_per_position,
            self.quantizer.num_embeddings,
            self.filters,
            self.num_layers,
            self.dtype,
            self._like(),
        )
        self.built = True

    def resized(self, latent_shape):
        other = type(self).from_config({**self.get_config(), "latent_dim": None, "grid": None})
        other.latent_dim, other.latent_shape = math.prod(latent_shape), latent_shape
        network = self.network
        other._like = lambda: network
        return other

    def get_build_config(self):
        return None  # Keras does not build a reloaded prior: its model does, which knows the codes.

    def logits(self, codes):
        """Returns the logits of each code given those before it: `[n, N]` to `[n, N, K]`."""
        depth, k = self.quantizer.codes_per_position, self.quantizer.num_embeddings
        if depth > 1:  # Codes of different codebooks mean different things.
            # `tf.add`: Keras adds vectors with BiasAdd, which TFLite has not for integers.
            book = np.arange(self.quantizer.num_codes, dtype="int32") % depth
            codes = tf.add(tf.cast(codes, tf.int32), k * book)
        return self.network(codes)

    def log_prob(self, z):
        quantizer = self.quantizer
        codes = tf.reshape(quantizer.nearest(tf.stop_gradient(z)), (-1, quantizer.num_codes))
        log_p = tf.nn.log_softmax(self.logits(codes))
        chosen = tf.gather(log_p, codes, axis=-1, batch_dims=2)
        return tf.reshape(tf.reduce_sum(chosen, axis=-1), tf.shape(z)[:-1])

    def transform(self, noise, temperature=1.0):
        # Codes one after another, each the quantile of its uniform number.
        uniform = noise["uniform"]
        temperature = tf.maximum(temperature, 1e-6)  # At 0 the most probable codes.
        length = self.quantizer.num_codes
        lead = tf.shape(uniform)[:-1]
        uniform = tf.reshape(uniform, (-1, length))

        def one_more(i, codes):
            logits = tf.gather(self.logits(codes), i, axis=1) / temperature
            below = tf.cumsum(tf.nn.softmax(logits), axis=-1)[:, :-1]
            place = tf.gather(uniform, i, axis=1)[:, None]
            code = tf.reduce_sum(tf.cast(place >= below, tf.int32), axis=-1)
            return i + 1, codes + code[:, None] * tf.one_hot(i, length, dtype=tf.int32)

        _, codes = tf.while_loop(
            lambda i, codes: i < length,
            one_more,
            (0, tf.zeros_like(uniform, tf.int32)),
            maximum_iterations=length,
        )
        codes = tf.reshape(codes, tf.concat([lead, [length]], axis=0))
        return self.quantizer.embed(codes)

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "filters": self.filters,
            "num_layers": self.num_layers,
        }


def _network(grid, depth, num_embeddings, filters, num_layers, dtype, like=None) -> keras.Model:
    """Codes `[n, N]`, numbered through all codebooks, to logits `[n, N, K]`, row by row.

    A code sees those before it. The `depth` codes of a position stand side by side in its row, and
    kernels are wider for it. A network `like` it, of another grid, gives its layers.
    """

    def embed(x):
        new = layers.Embedding(depth * num_embeddings, filters, name="embedding", dtype=dtype)
        return (new if like is None else like.get_layer("embedding"))(x)

    def convolution(x, width, kernel, name):
        # Whatever keras.json says.
        new = layers.Conv2D(width, kernel, name=name, dtype=dtype, data_format="channels_last")
        return (new if like is None else like.get_layer(name))(x)

    def convolve(x, width, kernel, padding, name):
        pad = layers.ZeroPadding2D(
            padding, name=f"{name}_pad", dtype=dtype, data_format="channels_last"
        )
        return convolution(pad(x), width, kernel, name)

    def gate(x):
        value, gate = ops.split(x, 2, axis=-1)
        return ops.tanh(value) * ops.sigmoid(gate)

    rows, columns = grid[0], grid[1] * depth
    codes = keras.Input((rows * columns,), dtype="int32", name="codes")
    x = layers.Reshape((rows, columns, filters), name="grid", dtype=dtype)(embed(codes))
    # Shifts by one, down and to the right, hide the code itself: units see codes above and left.
    above = convolve(x, filters, (3, 4 * depth + 1), ((3, 0), (2 * depth, 2 * depth)), "above")[
        :, :-1
    ]
    width = 2 * depth + 1
    left = convolve(x, filters, (1, width), ((0, 0), (width, 0)), "left")[:, :, :-1]
    vertical, horizontal = above, left + above
    for i in range(num_layers):
        vertical = convolve(
            vertical, 2 * filters, (2, width), ((1, 0), (depth, depth)), f"vertical_{i}"
        )
        across = convolution(vertical, 2 * filters, 1, f"across_{i}")
        along = convolve(
            horizontal, 2 * filters, (1, depth + 1), ((0, 0), (depth, 0)), f"horizontal_{i}"
        )
        out = convolution(gate(along + across), filters, 1, f"out_{i}")
        vertical, horizontal = gate(vertical), horizontal + out
    x = convolution(ops.relu(horizontal), num_embeddings, 1, "logits")
    x = layers.Reshape((rows * columns, num_embeddings), name="sequence", dtype=dtype)(x)
    return keras.Model(codes, x, name="pixel_cnn")
