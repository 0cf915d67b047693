"""The discretised logistic likelihood, for images of 256 levels."""

import keras
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import Likelihood, register

__all__ = ["Discretized", "DiscretizedLogistic"]


class Discretized(Likelihood):
    """A distribution over the levels k / (levels - 1) of [0, 1], made by rounding a density.

    Each level has the mass of the values that are nearest to it, the first and the last level also
    that of the tails, so that the masses sum to one.
    """

    discrete = True

    def __init__(self, levels: int, log_scale_bound: float, **kwargs):
        super().__init__(**kwargs)
        if not 2 <= levels <= 65536:
            raise ValueError(f"`levels` is from 2 to 65536, not {levels}.")
        if not 0 < log_scale_bound <= 10:
            raise ValueError(f"`log_scale_bound` is in (0, 10], not {log_scale_bound}.")
        self.levels, self.log_scale_bound = int(levels), log_scale_bound

    @property
    def _step(self) -> float:
        return 1.0 / (self.levels - 1)

    def _bounded(self, log_scale):
        return ops.clip(log_scale, -self.log_scale_bound, self.log_scale_bound)

    def _cell_log_prob(self, mean, log_scale, x):
        """log of the logistic's mass between x - step/2 and x + step/2, tails to the ends."""
        # σ(b) - σ(a) = (1 - e^(a-b)) σ(b) σ(-a) in logs: no difference of near numbers, whatever
        # the scale. Without the left end a is -∞, without the right one b is ∞.
        inverse = ops.exp(-log_scale)
        first, last = x < 0.5 * self._step, x > 1.0 - 0.5 * self._step
        left = ops.softplus((x - 0.5 * self._step - mean) * inverse)
        right = ops.softplus((mean - x - 0.5 * self._step) * inverse)
        width = ops.log(-ops.expm1(-self._step * inverse))
        zero = ops.zeros_like(left)
        return (
            ops.where(first | last, zero, width)
            - ops.where(first, zero, left)
            - ops.where(last, zero, right)
        )

    def _tail_sum(self, tail):
        """E[x] = Σ_k step · P(x > level k), for `tail(edge)` = P(value > edge)."""
        # A loop, because all levels at once would take 256 times the memory of the image.
        start = tail(0.5 * self._step)
        total = ops.fori_loop(
            1,
            self.levels - 1,
            lambda k, total: total + tail((ops.cast(k, self.dtype) + 0.5) * self._step),
            start,
        )
        return total * self._step

    def _rounded(self, values):
        last = self.levels - 1
        return ops.round(ops.clip(values, 0.0, 1.0) * last) / last

    def point(self, averages):
        return self._rounded(averages["mean"])

    def support(self):
        return 0.0, 1.0, "Divide images of 0–255 by 255."

    def element_in_support(self, x):
        last = self.levels - 1
        # float32 keeps k / last to 6e-8, float16 to 5e-4.
        coarse = keras.backend.standardize_dtype(x.dtype) == "float16"
        tolerance = last * (1e-3 if coarse else 1e-6) + 1e-9
        levels = ops.cast(x, self.dtype) * last
        near = ops.abs(levels - ops.round(levels)) <= tolerance
        return ops.logical_and(super().element_in_support(x), near)

    def values_taken(self):
        last = self.levels - 1
        return (
            f"the {self.levels} levels k/{last} only. Round with np.round({last} * x) / {last}, or "
            "give the number of levels that the data have (`levels`; 17 for the 8x8 digits)."
        )

    def get_config(self):
        return {
            **super().get_config(),
            "levels": self.levels,
            "log_scale_bound": self.log_scale_bound,
        }


@register("discretized_logistic")
class DiscretizedLogistic(Discretized):
    """`p(x|z)` = Π P(a logistic variable, rounded to a level, is x_i), for levels in [0, 1].

    The logistic of `mean` and scale s = exp(log_scale) is rounded to the nearest of the levels
    0, 1/(levels - 1), …, 1; the tails count for the first and the last level. `log_prob` is of
    probabilities, never positive, and minus `log_prob / (d · log 2)` are *bits per dimension*,
    comparable with published ones when x are 8-bit images and `levels=256`.

    It is none of MSE, BCE or L1, but between: far below s, minus its log-probability is about
    `(x - mean)²/4s²` (MSE), far above about `|x - mean|/s` (L1), plus `log(s (levels - 1))` for
    each value (and log 4 near the mean) where s is wide against a level.

    Args:
        levels: int. Values that x takes, from 2 to 65536. Defaults to `256`.
        log_scale_bound: float. log s stays within ±this; at most 10. Defaults to `7.0`.

    Decoder output: means, in units of x, and log s, concatenated on the last axis: twice the
    channels of the event.

    `mean` is exact: the sum over all levels.

    Raises:
        ValueError: for `levels` or `log_scale_bound` out of range; `check` for x between levels.

    Example:

    ```python
    likelihood = kvae.likelihoods.DiscretizedLogistic()
    params = likelihood(np.zeros((5, 28, 28, 2), "float32"))     # what a decoder returns
    x = np.zeros((5, 28, 28, 1), "float32")
    bits = -likelihood.log_prob(params, x) / (784 * np.log(2))
    ```

    References:
        - [Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow,
          appendix C](https://arxiv.org/abs/1606.04934)
        - [Salimans et al., PixelCNN++, section 2.1](https://arxiv.org/abs/1701.05517)
    """

    decoder_outputs = "means and log-scales"
    num_parameters = 2

    def __init__(self, levels: int = 256, log_scale_bound: float = 7.0, **kwargs):
        super().__init__(levels, log_scale_bound, **kwargs)

    def call(self, outputs):
        mean, log_scale = ops.split(outputs, 2, axis=-1)
        return {"mean": mean, "log_scale": self._bounded(log_scale)}

    def element_log_prob(self, params, x):
        return self._cell_log_prob(params["mean"], params["log_scale"], x)

    def mean(self, params):
        mean, inverse = params["mean"], ops.exp(-params["log_scale"])
        return self._tail_sum(lambda edge: ops.sigmoid((mean - edge) * inverse))

    def mode(self, params):
        # The cell nearest to the mean is the mode, unless the tails make an end more probable.
        inner = ops.clip(self._rounded(params["mean"]), self._step, 1.0 - self._step)
        inner = inner if self.levels > 2 else ops.zeros_like(inner)
        best, best_log_prob = inner, self.element_log_prob(params, inner)
        for end in (0.0, 1.0):
            level = ops.zeros_like(inner) + end
            log_prob = self.element_log_prob(params, level)
            best = ops.where(log_prob > best_log_prob, level, best)
            best_log_prob = ops.maximum(log_prob, best_log_prob)
        return best

    def sample(self, params, seed):
        noise = random.logistic(ops.shape(params["mean"]), seed)
        return self._rounded(params["mean"] + ops.exp(params["log_scale"]) * noise)
