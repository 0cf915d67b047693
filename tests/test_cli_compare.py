"""`kvae compare`: which of two models is better on the same data."""

import dataclasses
import json
import re
import types

import numpy as np
import pytest

from kvae.cli import main
from kvae.cli.commands import compare

pytestmark = pytest.mark.usefixtures("eagerly")  # Graphs are for larger data than here.


@pytest.fixture
def models(linear_gaussian, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linear_gaussian.vae().save("a.keras")
    dataclasses.replace(linear_gaussian, b=linear_gaussian.b + 0.5).vae().save("b.keras")
    (tmp_path / "x").mkdir()
    for split in ("train", "test"):
        np.save(f"x/{split}.npy", linear_gaussian.draw(60, seed=4))


def test_the_figures_and_the_verdict(models, capsys):
    words = ["compare", "a.keras", "b.keras", "--data", "x", "--samples", "2"]
    assert main([*words, "-o", "out"]) == 0
    text = capsys.readouterr().out
    assert "a is better" in text and "wrote out/result.md" in text
    assert main([*words, "--json", "--limit", "50", "--confidence", "0.9"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["verdict"] == "A is better" and facts["num_examples"] == 50
    assert facts["interval"][0] < facts["difference"] < facts["interval"][1]
    assert facts["confidence"] == 0.9 and facts["a"] == "a.keras" and facts["split"] == "test"


@pytest.mark.parametrize(
    "words, message",
    [
        (["a.keras", "c.keras"], "no model file c.keras"),
        (["a.keras", "b.keras", "--data", "x", "--confidence", "1"], "--confidence is below 1"),
        (["a.keras", "b.keras", "--data", "x", "--samples", "1"], "--samples is at least 2"),
        (["dense_vae.digits", "a.keras"], r"shape \(6,\), but digits has"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(models, capsys, words, message):
    try:
        status = main(["compare", *words])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(message, last), last


def test_models_of_other_data_are_told_so_whatever_the_binarization(monkeypatch):
    digits, clothes = (
        types.SimpleNamespace(name=name, binarize="static") for name in ("mnist", "fashion_mnist")
    )
    monkeypatch.setattr(compare.own, "load_data", lambda *_: clothes)
    words = types.SimpleNamespace(a="a", b="b", split="test", binarize="static")
    with pytest.raises(ValueError, match="a is of mnist and b of fashion_mnist: say"):
        compare._check_reading(None, words, digits)
