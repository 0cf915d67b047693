"""The mixture of rounded logistics, for whole numbers of several modes."""

import math

import tensorflow as tf
from keras import ops

from kvae import random
from kvae.likelihoods.likelihood import per_value, register
from kvae.likelihoods.scale import Standardized

__all__ = ["RoundedMixture"]

_NOWHERE = -1e9  # log of no probability.
_NARROWEST = -4.0  # log s, in units of x: all of the mass is on one number.
_CELLS = 16  # Numbers on each side of a narrow component that its mean is summed over.
_HALVINGS = 24  # Of the steps in which a mode is looked for.


@register("rounded_mixture")
class RoundedMixture(Standardized):
    """`p(x|z)` = Π Σ_m w_im P(logistic m, rounded to a whole number, is x_i) + Σ_a v_ia [x_i = a].

    Ages, years, hours and amounts are whole numbers, often with one value in very many rows (no
    gain, forty hours) and a wide rest. A density can put any height on such a value, and its log p
    says little; here p is a probability, and values that are known to be frequent, the *atoms* a,
    have one of their own.

    Args:
        num_components: int. M, at least 1. Defaults to `5`.
        atoms: sequence of numbers. Whole numbers that are frequent. Defaults to none.
        log_scale_bound: float. Logarithms of the scales, relative to those of the data where they
            are standardized, stay within ±this. Defaults to `12.0`.
        standardize: bool. Whether encoder and decoder see each column of x relative to its mean and
            standard deviation in the training data, as by `Gaussian`. Defaults to `False`.

    Decoder output: 3 M numbers for each value of x, and one for each atom: its M logits, then its M
    means (relative to starts that are spread evenly from −1.5 to 1.5), then its M values of log s
    (relative to −m / 2 of the m-th component), then the logits of the atoms. All logits together
    are those of one softmax.

    Raises:
        ValueError: for an argument out of range; `check` for x that is not whole.

    Example:

    ```python
    likelihood = kvae.likelihoods.RoundedMixture(num_components=3)
    likelihood.output_shape((7,))     # (63,)
    ```

    Reference:
        - [Salimans et al., PixelCNN++, section 2.1](https://arxiv.org/abs/1701.05517), there of
          the levels of a pixel.
    """

    decoder_outputs = "logits, means and log-scales"
    whole_numbers = True

    def __init__(
        self,
        num_components: int = 5,
        atoms=(),
        log_scale_bound: float = 12.0,
        standardize: bool = False,
        **kwargs,
    ):
        super().__init__(standardize=standardize, **kwargs)
        if not num_components >= 1:
            raise ValueError(f"`num_components` is at least 1, not {num_components}.")
        if not 0 < log_scale_bound < math.inf:
            raise ValueError(f"`log_scale_bound` is positive, not {log_scale_bound}.")
        self.num_components, self.log_scale_bound = int(num_components), log_scale_bound
        self.atoms = tuple(float(atom) for atom in atoms)
        if any(atom != round(atom) for atom in self.atoms) or len(set(atoms)) < len(self.atoms):
            raise ValueError(f"`atoms` are different whole numbers, not {atoms}.")
        self.num_parameters = 3 * self.num_components + len(self.atoms)

    def call(self, outputs):
        count, number = self.num_components, ops.arange(self.num_components, dtype=self.dtype)
        outputs = per_value(outputs, self.num_parameters)
        logits, mean, log_scale = ops.split(outputs[..., : 3 * count], 3, axis=-1)
        logits = ops.concatenate([logits, outputs[..., 3 * count :]], axis=-1)
        mean = mean + 3.0 * ((number + 0.5) / count - 0.5)
        bound = self.log_scale_bound
        log_scale = ops.clip(log_scale - 0.5 * number, -bound, bound)
        if self.standardize:
            scale = self.data_scale[:, None]
            mean = mean * scale + self.data_location[:, None]
            log_scale = log_scale + ops.log(scale)
        log_weight = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
        return {
            "log_weight": log_weight,
            "mean": mean,
            "log_scale": ops.maximum(log_scale, _NARROWEST),
        }

    def _cells(self, params, x):
        """Returns log P(component m rounds to x), `[..., M]` for x `[..., 1]`.

        sigmoid(a) − sigmoid(b) is sigmoid(a) sigmoid(−b) (1 − exp(b − a)), without cancellation.
        """
        inverse = ops.exp(-params["log_scale"])
        upper, lower = ((x + side - params["mean"]) * inverse for side in (0.5, -0.5))
        within = ops.log(-tf.math.expm1(-ops.maximum(inverse, 1e-30)))
        return ops.log_sigmoid(upper) + ops.log_sigmoid(-lower) + within

    def element_log_prob(self, params, x):
        x = x[..., None]
        parts = self._cells(params, x)
        if self.atoms:
            there = ops.where(ops.abs(x - ops.convert_to_tensor(self.atoms)) < 0.5, 0.0, _NOWHERE)
            there = ops.broadcast_to(there, (*ops.shape(parts)[:-1], len(self.atoms)))
            parts = ops.concatenate([parts, there], axis=-1)
        return ops.logsumexp(params["log_weight"] + parts, axis=-1)

    def mean(self, params):
        # Rounding moves the mean of narrow components alone: by less than 1e-6 of those with s = 1.
        center = ops.round(params["mean"])
        rounded = center
        for apart in range(-_CELLS, _CELLS + 1):
            rounded = rounded + apart * ops.exp(self._cells(params, center + apart))
        mean = ops.where(params["log_scale"] < 0.0, rounded, params["mean"])
        return ops.sum(ops.exp(params["log_weight"]) * self._with_atoms(mean), axis=-1)

    def _with_atoms(self, values, atoms=None):
        """Returns numbers of the components and those of the atoms, `[..., M + atoms]`."""
        if not self.atoms:
            return values
        atoms = ops.convert_to_tensor(self.atoms if atoms is None else atoms, dtype=self.dtype)
        shape = (*ops.shape(values)[:-1], len(self.atoms))
        return ops.concatenate([values, ops.broadcast_to(atoms, shape)], axis=-1)

    def mode(self, params):
        # From each component's center uphill, in steps of its scale that are halved down to 1.
        many = {name: value[..., None, :] for name, value in params.items()}

        def log_prob(x):
            return self.element_log_prob(many, x)

        def uphill(number, state):
            x, best = state
            width = ops.exp(params["log_scale"]) * 2.0 ** (1.0 - ops.cast(number, self.dtype))
            step = ops.maximum(ops.round(width), 1.0)
            for side in (-step, step):
                found = log_prob(x + side)
                x = ops.where(found > best, x + side, x)
                best = ops.maximum(found, best)
            return x, best

        start = ops.round(params["mean"])
        x, _ = ops.fori_loop(0, _HALVINGS, uphill, (start, log_prob(start)))
        x = self._with_atoms(x)
        return self._chosen(x, ops.argmax(log_prob(x), axis=-1))

    def _chosen(self, values, place):
        chosen = ops.one_hot(place, self.num_components + len(self.atoms), dtype=self.dtype)
        return ops.sum(chosen * values, axis=-1)

    def sample(self, params, seed):
        which, where = random.split(seed)
        weights = params["log_weight"]
        component = ops.argmax(weights + random.gumbel(ops.shape(weights), which), axis=-1)
        mean = self._chosen(self._with_atoms(params["mean"]), component)
        zeros = [0.0] * len(self.atoms)
        scale = self._chosen(self._with_atoms(ops.exp(params["log_scale"]), zeros), component)
        return ops.round(mean + scale * random.logistic(ops.shape(mean), where))

    def support(self):
        return -math.inf, math.inf, "Give whole numbers."

    def get_config(self):
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "atoms": list(self.atoms),
            "log_scale_bound": self.log_scale_bound,
        }
