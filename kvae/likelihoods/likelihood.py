"""The interface of every likelihood p(x|z)."""

import math

import numpy as np
from keras import ops

from kvae.parts import (
    Part,
    PartRegister,
    on_demand,
    resolve,
    to_write,
    without_distribution,
)
from kvae.utils import masks
from kvae.utils.finite import surely_finite

__all__ = ["MISSING_ADVICE", "REGISTER", "Likelihood", "get", "names", "per_value", "register"]

# What errors of NaN say to a model that does not take it.
MISSING_ADVICE = (
    " Where NaN stands for what was not observed, give kvae.VAE the option `missing` (zero, mean "
    "or learned)."
)
_LARGEST = float(np.finfo(np.float32).max)
_BLOCK = 1 << 22  # Values that are checked at once, to bound the memory.


class Likelihood(Part):
    """A likelihood `p(x|z)` whose parameters the decoder returns.

    Called on the decoder's output, a likelihood returns its parameters as a dict of tensors; the
    other methods take that dict. Densities are in nats and summed over the event (the axes of one
    example), so `log_prob` of parameters `[..., *event]` has the shape `[...]`.

    A new likelihood gives `call`, `mean`, `element_log_prob`, `sample` and `support`, and where
    the decoder returns more than one number for each value of `x`, `num_parameters`. One over
    whole numbers sets `whole_numbers`; one over other values than an interval's gives
    `element_in_support`, and `values_taken` to say which.
    """

    num_parameters = 1  # Decoder outputs for each value of x, along the last axis.
    # A name for what the decoder returns where that may be any real number, so that a decoder which
    # ends in an activation is wrong; `None` where the range of the activation is what is wanted.
    decoder_outputs: str | None = None
    whole_numbers = False  # Whether x holds whole numbers only (classes, counts).
    # True in a model with `kvae.VAE(missing=…)`: NaN in x stands for what was not observed.
    takes_missing = False
    # Whether the values of x depend on one another given z, so that `params` alone do not say how
    # probable one of them is. Such a likelihood gives `completed`.
    autoregressive = False
    standardize = False  # Whether it keeps location and scale of the data; see `Standardized`.

    @to_write
    def call(self, outputs):
        """Returns the parameters of p(x|z) by name, made of the decoder's outputs."""
        raise NotImplementedError

    @to_write
    def element_log_prob(self, params, x):
        """Returns log p of each value of `x` in nats, `[..., *event]`."""
        raise NotImplementedError

    @to_write
    def mean(self, params):
        """Returns E[x|z], `[..., *event]`."""
        raise NotImplementedError

    @on_demand
    def mode(self, params):
        """Returns the most probable x, `[..., *event]`."""
        raise NotImplementedError

    @on_demand
    def sample(self, params, seed):
        """Draws from p(x|z), `[..., *event]`."""
        raise NotImplementedError

    @to_write
    def support(self) -> tuple[float, float, str]:
        """Returns the smallest and the largest value of x, and what to do about others."""
        raise NotImplementedError

    def element_distribution(self, params):
        """Returns the distributions of TFP of single values of x, of batch `[..., *event]`.

        Raises:
            NotImplementedError: for a likelihood of which TFP has no distribution.
        """
        raise without_distribution(self)

    def distribution(self, params, event_ndims: int | None = None):
        """Returns p(x|z) as a distribution of TFP, of events of the shape of one example.

        Args:
            params: dict. As `call` returns them.
            event_ndims: int or `None`. The number of axes of one example. Defaults to `None`: all
                but the first one.

        Raises:
            NotImplementedError: for a likelihood of which TFP has no distribution.
        """
        from tensorflow_probability import distributions as tfd

        each = self.element_distribution(params)
        ndims = each.batch_shape.rank - 1 if event_ndims is None else event_ndims
        return tfd.Independent(each, reinterpreted_batch_ndims=ndims)

    def log_prob(self, params, x):
        """Returns log p(x|z) in nats: `x` `[batch, *event]` to `[..., batch]`.

        With `takes_missing` it is log p(x_obs|z), the sum over what is not NaN.
        """
        event_axes = tuple(range(-(len(x.shape) - 1), 0))
        return ops.sum(self.log_prob_of_values(params, x), axis=event_axes)

    @property
    def discrete(self) -> bool | tuple[bool, ...]:
        """Returns whether p(x|z) is a probability of discrete values, and not a density.

        It says which log p compare. By default it is `whole_numbers`; a table with columns of both
        kinds has a tuple, of one for each column.
        """
        return self.whole_numbers

    @property
    def adds_values(self) -> bool:
        """True if `log_prob` is the sum of `log_prob_of_values`, as it is by default."""
        return type(self).log_prob is Likelihood.log_prob

    def log_prob_of_values(self, params, x):
        """Returns the summands of `log_prob`, one for each value, `[..., batch, *event]`.

        With `takes_missing` it is 0 for values that are NaN.
        """
        x = ops.cast(x, self.dtype)
        if not self.takes_missing:
            return self.element_log_prob(params, x)
        return ops.where(masks.observed(x), self._of_incomplete(params, x), 0.0)

    def _of_incomplete(self, params, x):
        """Returns `element_log_prob` of x with NaN, and any finite numbers there."""
        return self.element_log_prob(params, self.filled(x))

    def log_prob_of_many(self, params, x):
        """Returns the same as `log_prob`, faster for very many parameters, without a gradient."""
        return self.log_prob(params, x)

    def log_prob_gradient(self, params, x) -> dict | None:
        """Returns the gradient of `log_prob` by each of `params`, or `None` without a formula.

        Annealed importance sampling then computes no density where it needs a gradient alone.
        """
        return None

    # Values that were not observed.

    def filled(self, x, observed=None):
        """Returns x with a value of the support where nothing was observed, as float32.

        Densities at these values are computed and then left out.

        Args:
            x: tensor or array `[batch, *event]`.
            observed: bool tensor like x, or `None`: what is not NaN.
        """
        lowest, highest, _ = self.support()
        x = ops.cast(x, self.dtype)
        observed = ops.logical_not(ops.isnan(x)) if observed is None else observed
        value = ops.clip(self.from_encoder_input(ops.zeros_like(x)), lowest, highest)
        return ops.where(observed, x, ops.round(value) if self.whole_numbers else value)

    def completed(self, params, x, seed) -> tuple:
        """Returns the parameters of p(x_mis|x_obs, z), and log p(x_obs|z) in nats, `[...]`.

        Where values are independent given z, these are the parameters of p(x|z). Otherwise they
        hold a draw of x_mis, and log p is that of an estimate which is right on average; `sample`
        and `averaged` of such parameters return the draw.

        Args:
            params: dict, of leading axes `[..., batch]`.
            x: tensor `[batch, *event]`, with NaN where nothing was observed.
            seed: of the draw, or `None`: where there are no random numbers, the most probable
                value in the place of each draw.
        """
        return params, self.log_prob(params, x)

    def averaged(self, params) -> dict:
        """Returns tensors `[..., *event, …]` whose averages over z say what `point` has to know.

        By default it is the mean of x alone.
        """
        return {"mean": self.mean(params)}

    def point(self, averages):
        """Returns the one value of x that stands for a mixture of p(x|z) over z, `[..., *event]`.

        It is the mixture's mean where all numbers of an interval are values of x, and otherwise a
        value that x may take: the whole number that is nearest to the mean, or the most probable
        class.

        Args:
            averages: dict of tensors. Weighted averages of those of `averaged`.
        """
        mean = averages["mean"]
        return ops.round(mean) if self.whole_numbers else mean

    # The scale of the data, and of x as the encoder sees it.

    def encoder_input(self, x):
        """Returns x as the encoder sees it, `[batch, *event]`. By default it is x itself.

        Every way into the encoder goes through this: training, `encode`, `log_prob`, exports. A
        likelihood that changes x here gives `from_encoder_input`, too.
        """
        return x

    def from_encoder_input(self, values):
        """Returns the x that the encoder sees as `values`: the inverse of `encoder_input`."""
        return values

    @property
    def needs_data(self) -> bool:
        """Returns whether `adapt` still has to be called before the training."""
        return False

    def adapt(self, data) -> None:
        """Takes the location and the scale of the data from a training set.

        `fit` calls it unless it has been called before. Weights that were trained with other
        statistics lose their meaning.

        Args:
            data: array `[n, *event]`, `kvae.datasets.Dataset`, `Stream`, or batches that end.

        Raises:
            ValueError: for a likelihood that does not standardize, and for NaN or infinite values.
        """
        raise ValueError(f"A {type(self).__name__} takes no statistics of the data.")

    def output_shape(self, event_shape) -> tuple[int, ...]:
        """Returns the shape that the decoder has to return for events of `event_shape`."""
        return (*event_shape[:-1], event_shape[-1] * self.num_parameters)

    def element_in_support(self, x):
        """Returns which values of `x` this likelihood takes, in a graph.

        It is the one definition of what a valid `x` is: arrays (`check`), the batches of a
        training and requests to an exported model are all measured by it.

        Args:
            x: tensor of numbers of any dtype, `[..., *event]`.

        Returns:
            bool tensor of the shape of `x`: False for NaN, for infinite values, for values that
            float32 cannot hold, and for values outside the support.
        """
        lowest, highest, _ = self.support()
        x = ops.cast(x, self.dtype)
        # Comparisons with NaN are false; infinite values lie beyond the largest float.
        fits = ops.logical_and(x >= max(lowest, -_LARGEST), x <= min(highest, _LARGEST))
        return ops.logical_and(fits, x == ops.round(x)) if self.whole_numbers else fits

    def in_support(self, x):
        """Returns which examples this likelihood takes, in a graph.

        Args:
            x: tensor of numbers of any dtype, `[batch, *event]`.

        Returns:
            bool tensor `[batch]`: True where every value of the example passes
            `element_in_support`.

        Example:

        ```python
        likelihood = kvae.likelihoods.Bernoulli()
        likelihood.in_support(np.float32([[0.0, 1.0], [0.5, 2.0]]))    # [True, False]
        ```
        """
        return ops.all(self.element_in_support(x), axis=tuple(range(1, len(x.shape))))

    @property
    def takes_an_interval(self) -> bool:
        """Returns whether the support holds all numbers from its lowest to its highest value."""
        own = type(self).element_in_support is not Likelihood.element_in_support
        return not own and not self.whole_numbers

    def take_missing(self) -> None:
        """Makes NaN in x stand for what was not observed.

        Raises:
            ValueError: for a likelihood that gives no log p of single values.
        """
        if not self.adds_values:
            raise ValueError(
                f"{type(self).__name__} has a `log_prob` of its own, for whole events, which does "
                "not say what the observed values of an event have of it. With `missing` choose a "
                "likelihood whose log_prob is the sum of its element_log_prob."
            )
        self.takes_missing = True

    def values_taken(self) -> str:
        """Returns which values between the lowest and the highest are meant, for error messages."""
        return f"whole numbers. {self.support()[2]}"

    def check(
        self, x: np.ndarray, name: str = "x", support: bool = True, missing: bool | None = None
    ) -> np.ndarray:
        """Checks an array and returns it as float32, which is what models compute with.

        Args:
            x: array of numbers `[n, *event]`.
            name: str. What errors call it. Defaults to `"x"`.
            support: bool. Whether values have to lie in the support as well. Defaults to `True`.
            missing: bool or `None`. Whether NaN stands for what was not observed, and is left as it
                is. With `False` the error names the option of a model that makes it so. Defaults to
                `None`: NaN means nothing here.

        Raises:
            ValueError: for what are no numbers, an empty array, NaN, infinite values, values that
                float32 cannot hold and, with `support`, values outside the support.
        """
        if x.dtype.kind not in "biuf":
            raise ValueError(f"`{name}` holds {x.dtype}, not numbers.")
        if x.size == 0:
            raise ValueError(f"`{name}` is empty: its shape is {x.shape}.")
        with np.errstate(over="ignore"):  # Reported below.
            values = found = x.astype(np.float32, copy=False)
        if not (support or missing) and surely_finite(values):
            return values
        low, high = float(values.min()), float(values.max())  # NaN propagates through both.
        if missing and math.isnan(low):
            found = ops.convert_to_numpy(self.filled(values))
            x = np.where(np.isnan(x), found, x).astype(x.dtype)
            low, high = float(found.min()), float(found.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = np.isfinite(found.reshape(len(x), -1)).all(axis=1)
            first = int(np.argmin(finite))
            places = f"in {int((~finite).sum())} of {len(x)} examples, first in example {first}"
            if np.isfinite(x[first]).all():
                raise ValueError(
                    f"`{name}` holds numbers too large for float32, in which models compute, "
                    f"{places}. Rescale the data."
                )
            advice = MISSING_ADVICE if missing is False and np.isnan(values).any() else ""
            raise ValueError(
                f"`{name}` holds NaN or infinite values {places}. Remove or replace them.{advice}"
            )
        if support:
            # The check has to see float16 as it is, because its levels are rounded more coarsely.
            self.check_support(x if x.dtype == np.float16 else found, name)
        return values

    def check_support(self, x: np.ndarray, name: str = "x") -> None:
        """Raises `ValueError` for finite values of `x` outside the support."""
        low, high = float(x.min()), float(x.max())
        lowest, highest, advice = self.support()
        if low < lowest or high > highest:
            raise ValueError(
                f"`{name}` has values from {low:g} to {high:g}, outside the support "
                f"[{lowest:g}, {highest:g}] of {type(self).__name__}. {advice}"
            )
        if self.takes_an_interval:
            return
        rows = max(1, _BLOCK // max(1, x[0].size))
        for start in range(0, len(x), rows):
            block = x[start : start + rows]
            fits = ops.convert_to_numpy(self.element_in_support(block))
            if not fits.all():
                raise ValueError(
                    f"`{name}` has the value {float(block[~fits][0]):g}; {type(self).__name__} "
                    f"takes {self.values_taken()}"
                )


REGISTER = PartRegister("likelihood", Likelihood)
register = REGISTER.register


def names() -> list[str]:
    """Returns the names that `get` knows, in alphabetical order."""
    return list(REGISTER)


def get(identifier) -> Likelihood:
    """Returns a likelihood from its name, its config or itself."""
    return resolve(REGISTER, identifier, Likelihood)


def per_value(outputs, size: int):
    """Turns `[..., c · size]` into `[..., c, size]`: the `size` outputs of each value of x."""
    channels = outputs.shape[-1] // size
    return ops.reshape(outputs, (-1, *outputs.shape[1:-1], channels, size))
