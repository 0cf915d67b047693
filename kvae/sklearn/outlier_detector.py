"""Outliers, by the scores of a variational autoencoder."""

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from kvae.detection import Detector
from kvae.detection.calibration import check_count
from kvae.detection.scores import check_score
from kvae.sklearn.base import VAEEstimator, beside_shared_parameters
from kvae.utils import arguments

__all__ = ["VAEOutlierDetector"]


class VAEOutlierDetector(OutlierMixin, VAEEstimator):
    """Tells unusual rows from normal ones by a variational autoencoder.

    Where the threshold lies is said in one of two ways. `contamination` is the share of the
    training rows that are outliers, as for scikit-learn's detectors. `false_alarm_rate` is for
    training rows that are all normal: a share of them is held out from the training and sets the
    threshold, so that at most this share of new normal rows is flagged (see
    `kvae.detection.Calibration`).

    Args:
        architecture, latent_dim, hidden, likelihood, objective, missing: as for `VAETransformer`.
        event_shape, architecture_params, epochs, batch_size, learning_rate: as there.
        early_stopping, validation_fraction, n_iter_no_change, num_samples: as there.
        random_state, device, verbose: as there.
        anomaly_score: str or `None`. A name in `kvae.detection.SCORES`. Defaults to `None`:
            `"log_prob"`, and `"reconstruction"` for an autoencoder.
        contamination: float. Above 0, and at most 0.5. Defaults to `0.1`.
        false_alarm_rate: float or `None`. Replaces `contamination`. Defaults to `None`.
        calibration_fraction: float. The share of rows that `false_alarm_rate` holds out. Defaults
            to `0.2`.

    A fitted estimator has `offset_`, minus the threshold in nats, and `detector_`, a
    `kvae.detection.Detector` which says where a row is unusual (`map`), gives p-values (`detect`,
    with a `false_alarm_rate`) and is saved with its threshold (`save`).

    Example:

    ```python
    from sklearn.datasets import load_wine

    import kvae.sklearn

    x = load_wine().data
    detector = kvae.sklearn.VAEOutlierDetector(epochs=2, contamination=0.05, random_state=0)
    (detector.fit_predict(x) == -1).sum()               # 9 of 178 rows
    detector.decision_function(x[:3])                   # below 0 for outliers
    ```

    References:
        - [An & Cho, Variational Autoencoder based Anomaly Detection using Reconstruction
          Probability](http://dm.snu.ac.kr/static/docs/TR/SNUDM-TR-2015-03.pdf)
        - [Laxhammar & Falkman, Inductive conformal anomaly detection](
          https://doi.org/10.1007/s10472-013-9381-7)
    """

    @beside_shared_parameters
    def __init__(
        self,
        *,
        anomaly_score=None,
        contamination=0.1,
        false_alarm_rate=None,
        calibration_fraction=0.2,
        **shared,
    ):
        super().__init__(**shared)
        self.anomaly_score = anomaly_score
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction

    def _train(self, rows, labels=None):
        if self.false_alarm_rate is not None:
            used, held = self._split(len(rows), "calibration_fraction")
            check_count(self.false_alarm_rate, len(held) // self._rows_for_a_score)
            super()._train(rows[used])
            detector = self._detector(false_alarm_rate=self.false_alarm_rate)
            detector.fit(self._events(rows[held]))
            self.offset_ = -self.vae_.calibration.threshold
            return
        contamination = arguments.number("contamination", self.contamination, 0.0, 0.5)
        if contamination == 0.0 or self.anomaly_score == "typicality":
            raise ValueError(
                "`contamination` is above 0; where no training row is an outlier, and for the "
                "score 'typicality', give `false_alarm_rate`."
            )
        super()._train(rows)
        scores = -self._detector().score(self._events(rows)).astype(np.float64)
        self.offset_ = float(np.percentile(scores, 100.0 * contamination))

    def _build(self, columns, **parts):
        vae = super()._build(columns, **parts)
        if self.anomaly_score is not None:
            check_score(vae, self.anomaly_score)
        return vae

    def score_samples(self, X) -> np.ndarray:
        """Returns minus the anomaly scores of rows in nats, float64 `[n]`: low is unusual.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        return -self.detector_.score(self._events_of_fitted(X)).astype(np.float64)

    def decision_function(self, X) -> np.ndarray:
        """Returns `score_samples` minus `offset_`, float64 `[n]`: below 0 for outliers.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """Returns 1 for normal rows and -1 for outliers, int `[n]`.

        Raises:
            ValueError: for rows that the model does not take, and before `fit`.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    @property
    def detector_(self) -> Detector:
        """The `kvae.detection.Detector` of the trained model."""
        check_is_fitted(self)
        return self._detector()

    def _detector(self, **options) -> Detector:
        noise = {"num_samples": self.num_samples, "seed": self.seed_}
        return Detector(self.vae_, self.anomaly_score, **noise, **options)

    @property
    def _rows_for_a_score(self) -> int:
        return 2 if self.anomaly_score == "typicality" else 1  # Half of them give the mean.
