"""kvae.studies.findings: verdicts follow from figures."""

import numpy as np
import pytest

from kvae.studies.findings import Finding, difference


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    common, gain = 100 * rng.normal(size=400), rng.normal(size=400)
    found = difference(common + 0.5 + gain, common)
    assert found.value == pytest.approx(0.5 + gain.mean())
    assert found.error == pytest.approx(gain.std(ddof=1) / 20)


@pytest.mark.parametrize(
    "shift, threshold, holds",
    [(1.0, 0.0, True), (-1.0, 0.0, False), (0.0, 0.0, None), (1.0, 2.0, False)],
)
def test_a_difference_within_two_errors_decides_nothing(shift, threshold, holds):
    values = np.tile([-1.0, 1.0], 50) + shift  # The error is about 0.1.
    assert difference(values, np.zeros(100)).exceeds(threshold) is holds


def test_the_words_follow_the_verdict():
    words = [str(Finding("A is B.", holds, "by 2 nats")) for holds in (True, False, None)]
    assert words == [
        "Supported: A is B (by 2 nats).",
        "Not supported by these data: A is B (by 2 nats).",
        "Undecided, within the error: A is B (by 2 nats).",
    ]
