"""The detector: a trained model that tells unusual rows from normal ones."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvae.detection.calibration import Calibration, check_rate
from kvae.detection.scores import check_score, default_score, scored
from kvae.evaluation.rows import by_row, row_map, row_terms
from kvae.utils import arguments, io
from kvae.utils.eager import evaluated_eagerly

__all__ = ["Detection", "Detector"]

_DEFAULTS = {"num_samples": 64, "seed": 0, "false_alarm_rate": 0.05}


@dataclasses.dataclass(frozen=True)
class Detection:
    """The scores, p-values and verdicts that a detector gives rows.

    Attributes:
        score: float32 array `[n]`, in nats. The higher, the more unusual.
        p_value: float32 array `[n]`. The share of normal rows that are at least as unusual.
        is_anomaly: bool array `[n]`. The rows that are flagged.
        threshold: float. The score above which a row is flagged.
        false_alarm_rate: float. The share of normal rows that are flagged at most, in the mean.
    """

    score: np.ndarray
    p_value: np.ndarray
    is_anomaly: np.ndarray
    threshold: float
    false_alarm_rate: float

    def __len__(self) -> int:
        return len(self.score)

    def __str__(self) -> str:
        expected = self.false_alarm_rate * len(self)
        return (
            f"{int(self.is_anomaly.sum())} of {len(self)} rows are flagged (score above "
            f"{self.threshold:.6g} nats). If all were normal, about {expected:.3g} would be."
        )

    __repr__ = __str__

    @property
    def order(self) -> np.ndarray:
        """The numbers of the rows, int `[n]`, the most unusual one first."""
        return np.argsort(-self.score, kind="stable")


class Detector:
    """Tells unusual rows from normal ones by a trained model.

    `fit` compares the model with normal rows that it was **not** trained on, such as those that
    were held out for validation: it knows the rows of its training better, so that with these more
    normal rows would be flagged later than `false_alarm_rate` says. See
    `kvae.detection.Calibration` for what exactly is promised.

    The noise of the scores depends on `seed` alone. The same row has the same score to the bit,
    alone or among others, after the model was saved and loaded, and in another process.

    Args:
        vae: `kvae.VAE`, trained. An autoencoder has the score `"reconstruction"` alone.
        score: str. A name in `kvae.detection.SCORES`. Defaults to `None`: `"log_prob"`, and
            `"reconstruction"` for an autoencoder.
        num_samples: int. The number of samples of z for each row. Defaults to `None`: 64.
        seed: int. The seed of these samples. Defaults to `None`: 0.
        false_alarm_rate: float. The share of normal rows that may be flagged. Defaults to `None`:
            0.05.

    A model that a detector was fitted with keeps the calibration as `vae.calibration`; `vae.save`
    and exports carry it, and a further training of the model drops it. A `Detector` of such a model
    with the same score goes on with it, and has its settings in the place of these defaults.
    Another score, `num_samples` or seed asks for another `fit`.

    Raises:
        ValueError: for an unknown score, one that the model does not have, and numbers out of
            range.

    Example:

    ```python
    held_out, new = kvae.datasets.load("digits", "validation"), kvae.datasets.load("digits", "test")
    detector = kvae.detection.Detector(vae, false_alarm_rate=0.05).fit(held_out)
    found = detector.detect(new)
    print(found)                            # … of 200 rows are flagged (…)
    where = detector.map(new.examples[found.order[:4]])     # nats of each pixel
    detector.save("detector.keras")
    ```

    References:
        - [An & Cho, Variational Autoencoder based Anomaly Detection using Reconstruction
          Probability](http://dm.snu.ac.kr/static/docs/TR/SNUDM-TR-2015-03.pdf)
        - [Nalisnick et al., Detecting Out-of-Distribution Inputs to Deep Generative Models Using
          Typicality](https://arxiv.org/abs/1906.02994)
    """

    def __init__(
        self,
        vae: Any,
        score: str | None = None,
        *,
        num_samples: int | None = None,
        seed: int | None = None,
        false_alarm_rate: float | None = None,
    ):
        self.vae, kept = vae, vae.calibration
        if kept is not None and score not in (None, kept.score):
            kept = None
        before = _DEFAULTS if kept is None else dataclasses.asdict(kept)
        given = {"num_samples": num_samples, "seed": seed, "false_alarm_rate": false_alarm_rate}
        chosen = {name: before[name] if value is None else value for name, value in given.items()}
        self.score_name = check_score(vae, score or (kept.score if kept else default_score(vae)))
        self.num_samples = arguments.whole("num_samples", chosen["num_samples"])
        self.seed = arguments.whole("seed", chosen["seed"], 0)
        self.false_alarm_rate = check_rate(chosen["false_alarm_rate"])
        same = kept is not None and (self.num_samples, self.seed) == (kept.num_samples, kept.seed)
        self._kept: Calibration | None = kept if same else None

    @property
    def calibration(self) -> Calibration | None:
        """The scores of the normal rows with the detector's rate; `None` before `fit`.

        Raises:
            ValueError: for a rate that is too small for the number of rows.
        """
        return self._kept and self._kept.with_rate(self.false_alarm_rate)

    def fit(self, normal: Any, label: ArrayLike | None = None) -> "Detector":
        """Sets the threshold by normal rows that the model was not trained on.

        The score `"typicality"` takes every other row to estimate the mean that it compares with,
        and the rest to set the threshold.

        Args:
            normal: array `[n, *event]`, or data of any kind that `vae.encode` takes.
            label: int array `[n]`, or a dict of conditions, for a conditional model. Defaults to
                `None`: those of the data.

        Returns:
            The detector.

        Raises:
            ValueError: for rows that the model does not take, and for too few rows for
                `false_alarm_rate`: at least 1 / rate − 1.
        """
        terms = self._terms(normal, label)
        typical = 0.0
        if self.score_name == "typicality":
            typical = float(np.mean(terms["log_prob"][::2], dtype=np.float64))
            terms = {name: values[1::2] for name, values in terms.items()}
        scores = scored(terms, self.score_name, np.float32(typical))
        self._kept = self.vae.calibration = Calibration(
            self.score_name,
            self.num_samples,
            self.seed,
            self.false_alarm_rate,
            tuple(scores.tolist()),
            typical,
        )
        return self

    def score(self, x: Any, label: ArrayLike | None = None) -> np.ndarray:
        """Returns the scores of rows, float32 `[n]`, in nats; the higher, the more unusual.

        Args:
            x: array `[n, *event]`, or data of any kind that `vae.encode` takes.
            label: int array `[n]`, or a dict of conditions, for a conditional model. Defaults to
                `None`: those of the data.

        Raises:
            ValueError: for rows that the model does not take, and before `fit` for the score
                `"typicality"`, which compares with normal rows.
        """
        typical = self._fitted().typical if self.score_name == "typicality" else 0.0
        return scored(self._terms(x, label), self.score_name, np.float32(typical))

    def detect(
        self, x: Any, label: ArrayLike | None = None, *, false_alarm_rate: float | None = None
    ) -> Detection:
        """Returns score, p-value and verdict of rows.

        Args:
            x, label: as in `score`.
            false_alarm_rate: float. Another rate than that of the detector. Defaults to `None`.

        Raises:
            ValueError: before `fit`, for rows that the model does not take, and for a rate out of
                range or too small for the number of normal rows.
        """
        calibration = self._fitted()
        if false_alarm_rate is not None:
            calibration = calibration.with_rate(false_alarm_rate)
        score = self.score(x, label)
        return Detection(
            score,
            calibration.p_value(score),
            calibration.is_anomaly(score),
            calibration.threshold,
            calibration.false_alarm_rate,
        )

    @evaluated_eagerly
    def map(self, x: Any, label: ArrayLike | None = None) -> np.ndarray:
        """Returns where rows are unusual: the reconstruction cost of each value, in nats.

        Args:
            x, label: as in `score`.

        Returns:
            float32 array `[n, *event]`, −E_q log p(x_i|z) with the noise of the scores. Its sums
            over the event are the score `"reconstruction"`.

        Raises:
            ValueError: for rows that the model does not take, and for a likelihood that gives no
                log p of single values.
        """
        return np.concatenate(list(self._computed("map of rows", row_map, x, label)))

    def save(self, path: str | os.PathLike) -> None:
        """Saves the model with its calibration as a .keras file, for `kvae.load_model`.

        Raises:
            ValueError: before `fit`, and for a path that does not end in .keras.
        """
        self._fitted()
        if not os.fspath(path).endswith(".keras"):
            raise ValueError(f"The path ends in .keras, not {os.fspath(path)!r}.")
        with io.atomic_write(path) as temporary:
            self.vae.save(temporary)

    def _fitted(self) -> Calibration:
        calibration = self.calibration
        if calibration is None:
            raise ValueError(
                "The detector has no threshold yet: call fit(normal) with normal rows that the "
                "model was not trained on."
            )
        return calibration

    @evaluated_eagerly
    def _terms(self, x: Any, label: ArrayLike | None) -> dict[str, np.ndarray]:
        parts = list(self._computed("terms of rows", row_terms, x, label))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _computed(self, name: str, function: Callable, x: Any, label: ArrayLike | None) -> Iterator:
        noise = {"seed": self.seed, "num_samples": self.num_samples}
        return by_row(self.vae, name, function, x, label, **noise)
