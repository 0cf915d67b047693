"""The mixture of discretised logistics."""

from keras import ops

from kvae import random
from kvae.likelihoods.discretized_logistic import Discretized
from kvae.likelihoods.likelihood import per_value, register

__all__ = ["DiscretizedLogisticMixture"]


@register("discretized_logistic_mixture")
class DiscretizedLogisticMixture(Discretized):
    """`p(x|z)` = Π Σ_m w_im P(logistic m, rounded to a level, is x_i), for levels in [0, 1].

    Each value of x has a mixture of its own, w = softmax(logits), of `num_components` logistics as
    in `DiscretizedLogistic`. Given z the values are independent: PixelCNN++ shares the weights
    among the channels of a pixel and lets a channel's mean depend on those before it, and this
    likelihood does neither.

    `log_prob` is of probabilities, and minus `log_prob / (d · log 2)` are *bits per dimension*. It
    corresponds to none of MSE, BCE or L1: a pixel may be black or white without being grey.

    Args:
        num_components: int. M, at least 1. Defaults to `5`.
        levels: int. Values that x takes, from 2 to 65536. Defaults to `256`.
        log_scale_bound: float. log s stays within ±this; at most 10. Defaults to `7.0`.

    Decoder output: 3 M numbers for each value of x, `(h, w, c · 3M)` for events `(h, w, c)`: its M
    logits, then its M means (relative to evenly spread starts in (0, 1), so that a decoder which
    returns zeros does not give M equal components), then its M values of log s.

    Raises:
        ValueError: for an argument out of range; `check` for x between levels.

    Example:

    ```python
    likelihood = kvae.likelihoods.DiscretizedLogisticMixture(num_components=3)
    likelihood.output_shape((28, 28, 1))     # (28, 28, 9)
    ```

    Reference:
        - [Salimans et al., PixelCNN++, section 2.1](https://arxiv.org/abs/1701.05517)
    """

    decoder_outputs = "logits, means and log-scales"

    def __init__(
        self,
        num_components: int = 5,
        levels: int = 256,
        log_scale_bound: float = 7.0,
        **kwargs,
    ):
        super().__init__(levels, log_scale_bound, **kwargs)
        if not num_components >= 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        self.num_components = int(num_components)
        self.num_parameters = 3 * self.num_components

    def call(self, outputs):
        logits, mean, log_scale = ops.split(per_value(outputs, self.num_parameters), 3, axis=-1)
        starts = (ops.arange(self.num_components, dtype=self.dtype) + 0.5) / self.num_components
        return {"logits": logits, "mean": mean + starts, "log_scale": self._bounded(log_scale)}

    def element_log_prob(self, params, x):
        cells = self._cell_log_prob(params["mean"], params["log_scale"], x[..., None])
        return ops.logsumexp(_log_weights(params) + cells, axis=-1)

    def mean(self, params):
        mean, inverse = params["mean"], ops.exp(-params["log_scale"])
        weights = ops.exp(_log_weights(params))
        return self._tail_sum(
            lambda edge: ops.sum(weights * ops.sigmoid((mean - edge) * inverse), axis=-1)
        )

    def mode(self, params):
        # All levels are tried, because the mode of a mixture has no closed form.
        first = ops.zeros_like(params["mean"][..., 0])

        def better(k, best):
            level, log_prob = best
            x = first + ops.cast(k, self.dtype) * self._step
            candidate = self.element_log_prob(params, x)
            return ops.where(candidate > log_prob, x, level), ops.maximum(candidate, log_prob)

        start = (first, self.element_log_prob(params, first))
        return self._rounded(ops.fori_loop(1, self.levels, better, start)[0])

    def sample(self, params, seed):
        which, where = random.split(seed)
        logits = params["logits"]
        component = ops.argmax(logits + random.gumbel(ops.shape(logits), which), axis=-1)
        chosen = ops.one_hot(component, self.num_components, dtype=self.dtype)
        mean = ops.sum(chosen * params["mean"], axis=-1)
        scale = ops.exp(ops.sum(chosen * params["log_scale"], axis=-1))
        return self._rounded(mean + scale * random.logistic(ops.shape(mean), where))

    def get_config(self):
        return {**super().get_config(), "num_components": self.num_components}


def _log_weights(params):
    # Keras's softmax would warn if there is a single component.
    return params["logits"] - ops.logsumexp(params["logits"], axis=-1, keepdims=True)
