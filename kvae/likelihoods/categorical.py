"""The categorical likelihood."""

import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.classes import OfClasses
from kvae.likelihoods.likelihood import per_value, register

__all__ = ["Categorical"]


@register("categorical")
class Categorical(OfClasses):
    """`p(x|z)` = Π softmax(logits_i)[x_i], for x of class numbers 0 … `num_classes` - 1.

    Minus its log-probability is the *categorical cross-entropy from logits*, summed over the
    event, with no further constants; with two classes that is the binary cross-entropy at the
    difference of the logits. For pixels with 256 levels, minus `log_prob / (d · log 2)` are bits
    per dimension, and they compare with those of the other discrete likelihoods.

    x are the class numbers themselves, as whole numbers in a float or integer array: multiply
    images in [0, 1] by `num_classes - 1` and round. (A `kvae.datasets.Dataset` of uint8 divides by
    255, unless it is made with `intensities=False`.)

    Args:
        num_classes: int. K, at least 2. Defaults to `256`.
        scale_input: bool. Whether the encoder sees the class numbers as levels from -1 to 1, and
            not the numbers themselves, with which a training starts at losses of 10⁸ nats. For
            classes without an order an encoder may begin with a `keras.layers.CategoryEncoding` of
            its own, with `scale_input=False`. Defaults to `True`.

    Decoder output: logits, K for each value of x: `(h, w, c · K)` for events `(h, w, c)`, the
    classes of a channel beside one another.

    `mean` is the mean class number, which says something where classes are ordered, as grey levels
    are; use `mode` where they are not.

    Raises:
        ValueError: for `num_classes` below 2.

    Example:

    ```python
    likelihood = kvae.likelihoods.Categorical(num_classes=4)
    params = likelihood(np.zeros((2, 8, 8, 4), "float32"))          # for events (8, 8, 1)
    likelihood.log_prob(params, np.full((2, 8, 8, 1), 3.0))         # 64 · log(1/4) = -88.7 nats
    ```

    Reference:
        - [van den Oord et al., Pixel Recurrent Neural Networks, section 3.4](
          https://arxiv.org/abs/1601.06759)
    """

    decoder_outputs = "logits"

    def __init__(self, num_classes: int = 256, scale_input: bool = True, **kwargs):
        super().__init__(num_classes, scale_input, **kwargs)
        self.num_parameters = self.num_classes

    def call(self, outputs):
        return {"logits": per_value(outputs, self.num_classes)}

    def element_distribution(self, params):
        from tensorflow_probability import distributions as tfd

        return tfd.Categorical(logits=params["logits"], dtype=self.dtype)

    def element_log_prob(self, params, x):
        logits = params["logits"]
        classes = tf.broadcast_to(tf.cast(tf.round(x), tf.int32), tf.shape(logits)[:-1])
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits)

    def mean(self, params):
        classes = ops.arange(self.num_classes, dtype=self.dtype)
        return ops.sum(ops.softmax(params["logits"], axis=-1) * classes, axis=-1)

    def mode(self, params):
        return ops.cast(ops.argmax(params["logits"], axis=-1), self.dtype)

    def sample(self, params, seed):
        logits = params["logits"]
        return ops.cast(
            ops.argmax(logits + random.gumbel(ops.shape(logits), seed), axis=-1), self.dtype
        )

    def averaged(self, params):
        return {"probabilities": ops.softmax(params["logits"], axis=-1)}

    def point(self, averages):
        # Keras would look at the bits of zeros, for which files of `impute` have no operator.
        best = tf.argmax(averages["probabilities"], axis=-1, output_type=tf.int32)
        return ops.cast(best, self.dtype)

    def support(self):
        last = self.num_classes - 1
        return 0.0, float(last), f"Give class numbers 0, 1, …, {last}."

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}
