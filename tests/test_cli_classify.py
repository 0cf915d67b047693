"""`kvae classify`, and trainings on data of which few rows have a label."""

import csv
import functools
import json
import re

import numpy as np
import pytest
from PIL import Image

import kvae
import zoo
from kvae.cli import main

pytestmark = pytest.mark.usefixtures("eagerly")  # Graphs are for larger data than here.


@pytest.fixture(scope="module")
def vae():
    model = zoo.build("m2_vae", event_shape=(3,), latent_dim=2, hidden=(4,), num_classes=2)
    model.schema = kvae.datasets.Schema(class_names=("cat", "dog"))
    return model


@pytest.fixture
def x(vae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae.save("model.keras")
    x = (np.random.default_rng(0).random((12, 3)) < 0.5).astype("float32")
    np.save("new.npy", x)
    return x


def told(capsys, *words):
    status = main(["classify", "model.keras", *words])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def test_rows_get_classes_by_name(vae, x, capsys):
    found = vae.classify(x)
    labels = np.where(np.arange(12) < 8, found, -1)
    labels[0] = 1 - labels[0]
    np.savez("some.npz", x=x, labels=labels, class_names=["cat", "dog"])
    text = told(capsys, "--data", "some.npz", "-o", "out.csv")
    assert "accuracy: 0.8750 of 8 rows with a label" in text and "wrote out.csv" in text
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [("cat", "dog")[one] for one in found]
    dogs = [float(row["p(dog)"]) for row in rows]
    np.testing.assert_allclose(dogs, vae.predict_proba(x)[:, 1], rtol=1e-4)
    told_json = json.loads(told(capsys, "--data", "new.npy", "--json"))
    assert told_json["accuracy"] is None and told_json["rows"] == 12
    assert told_json["classes"] == {"cat": int(np.sum(found == 0)), "dog": int(np.sum(found == 1))}


def test_what_is_wrong_is_said_in_a_line(x, capsys, make_dense):
    make_dense().save("plain.keras")
    make_dense(num_classes=2).save("told.keras")
    for words, message in (
        (["model.keras", "--data", "new.npy", "-o", "out.txt"], "--output ends in .csv"),
        (["plain.keras", "--data", "new.npy"], "has no classifier: train a conditional model"),
        (["told.keras", "--data", "new.npy"], "has no classifier: train a conditional model"),
        (["model.keras", "--data", "digits"], "takes events of shape"),
    ):
        assert main(["classify", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("kvae: error:")
        assert re.search(message, line), line


@pytest.fixture
def make_dense():
    size = {"event_shape": (3,), "latent_dim": 2, "hidden": (4,)}
    return functools.partial(zoo.build, "dense_vae", **size)


def test_rows_are_drawn_for_a_report_whose_labels_are_not_all_known(x, capsys, monkeypatch):
    np.savez("some.npz", x=np.tile(x, (10, 1)), labels=np.full(120, -1), class_names=["cat", "dog"])

    def report(schema, train, drawn, test, **options):
        raise ValueError(f"{drawn.shape} drawn")

    monkeypatch.setattr(kvae.tables, "report", report)
    words = ["model.keras", "--data", "some.npz", "--table", "--rows", "7"]
    assert main(["evaluate", *words]) == 2
    assert "(7, 3) drawn" in capsys.readouterr().err


def test_rows_and_images_without_a_label(tmp_path):
    table = tmp_path / "animals.csv"
    rows = [f"{i / 10},{'' if i % 3 else ('cat', 'dog')[i % 2]}" for i in range(24)]
    table.write_text("\n".join(["weight,kind", *rows]))
    options = {"columns": {"kind": "label"}}
    data = kvae.datasets.Source(table, unlabelled=True, **options).everything()
    assert data.schema.class_names == ("cat", "dog")
    assert data.labels.tolist() == [-1 if i % 3 else i % 2 for i in range(24)]
    with pytest.raises(ValueError, match="row 3, column 'kind' is empty"):
        kvae.datasets.Source(table, **options)
    pictures = tmp_path / "pictures"
    for i, place in enumerate(["cat", "dog", "unlabelled", "", "dog/puppies"]):
        (pictures / place).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i).save(pictures / place / f"{i}.png")
    data = kvae.datasets.Source(pictures, unlabelled=True).everything()
    assert data.schema.class_names == ("cat", "dog")
    by_picture = {int(x[0, 0, 0]): label for x, label in zip(data.x, data.labels, strict=True)}
    assert by_picture == {0: 0, 1: 1, 2: -1, 3: -1, 4: 1}


@pytest.mark.slow  # By default the parts of it are tested: the data above, the objective elsewhere.
def test_a_table_with_empty_labels_trains_and_classifies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=200)
    weight = kind * 4 + rng.normal(size=200)
    names = [("cat", "dog")[one] if i < 40 else "" for i, one in enumerate(kind)]
    rows = [f"{w:.3f},{h:.3f},{n}" for w, h, n in zip(weight, weight * 2, names, strict=True)]
    (tmp_path / "animals.csv").write_text("\n".join(["weight,height,kind", *rows]))
    train = ["train", "m2_vae", "--data", "animals.csv", "--columns", "kind=label"]
    options = ["--hidden", "16", "--latent-dim", "2", "--epochs", "20", "--no-evaluation"]
    objective = ["--objective", "semi_supervised:alpha=5.0,hidden=(16,)"]
    assert main([*train, *options, *objective, "-o", "run"]) == 0, capsys.readouterr().err
    rest = [
        row.rsplit(",", 1)[0] + f",{('cat', 'dog')[one]}"
        for row, one in zip(rows, kind, strict=True)
    ]
    (tmp_path / "all.csv").write_text("\n".join(["weight,height,kind", *rest]))
    capsys.readouterr()
    assert main(["classify", "run/model.keras", "--data", "all.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9
