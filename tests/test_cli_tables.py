"""Tables on the command line: rows given values, and the report on drawn rows."""

import argparse
import csv
import json
import types

import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import data as own
from kvae.cli import main, rows, runs
from kvae.datasets import Source
from kvae.tables import Table
from zoo import training

LINES = ["height,colour,children,planet"]
LINES += [f"{150 + 0.5 * (i % 50)},{('red', 'blue')[i % 2]},{i % 4},Earth" for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that nobody has trained, in a file, and the table that it knows."""
    tmp_path = tmp_path_factory.mktemp("tables")
    (tmp_path / "people.csv").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    table = Table.from_file(tmp_path / "people.csv")
    vae = zoo.build(
        "tabular_vae",
        event_shape=table.event_shape,
        latent_dim=2,
        hidden=(4,),
        likelihood=table.likelihood(),
    )
    vae.likelihood.adapt(table)
    vae.schema = table.schema
    vae.save(tmp_path / "model.keras")
    return tmp_path


@pytest.fixture
def model(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return "model.keras"


def test_rows_with_given_values(model, capsys, eagerly):
    words = ["sample", model, "--rows", "7", "--given", "colour=red,height=160", "--json"]
    assert main([*words, "--samples", "300", "-o", "red.csv", "--seed", "3"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert 1 <= facts["effective_sample_size"] <= 300
    with open("red.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == LINES[0].split(",") and len(found) == 7
    assert {(row["colour"], row["height"], row["planet"]) for row in found} == {
        ("red", "160", "Earth")
    }
    assert {row["children"] for row in found} <= set("0123")
    drawn = kvae.tables.given(
        kvae.load_model(model), {"colour": "red", "height": 160}, 7, num_samples=300, seed=3
    )
    schema = kvae.load_model(model).schema
    assert [list(row.values()) for row in found] == schema.rows(drawn.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--given", "colour=green"], "Column 'colour' takes one of blue, red, not 'green'"),
        (["--given", "color=red"], "Unknown column 'color'"),
        (["--given", "red"], "--given: invalid NAME=VALUE value: 'red'"),
        (["--given", "colour=red", "-o", "x.npy"], "--given is for rows of a table"),
        (["--given", "colour=red", "--mean"], "leave --mean, --mode and --temperature"),
        (["--samples", "5"], "--samples belongs to --given"),
        (["--given", "colour=red", "colour=blue", "-o", "r.csv"], "two values of colour"),
    ],
)
def test_what_cannot_be_given(model, words, message, capsys):
    try:
        assert main(["sample", model, *words]) == 2
    except SystemExit as stopped:  # argparse's own errors.
        assert stopped.code == 2
    assert message in capsys.readouterr().err


def test_a_report_on_rows_leaves_other_options_out(model, capsys):
    for words, message in (
        (["--table", "--rate-distortion"], "--rate-distortion does not go with --table"),
        (["--target", "colour"], "--target belongs to --table"),
    ):
        assert main(["evaluate", model, "--data", "people.csv", *words]) == 2
        assert message in capsys.readouterr().err


def test_values_may_hold_commas():
    assert rows.values("age=40,name=Smith, John,job=") == {
        "age": "40",
        "name": "Smith, John",
        "job": "",
    }
    with pytest.raises(argparse.ArgumentTypeError, match="age has two values"):
        rows.values("age=40,age=50")


def test_labels_of_a_sorted_file_are_drawn_in_another_order(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lines = [LINES[0], *sorted(LINES[1:], key=lambda line: line.split(",")[1])]
    (folder / "sorted.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = Table.from_file(folder / "sorted.csv", {"colour": "label"})
    vae = zoo.build(
        "tabular_vae", event_shape=(2,), hidden=(4,), likelihood=table.likelihood(), num_classes=2
    )
    vae.likelihood.adapt(table)
    vae.schema = table.schema
    vae.save("sorted.keras")

    def stopped(self, n, label=None, **options):
        assert n == 90 and abs(label[:45].mean() - 0.5) < 0.25 and 30 < label.sum() < 60
        raise ValueError("The labels are mixed.")

    monkeypatch.setattr(kvae.VAE, "sample", stopped)
    words = ["--data", "sorted.csv", "--table", "--split", "train", "--rows", "90"]
    assert main(["evaluate", "sorted.keras", *words]) == 2
    assert "The labels are mixed" in capsys.readouterr().err


@pytest.mark.slow  # The report itself is tested in tests/kvae/tables.
def test_the_report_on_drawn_rows(model, capsys):
    assert main(["evaluate", model, "--data", "people.csv", "--table", "--split", "train"]) == 0
    text = capsys.readouterr().out
    for name in ("columns", "pairs", "detection_auc", "share_nearer_to_training", "copies"):
        assert name in text
    assert "Target: children" in text


def test_columns_that_are_conditions(folder, monkeypatch, capsys, eagerly):
    monkeypatch.chdir(folder)
    made = []
    monkeypatch.setattr(runs.Run, "run", lambda run: made.append(run.recipe) or 0)
    words = ["train", "tabular_vae", "--data", "people.csv", "--latent-dim", "1", "--hidden", "2"]
    assert main([*words, "--columns", "colour=condition", "children=condition"]) == 0
    (recipe,) = made
    told = {"colour": ["blue", "red"], "children": ["0", "1", "2", "3"]}
    assert recipe.arguments["conditions"] == told and recipe.arguments["event_shape"] == (1,)
    # What the training reads, and what commands read later for the model that it saves.
    data = training.data_of(recipe, "train")
    assert set(data.labels) == set(told)
    vae = zoo.build(recipe.architecture, **recipe.arguments)
    vae.likelihood.adapt(data)
    vae.schema = recipe.schema
    vae.save("told.keras")
    words = ["sample", "told.keras", "--rows", "3", "-o", "told.csv", "--label"]
    assert main([*words, "colour=blue"]) == 0
    with open("told.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    # What was left out is unknown.
    assert [(row["colour"], row["children"]) for row in found] == [("blue", "")] * 3
    capsys.readouterr()
    assert main([*words, "colour=green"]) == 2
    assert "one of blue, red" in capsys.readouterr().err


def test_arrays_that_are_conditions_are_read_for_a_model_that_knows_them(tmp_path):
    path = tmp_path / "waves.npz"
    np.savez(path, x=np.arange(40.0).reshape(20, 2), size=np.arange(20) / 2)
    model = types.SimpleNamespace(
        schema=Source(path, columns={"size": "condition"}).schema,
        event_shape=(2,),
        missing=None,
        conditional=True,
        takes_unknown_labels=False,
    )
    found = own.whole_data(model, "model.keras", str(path), "test")
    np.testing.assert_array_equal(found.labels["size"], np.arange(20) / 2)


@pytest.mark.parametrize(
    "words",
    [["m2_vae"], ["tabular_vae", "--objective", "semi_supervised"]],
    ids=["m2", "objective"],
)
def test_a_model_that_learns_classes_takes_no_conditions(folder, monkeypatch, capsys, words):
    monkeypatch.chdir(folder)
    train = ["train", *words, "--data", "people.csv", "--columns", "colour=condition"]
    assert main([*train, "-o", "out"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "takes one label, and no conditions" in last and "--columns colour=label" in last


@pytest.mark.slow  # The test above trains nothing.
def test_a_training_with_columns_that_are_conditions(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["train", "tabular_vae", "--data", "people.csv", "--columns", "colour=condition"]
    small = ["--epochs", "1", "--latent-dim", "1", "--hidden", "2", "--no-evaluation", "-o", "run"]
    assert main([*words, *small]) == 0
    assert list(kvae.load_model("run/model.keras").conditions.kinds) == ["colour"]
    assert main(["evaluate", "run/model.keras", "--data", "people.csv", "--samples", "2"]) == 0
    assert "nll" in capsys.readouterr().out
