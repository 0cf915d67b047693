"""The interface of every likelihood p(x|z)."""

import math

import numpy as np
from keras import ops

from kvae.parts import Part

__all__ = ["Likelihood", "per_value"]


class Likelihood(Part):
    """A likelihood `p(x|z)` whose parameters the decoder returns.

    Called on the decoder's output, a likelihood returns its parameters as a dict of tensors; the
    other methods take that dict. Densities are in nats and summed over the event (the axes of one
    example), so `log_prob` of parameters `[..., *event]` has the shape `[...]`.

    A new likelihood gives `call`, `mean`, `element_log_prob`, `sample` and `support`, and where
    the decoder returns more than one number for each value of `x`, `num_parameters`. One over
    whole numbers sets `whole_numbers`.
    """

    num_parameters = 1  # Decoder outputs for each value of x, along the last axis.
    whole_numbers = False  # Whether x holds whole numbers only (classes, counts).

    def element_log_prob(self, params, x):
        """Returns log p of each value of `x` in nats, `[..., *event]`."""
        raise NotImplementedError

    def mean(self, params):
        """Returns E[x|z], `[..., *event]`."""
        raise NotImplementedError

    def mode(self, params):
        """Returns the most probable x, `[..., *event]`."""
        raise NotImplementedError

    def sample(self, params, seed):
        """Draws from p(x|z), `[..., *event]`."""
        raise NotImplementedError

    def support(self) -> tuple[float, float, str]:
        """Returns the smallest and the largest value of x, and what to do about others."""
        raise NotImplementedError

    def log_prob(self, params, x):
        """Returns log p(x|z) in nats: `x` `[batch, *event]` to `[..., batch]`."""
        x = ops.cast(x, self.dtype)
        event_axes = tuple(range(-(len(x.shape) - 1), 0))
        return ops.sum(self.element_log_prob(params, x), axis=event_axes)

    def log_prob_of_many(self, params, x):
        """As `log_prob`, for very many parameters and without a gradient. By default the same."""
        return self.log_prob(params, x)

    def output_shape(self, event_shape) -> tuple[int, ...]:
        """Returns the shape that the decoder has to return for events of `event_shape`."""
        return (*event_shape[:-1], event_shape[-1] * self.num_parameters)

    def check(self, x: np.ndarray, name: str = "x", support: bool = True) -> None:
        """Raises `ValueError` for NaN in `x`, and with `support` for values outside of it."""
        if x.dtype.kind not in "biuf":
            raise ValueError(f"`{name}` holds {x.dtype}, not numbers.")
        if x.size == 0:
            raise ValueError(f"`{name}` is empty: its shape is {x.shape}.")
        low, high = float(x.min()), float(x.max())  # NaN propagates through both.
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
            raise ValueError(
                f"`{name}` holds NaN or infinite values in {int((~finite).sum())} of {len(x)} "
                f"examples, first in example {int(np.argmin(finite))}. Remove or replace them."
            )
        if support:
            self.check_support(x, name)

    def check_support(self, x: np.ndarray, name: str = "x") -> None:
        """Raises `ValueError` for finite values of `x` outside the support."""
        low, high = float(x.min()), float(x.max())
        lowest, highest, advice = self.support()
        if low < lowest or high > highest:
            raise ValueError(
                f"`{name}` has values from {low:g} to {high:g}, outside the support "
                f"[{lowest:g}, {highest:g}] of {type(self).__name__}. {advice}"
            )
        if self.whole_numbers and x.dtype.kind == "f":
            self._check_values(x, x == np.round(x), name, f"whole numbers. {advice}")

    def _check_values(self, x, fits, name: str, what: str) -> None:
        if not fits.all():
            raise ValueError(
                f"`{name}` has the value {float(x[~fits][0]):g}; {type(self).__name__} takes {what}"
            )


def per_value(outputs, size: int):
    """Turns `[..., c · size]` into `[..., c, size]`: the `size` outputs of each value of x."""
    channels = outputs.shape[-1] // size
    return ops.reshape(outputs, (-1, *outputs.shape[1:-1], channels, size))
