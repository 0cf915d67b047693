"""`kvae detect`: data judged by a model, with a threshold that the model keeps."""

import csv
import json
import os
import re

import numpy as np
import pytest

import kvae
from kvae.cli import main

pytestmark = pytest.mark.usefixtures("eagerly")  # Graphs are for larger data than here.


@pytest.fixture
def model(linear_gaussian, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_gaussian.vae().save("model.keras")
    np.save("normal.npy", linear_gaussian.draw(40, seed=1))
    new = linear_gaussian.draw(12, seed=2)
    new[7] += 9.0
    np.save("new.npy", new)
    return new


def told(capsys, *words):
    status = main(["detect", "model.keras", "--data", "new.npy", "--samples", "4", *words])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def test_unusual_rows_are_found_and_the_threshold_is_kept(model, capsys):
    files = ("-o", "out.csv", "--map", "map.npy", "--save", "d.keras", "--plot", "unusual.png")
    text = told(capsys, "--normal", "normal.npy", *files)
    assert "of 12 rows are flagged" in text and "wrote out.csv" in text
    first = next(line for line in text.splitlines() if "flagged" in line and "rows" not in line)
    assert first.split()[0] == "7"
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    detector = kvae.detection.Detector(kvae.load_model("d.keras"))
    found = detector.detect(model)
    assert [row["row"] for row in rows] == [str(i) for i in range(12)]
    np.testing.assert_allclose([float(row["score"]) for row in rows], found.score, rtol=1e-6)
    assert [row["is_anomaly"] == "True" for row in rows] == found.is_anomaly.tolist()
    np.testing.assert_array_equal(np.load("map.npy"), detector.map(model))
    assert os.path.getsize("unusual.png") > 5000 and "wrote unusual.png" in text
    main(["detect", "d.keras", "--data", "new.npy", "--json", "--false-alarm-rate", "0.1"])
    again = json.loads(capsys.readouterr().out)
    assert again["normal_rows"] == 40 and again["num_samples"] == 4
    assert again["flagged"] == detector.detect(model, false_alarm_rate=0.1).is_anomaly.sum()


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "model.keras keeps no threshold for this score: give --normal"),
        (["--normal", "normal.npy", "--false-alarm-rate", "0.001"], "at least 999 normal rows"),
        (["--normal", "normal.npy", "--false-alarm-rate", "1.5"], "above 0 and below 1"),
        (["--normal", "digits"], r"takes events of shape \(6,\), but digits has"),
        (["-o", "out.txt"], "--output ends in .csv, not 'out.txt'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(model, capsys, words, message):
    assert main(["detect", "model.keras", "--data", "new.npy", "--samples", "4", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kvae: error:")
    assert re.search(message, line), line
