"""The base of the Gaussian and the Laplace likelihood: a mean and a bounded log-spread."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from kvae.likelihoods.scale import Standardized
from kvae.utils import names

__all__ = ["LocationScale"]


class LocationScale(Standardized):
    """A likelihood with a `mean` and a spread that is fixed, learned, or the decoder's.

    A subclass names its spread: `spread` is the parameter, the logarithm of the scale times
    `power`. The decoder's mean and spread are relative to the data's location and scale where they
    are standardised, and the parameters are not.
    """

    variances = ("fixed", "global", "per_pixel")
    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **{name: {"variance": name} for name in variances},
        # From the deviation of the data on, which steps of Adam would take long to reach from 1.
        "learned": {"variance": "global", "standardize": True},
    }
    spread = "log_scale"
    power = 1

    def __init__(
        self,
        variance: str = "fixed",
        scale: float = 1.0,
        log_scale_bound: float = 10.0,
        standardize: bool = False,
        **kwargs,
    ):
        super().__init__(standardize=standardize, **kwargs)
        if variance not in self.variances:
            raise names.unknown_name("variance", variance, self.variances)
        if not 0 < scale < math.inf:
            raise ValueError(f"`scale` is positive, not {scale}.")
        if not 0 < log_scale_bound < math.inf:
            raise ValueError(f"`{self.spread}_bound` is positive, not {log_scale_bound}.")
        self.variance, self.scale = variance, scale
        setattr(self, f"{self.spread}_bound", log_scale_bound)
        self.num_parameters = 2 if variance == "per_pixel" else 1
        if variance == "per_pixel":
            self.decoder_outputs = f"means and {self.spread.replace('_', '-')}s"

    @property
    def _start(self) -> float:
        return self.power * math.log(self.scale)

    def build(self, outputs_shape):
        if self.variance == "global":
            weight = self.add_weight(
                shape=(), initializer=keras.initializers.Constant(self._start), name=self.spread
            )
            setattr(self, self.spread, weight)
        super().build(outputs_shape)

    def call(self, outputs):
        if self.variance == "per_pixel":
            mean, spread = ops.split(outputs, 2, axis=-1)
        else:
            mean = outputs
            spread = getattr(self, self.spread) if self.variance == "global" else self._start
            spread = ops.zeros_like(mean) + spread
        if self.variance != "fixed":
            spread = self._bounded(spread)
        return {"mean": self._in_units(mean), self.spread: self._spread_in_units(spread)}

    def _in_units(self, mean):
        """Returns the mean in the units of the data."""
        return self.from_encoder_input(mean)

    def _spread_in_units(self, spread):
        """Returns the log-spread in the units of the data."""
        return spread + self.power * ops.log(self.data_scale) if self.standardize else spread

    def _bounded(self, spread):
        bound = getattr(self, f"{self.spread}_bound")
        return ops.clip(spread, -bound, bound)

    def mean(self, params):
        return params["mean"]

    def mode(self, params):
        return params["mean"]

    def support(self):
        return -math.inf, math.inf, ""

    def get_config(self):
        return {
            **super().get_config(),
            "variance": self.variance,
            "scale": self.scale,
            f"{self.spread}_bound": getattr(self, f"{self.spread}_bound"),
        }
