"""Differences of measurements, with their errors."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Difference", "difference", "signed"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of paired differences, with its standard error, in the units of the values."""

    value: float
    error: float

    def exceeds(self, threshold: float = 0.0, sigmas: float = 2.0) -> bool | None:
        """Checks whether it is more than `threshold`; `None` within `sigmas` errors of that."""
        distance = self.value - threshold
        if not math.isfinite(distance):
            return None
        return None if abs(distance) <= sigmas * self.error else distance > 0

    def interval(self, sigmas: float = 2.0) -> tuple[float, float]:
        """Returns `value` ∓ `sigmas` errors."""
        return self.value - sigmas * self.error, self.value + sigmas * self.error

    def __str__(self) -> str:
        return f"{signed(self.value)} ± {self.error:.2f}"


def difference(first: ArrayLike, second: ArrayLike) -> Difference:
    """Compares two measurements of the same examples, `[n]` each: first − second."""
    paired = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return Difference(float(paired.mean()), float(paired.std(ddof=1) / math.sqrt(len(paired))))


def signed(value: float, digits: int = 2) -> str:
    """Returns a number as text, with its sign and a typographic minus."""
    return f"{value:+.{digits}f}".replace("-", "−")
