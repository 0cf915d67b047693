"""From scores to p-values and verdicts with a stated rate of false alarms."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.utils import arguments

__all__ = ["Calibration", "check_count", "check_rate"]


def check_rate(false_alarm_rate: float) -> float:
    """Returns a rate of false alarms, which is above 0 and below 1.

    Raises:
        ValueError: for anything else.
    """
    rate = arguments.number("false_alarm_rate", false_alarm_rate)
    if not 0.0 < rate < 1.0:
        raise ValueError(f"`false_alarm_rate` is above 0 and below 1, not {rate:g}.")
    return rate


def check_count(false_alarm_rate: float, count: int) -> None:
    """Checks that a number of normal rows suffices for a rate of false alarms.

    Raises:
        ValueError: for too few rows, and for a rate out of range.
    """
    rate = check_rate(false_alarm_rate)
    needed = math.ceil(1.0 / rate - 1.0 - 1e-9)
    if count < needed:
        raise ValueError(
            f"A false-alarm rate of {rate:g} takes at least {needed} normal rows to compare "
            f"with, and there are {count}: give more rows, or a larger rate."
        )


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The scores of normal rows, with which those of new rows are compared (split conformal).

    A new row whose score is s, beside n scores of normal rows, has the p-value

        p = (1 + the number of normal scores of at least s) / (n + 1).

    If the row is normal as well, and the model saw neither it nor the n rows in its training, all
    n + 1 scores come in an order of chance, so that p ≤ α has at most the probability α, whatever
    the distribution of the scores. A row is flagged where p ≤ `false_alarm_rate`.

    Attributes:
        score: str. Which score it is, a name in `kvae.detection.SCORES`.
        num_samples: int. The number of samples of z for each row.
        seed: int. The seed of their noise, the same for every row.
        false_alarm_rate: float. The share of normal rows that may be flagged, above 0 and below 1.
        scores: tuple of float. The scores of normal rows.
        typical: float. The mean log p(x) of other normal rows, for `"typicality"`.

    Raises:
        ValueError: for a rate out of range, or one so small that no row could ever be flagged,
            because that takes 1 / rate − 1 normal rows.

    Example:

    ```python
    from kvae.detection import Calibration

    calibration = Calibration("log_prob", 64, 0, 0.1, scores=tuple(range(19)))
    calibration.p_value([30.0, 17.0, 3.0])      # [0.05, 0.15, 0.85]
    calibration.is_anomaly([30.0, 17.0])        # [True, False]
    calibration.threshold                       # 17.0
    ```

    Reference:
        - [Laxhammar & Falkman, Inductive conformal anomaly detection](
          https://doi.org/10.1007/s10472-013-9381-7)
    """

    score: str
    num_samples: int
    seed: int
    false_alarm_rate: float
    scores: tuple[float, ...]
    typical: float = 0.0

    def __post_init__(self):
        check_count(self.false_alarm_rate, len(self.scores))

    @functools.cached_property
    def sorted_scores(self) -> np.ndarray:
        """The scores as a float32 array `[n]`, in ascending order."""
        return np.sort(np.asarray(self.scores, np.float32))

    @property
    def threshold(self) -> float:
        """The score above which a row is flagged, in nats."""
        allowed = math.floor(self.false_alarm_rate * (len(self.scores) + 1) + 1e-9)
        return float(self.sorted_scores[len(self.scores) - allowed])

    def p_value(self, score: ArrayLike) -> np.ndarray:
        """Returns the p-values of scores, float32 `[n]`, from 1 / (n + 1) to 1."""
        below = np.searchsorted(self.sorted_scores, np.asarray(score, np.float32), side="left")
        count = len(self.scores)
        return ((1 + count - below) / (1 + count)).astype(np.float32)

    def is_anomaly(self, score: ArrayLike) -> np.ndarray:
        """Returns which scores are flagged, bool `[n]`: those whose p-value is small enough."""
        return np.asarray(score, np.float32) > np.float32(self.threshold)

    def with_rate(self, false_alarm_rate: float) -> "Calibration":
        """Returns the same calibration with another rate of false alarms."""
        return dataclasses.replace(self, false_alarm_rate=false_alarm_rate)

    def to_dict(self) -> dict[str, Any]:
        """Returns the calibration as JSON takes it."""
        return {**dataclasses.asdict(self), "scores": self.sorted_scores.tolist()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Calibration":
        """Returns the calibration of `to_dict()`."""
        return cls(**{**saved, "scores": tuple(saved["scores"])})
