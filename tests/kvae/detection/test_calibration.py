"""kvae.detection.Calibration: p-values and verdicts."""

import json
from fractions import Fraction

import numpy as np
import pytest

from kvae.detection import Calibration


def calibration(scores, rate=0.1):
    return Calibration("elbo", 8, 3, rate, tuple(scores), 1.5)


def test_p_values_count_the_normal_scores_that_are_at_least_as_high():
    found = calibration([3.0, 1.0, 2.0, 2.0] + [0.0] * 5).p_value([3.5, 3.0, 2.0, 1.5, -1.0])
    np.testing.assert_allclose(found, [1 / 10, 2 / 10, 4 / 10, 4 / 10, 1.0])


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.29, 0.5])
@pytest.mark.parametrize("size", [19, 20, 199])
def test_a_verdict_is_a_p_value_of_at_most_the_rate(rate, size):
    rng = np.random.default_rng(size)
    for values in (rng.normal(size=size), rng.integers(0, 4, size)):  # Without ties and with.
        values = values.astype("float32")
        made = calibration(values, rate)
        new = np.concatenate([values, values + 0.5, [np.inf, -np.inf]])
        exact = [
            Fraction(1 + int((values >= s).sum()), 1 + size) <= Fraction(str(rate)) for s in new
        ]
        np.testing.assert_array_equal(made.is_anomaly(new), exact)


def test_the_rate_of_false_alarms_holds():
    """In the mean over calibrations: exactly ⌊α (n + 1)⌋ / (n + 1), whatever the distribution."""
    rng, alarms = np.random.default_rng(0), []
    for _ in range(2000):
        scores = rng.standard_cauchy(31)  # So much as 30 and one: 3 of 31 may be flagged.
        alarms.append(calibration(scores[:-1]).is_anomaly(scores[-1:])[0])
    expected = 3 / 31
    assert abs(np.mean(alarms) - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


def test_it_goes_through_json():
    made = calibration(np.random.default_rng(1).normal(size=30).astype("float32").tolist())
    again = Calibration.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.threshold == made.threshold and again.typical == made.typical
    np.testing.assert_array_equal(again.sorted_scores, made.sorted_scores)
    assert again.with_rate(0.5).threshold < made.threshold


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan"), "high"])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="`false_alarm_rate` is"):
        calibration([1.0] * 100, rate)


def test_too_few_normal_rows_are_refused():
    calibration([1.0] * 19, 0.05)
    with pytest.raises(ValueError, match="0.05 takes at least 19 normal rows.* there are 18"):
        calibration([1.0] * 18, 0.05)
