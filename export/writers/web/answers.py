"""The page's file that fills gaps and judges drawings, and what the page has to know to ask it."""

import contextlib
import pathlib

import numpy as np

from export.signatures import left_out
from export.writers.tflite.writer import write
from export.writers.web.plane import numbers
from kvae.utils import callers

__all__ = ["write_answers"]

_SAMPLES = 64  # Of z, for a drawing that is filled in.
_ROUNDS = 6  # In each, the encoder sees what the one before has filled in.
_NORMAL = 500  # Images whose scores the meter compares with, if the model has no threshold,
_RATE = 0.05  # and the share of them beyond the mark.


def write_answers(model, path: pathlib.Path, data) -> dict:
    """Writes the file that says what is missing and what is unusual, as far as the model can.

    Returns:
        dict: `impute` and `meter`, what the page has to know to ask, each `None` where it cannot.
    """
    from export.writers.tflite import parts  # It imports TensorFlow.

    facts: dict = {"impute": None, "meter": None}
    with _asked(model, data) as asked:
        lacking, answers, guess = left_out(asked), [], model.missing is None
        if "impute" not in lacking:
            answers.append(parts.impute(asked, 1, _SAMPLES, guess))
            facts["impute"] = _impute(asked, guess)
        if "detect" not in lacking:
            answers.append(parts.detect(asked, 1))
            facts["meter"] = _meter(asked, model, data)
        try:
            if answers:
                write(asked, path, answers, "float32")
        except ValueError as error:
            callers.warn(f"The page neither fills gaps nor says what is unusual: {error}")
            return dict.fromkeys(facts)
    return facts


@contextlib.contextmanager
def _asked(model, data):
    """Gives a model that takes gaps and has a threshold, as far as that is possible.

    One that was trained on whole images takes gaps as well: it knows log p of what is there.
    """
    from kvae.detection import Detector

    likelihood, missing = model.likelihood, model.missing
    takes_missing = likelihood.takes_missing  # The other model shares its parts with this one.
    if missing is None and model.posterior.has_density and likelihood.adds_values:
        missing = "zero"
    try:
        asked = model.with_missing(missing)
        asked.calibration = model.calibration
        if asked.calibration is None and data is not None and len(data) > 1:
            rows = data[:_NORMAL]
            rate = max(_RATE, 1.0 / len(rows))
            label = rows.labels if model.conditional else None
            Detector(asked, false_alarm_rate=rate).fit(rows.examples, label)
        yield asked
    finally:
        likelihood.takes_missing = takes_missing


def _impute(model, guess: bool) -> dict:
    """Returns what the page has to give the network that fills gaps."""
    noise = model.posterior.base_noise()
    return {
        "num_samples": _SAMPLES,
        "noise": {name: item.size for name, item in noise.items()},
        "guess": guess,
        "rounds": _ROUNDS if guess else 1,
    }


def _meter(asked, model, data) -> dict:
    """Returns the scores that the meter shows, and what they are of."""
    calibration, own = asked.calibration, model.calibration is not None
    scores = calibration.sorted_scores
    return {
        "calibrated": own,
        "of": "normal images" if own else f"images ({data.name} {data.split})",
        "number": len(scores),
        "threshold": calibration.threshold,
        "rate": calibration.false_alarm_rate,
        "map": model.likelihood.adds_values,
        "scores": numbers(np.quantile(scores, np.linspace(0.0, 1.0, 201))),
    }
