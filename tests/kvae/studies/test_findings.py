"""kvae.studies.findings: verdicts follow from figures."""

from kvae.studies.findings import Finding


def test_the_words_follow_the_verdict():
    words = [str(Finding("A is B.", holds, "by 2 nats")) for holds in (True, False, None)]
    assert words == [
        "Supported: A is B (by 2 nats).",
        "Not supported by these data: A is B (by 2 nats).",
        "Undecided, within the error: A is B (by 2 nats).",
    ]
