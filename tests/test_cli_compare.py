"""`kvae compare`: which of two models is better on the same data."""

import dataclasses
import json
import re
import types

import numpy as np
import pytest

from kvae.cli import data, main
from kvae.cli.commands import compare
from kvae.datasets.schema import Column, Schema

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


def test_data_at_a_path_are_read_once(models, monkeypatch, capsys):
    read = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *a, **k: read.append(a) or load(*a, **k))
    main(["compare", "a.keras", "b.keras", "--data", "x", "--samples", "2", "--limit", "20"])
    assert sorted(path.name for path, *_ in read) == ["test.npy", "train.npy"]


def test_models_of_other_data_are_told_so_whatever_the_binarization():
    plain = data.Reading("mnist", "static", 0, 0.0, ())
    words = types.SimpleNamespace(a="a", b="b", data=None, binarize="static")
    with pytest.raises(ValueError, match="a is of mnist and b of fashion_mnist: say"):
        compare._check_datasets(plain, dataclasses.replace(plain, dataset="fashion_mnist"), words)
    words.binarize = None
    with pytest.raises(ValueError, match="--binarize static, and b with --binarize none"):
        compare._check_reading(plain, dataclasses.replace(plain, binarize=None), words)


def test_models_that_read_a_file_in_different_ways_are_told_so(linear_gaussian):
    words = types.SimpleNamespace(a="a", b="b", data="x.csv", dataset=None, binarize=None)
    models = []
    for categories in ((), ("no", "yes"), ("yes", "no")):
        models.append(linear_gaussian.vae())
        if categories:
            models[-1].schema = Schema(columns=(Column("ill", "categorical", categories),))
    unknown, one, other = (data.reading(model, "x.keras", words) for model in models)
    compare._check_reading(unknown, one, words)  # Of a model of arrays nothing is known.
    compare._check_reading(one, one, words)
    with pytest.raises(ValueError, match=r"a and b read x[.]csv in different ways"):
        compare._check_reading(one, other, words)
