"""`kvae impute`, and tables with empty cells."""

import csv
import json

import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import main
from kvae.datasets import from_path

pytestmark = pytest.mark.usefixtures("eagerly")  # Graphs are for larger data than here.

LINES = ["name;height;colour;children"]
LINES += [f"p{i};{150 + i % 50},5;{('red', 'blue')[i % 2]};{i % 4}" for i in range(60)]
EMPTY = {3: "p2;;blue;1", 5: "p4;154,5;?;NA", 7: "p6;;;"}
COLUMNS = {"name": "ignore", "children": "poisson"}


def table(path, changes=EMPTY):
    lines = [changes.get(i, line) for i, line in enumerate(LINES)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path):
    """A model that nobody has trained, in a file, and the table that it knows."""
    path = table(tmp_path / "people.csv")
    data = from_path(path, columns=COLUMNS, missing=True)
    vae = zoo.build(
        "tabular_vae",
        event_shape=(3,),
        latent_dim=2,
        hidden=(4,),
        columns=[column.description for column in data.schema.columns],
        standardize=True,
        missing="zero:mask",
        seed=1,
    )
    vae.likelihood.adapt(data)
    vae.schema = data.schema
    vae.save(tmp_path / "model.keras")
    return path


def test_empty_cells_are_nan_and_the_rest_is_as_it_was(tmp_path):
    whole = from_path(table(tmp_path / "w.csv", {}), columns=COLUMNS)
    parts = [
        from_path(table(tmp_path / "g.csv"), part, columns=COLUMNS, missing=True)
        for part in ("train", "test", "validation")
    ]
    assert parts[0].schema.columns == whole.schema.columns
    assert sum(int(np.isnan(part.x).sum()) for part in parts) == 6
    there = ~np.isnan(parts[0].x)
    assert np.array_equal(parts[0].x[there], whole.x[there])
    with pytest.raises(ValueError, match=r"row 4, column 'height' is empty.*--missing"):
        from_path(table(tmp_path / "g.csv"), columns=COLUMNS)
    with pytest.raises(ValueError, match="column 'height' holds 'tall'"):
        from_path(table(tmp_path / "g.csv", {3: "p;tall;red;1"}), columns=COLUMNS, missing=True)
    nothing = {i: f"p;{i};;{i}" for i in range(1, 61)}
    found = from_path(table(tmp_path / "n.csv", nothing), columns=COLUMNS, missing=True).schema
    assert [column.name for column in found.constants] == ["colour"]
    array = np.full((20, 3), np.nan, "float32")
    array[:, 0] = np.arange(20)
    np.save(tmp_path / "a.npy", array)
    assert np.isnan(from_path(tmp_path / "a.npy", missing=True).x[:, 1:]).all()
    with pytest.raises(ValueError, match="not observed"):
        from_path(tmp_path / "a.npy")


def test_a_table_is_filled(model, tmp_path, capsys):
    words = ["impute", str(tmp_path / "model.keras"), "--data", str(model), "--json"]
    assert main([*words, "-o", str(tmp_path / "filled.csv"), "--samples", "8"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["filled"] == 6 and said["examples"] == 3 and said["values"] == 180
    with open(tmp_path / "filled.csv", encoding="utf-8", newline="") as file:
        filled = list(csv.reader(file, delimiter=";"))
    given = [EMPTY.get(i, line).split(";") for i, line in enumerate(LINES)]
    assert len(filled) == len(given)
    for i, (have, want) in enumerate(zip(filled, given, strict=True)):
        for cell, old in zip(have, want, strict=True):
            if i not in EMPTY or old not in ("", "?", "NA"):
                assert cell == old
    # A number as the table writes them, within its bounds.
    assert "." not in filled[3][1] and 150.5 <= float(filled[3][1].replace(",", ".")) <= 199.5
    assert filled[7][2] in ("red", "blue") and int(filled[7][3]) >= 0
    assert main([*words, "-o", f"{tmp_path}/d.csv", "--imputations", "2", "--samples", "8"]) == 0
    capsys.readouterr()
    assert {path.name for path in tmp_path.glob("d*.csv")} == {"d.1.csv", "d.2.csv"}
    # What was filled in is a table that the model takes.
    data = from_path(tmp_path / "d.1.csv", schema=kvae.load_model(tmp_path / "model.keras").schema)
    assert not np.isnan(data.x).any()


def test_refusals(model, tmp_path, capsys):
    plain = zoo.build("tabular_vae", event_shape=(3,), latent_dim=2, hidden=(4,))
    plain.save(tmp_path / "plain.keras")
    for name, output, words in (
        ("plain", "x.csv", "takes no missing values. Train one with kvae train --missing"),
        ("model", "x.npy", "--output ends in .csv or .tsv"),
    ):
        file = str(tmp_path / f"{name}.keras")
        assert main(["impute", file, "--data", str(model), "-o", str(tmp_path / output)]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.slow
def test_training_on_a_table_with_gaps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "people.csv")
    words = ["train", "tabular_vae", "--data", "people.csv", "--columns", "name=ignore"]
    words += ["--latent-dim", "2", "--hidden", "4", "--epochs", "1", "-o", "run"]
    assert main(words) == 2
    assert "--missing mean" in capsys.readouterr().err
    assert main([*words, "--missing", "mean:mask", "--samples", "4"]) == 0
    assert main(["impute", "run/model.keras", "--data", "people.csv"]) == 0
    assert (tmp_path / "imputed.csv").exists()
