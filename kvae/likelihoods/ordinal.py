"""The ordinal likelihood, for classes with an order."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.classes import OfClasses
from kvae.likelihoods.likelihood import register

__all__ = ["Ordinal"]

_FAR = 1e6  # A threshold beyond all others.
_CLOSEST = 1e-4  # Two thresholds are further apart.


@register("ordinal")
class Ordinal(OfClasses):
    """`P(x_i ≤ k|z)` = sigmoid((threshold_k − location_i) / scale_i), for ordered classes.

    The thresholds are learned and shared by all examples; each column (each entry of the last axis
    of x) has its own. The decoder says where an example is among them, and how surely: McCullagh's
    proportional odds, with a scale. Neighbouring classes are near to each other by construction,
    which a `Categorical` has to learn.

    Args:
        num_classes: int. K, at least 2. Defaults to `5`.
        log_scale_bound: float. Logarithms of the scale stay within ±this. Defaults to `5.0`.
        scale_input: bool. Whether the encoder sees the classes as levels from -1 to 1, as by
            `Categorical`. Defaults to `True`.

    Decoder output: locations and log-scales, concatenated on the last axis.

    `mean` is the mean class number, `mode` the most probable class; a single imputation is the
    median.

    Raises:
        ValueError: for an argument out of range; `check` for x that is no class number.

    Example:

    ```python
    likelihood = kvae.likelihoods.Ordinal(num_classes=3)
    params = likelihood(np.zeros((1, 2), "float32"))              # for events (1,)
    likelihood.log_prob(params, np.ones((1, 1), "float32"))       # log(1/3)
    ```

    Reference:
        - McCullagh, Regression Models for Ordinal Data, J. R. Stat. Soc. B 42 (1980).
    """

    decoder_outputs = "locations and log-scales"
    num_parameters = 2

    def __init__(
        self,
        num_classes: int = 5,
        log_scale_bound: float = 5.0,
        scale_input: bool = True,
        **kwargs,
    ):
        super().__init__(num_classes, scale_input, **kwargs)
        if not log_scale_bound > 0:
            raise ValueError(f"`log_scale_bound` is positive, not {log_scale_bound}.")
        self.log_scale_bound = log_scale_bound

    def build(self, outputs_shape):
        columns, count = outputs_shape[-1] // 2, self.num_classes - 1
        shares = np.arange(1, count + 1) / self.num_classes
        starts = np.log(shares / (1 - shares))  # Of equal probabilities at location 0.
        # The first threshold, and the steps by which the others lie above it, before a softplus.
        raw = np.concatenate([starts[:1], np.log(np.expm1(np.diff(starts)))])
        self.raw_thresholds = self.add_weight(
            shape=(columns, count),
            initializer=keras.initializers.Constant(np.tile(raw, (columns, 1))),
            name="raw_thresholds",
        )
        self.built = True

    def thresholds(self):
        """Returns the thresholds of each column in their order, `[columns, num_classes - 1]`."""
        first, steps = self.raw_thresholds[:, :1], self.raw_thresholds[:, 1:]
        above = ops.cumsum(ops.softplus(steps) + _CLOSEST, axis=-1)
        return ops.concatenate([first, first + above], axis=-1)

    def call(self, outputs):
        location, log_scale = ops.split(outputs, 2, axis=-1)
        bound = self.log_scale_bound
        return {"location": location, "log_scale": ops.clip(log_scale, -bound, bound)}

    def _edges(self, params):
        """Returns the thresholds as logits of P(x ≤ k), `[..., columns, K - 1]`."""
        apart = self.thresholds() - params["location"][..., None]
        return apart * ops.exp(-params["log_scale"])[..., None]

    def _log_probs(self, params):
        """Returns log P(x = k) of all classes, `[..., columns, K]`.

        sigmoid(a) − sigmoid(b) is sigmoid(a) sigmoid(−b) (1 − exp(b − a)), without cancellation.
        """
        edges = self._edges(params)
        far = ops.full_like(edges[..., :1], _FAR)
        upper = ops.concatenate([edges, far], axis=-1)
        lower = ops.concatenate([-far, edges], axis=-1)
        width = ops.maximum(upper - lower, 1e-10)
        between = ops.log(-tf.math.expm1(-width))
        return ops.log_sigmoid(upper) + ops.log_sigmoid(-lower) + between

    def element_log_prob(self, params, x):
        log_probs = self._log_probs(params)
        classes = ops.one_hot(ops.cast(ops.round(x), "int32"), self.num_classes, dtype=self.dtype)
        return ops.sum(ops.where(classes > 0, log_probs, 0.0), axis=-1)

    def mean(self, params):
        # The sum of P(x > k) over k.
        return ops.sum(ops.sigmoid(-self._edges(params)), axis=-1)

    def mode(self, params):
        return ops.cast(ops.argmax(self._log_probs(params), axis=-1), self.dtype)

    def sample(self, params, seed):
        # A logistic number is between two thresholds.
        noise = random.logistic(ops.shape(params["location"]), seed)[..., None]
        return ops.sum(ops.cast(noise > self._edges(params), self.dtype), axis=-1)

    def averaged(self, params):
        return {"below": ops.sigmoid(self._edges(params))}

    def point(self, averages):
        return ops.sum(ops.cast(averages["below"] < 0.5, self.dtype), axis=-1)

    def get_config(self):
        return {**super().get_config(), "log_scale_bound": self.log_scale_bound}
