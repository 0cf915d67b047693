"""`kvae doctor`: what is wrong with a model."""

import json

import numpy as np
import pytest

from kvae.cli import main

pytestmark = pytest.mark.usefixtures("eagerly")  # Graphs are for larger data than here.


@pytest.fixture
def model(linear_gaussian, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_gaussian.vae().save("model.keras")
    for folder, scale in (("x", 1), ("far", 100)):
        (tmp_path / folder).mkdir()
        for seed, split in enumerate(("train", "test")):
            np.save(f"{folder}/{split}.npy", scale * linear_gaussian.draw(120, seed=seed))


def test_a_healthy_model_and_data_of_another_unit(model, capsys):
    assert main(["doctor", "model.keras", "--data", "x", "--examples", "100"]) == 0
    text = capsys.readouterr().out
    assert "No fault found." in text and "100 examples of x test, 100 of train" in text
    assert main(["doctor", "model.keras", "--data", "far", "--json", "-o", "out"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["serious"] and [one["name"] for one in facts["faults"]] == ["wrong_range"]
    with open("out/result.md", encoding="utf-8") as file:
        assert "wrong range" in file.read()
    assert main(["doctor", "model.keras", "--data", "x", "--examples", "9"]) == 2
    assert "--examples is at least 10, not 9" in capsys.readouterr().err
    assert main(["doctor", "model.keras", "--data", "x", "--epochs", "9"]) == 2
    assert "give --try, too" in capsys.readouterr().err
