"""A user's day: a folder of photos and a table go through every command."""

import csv
import json
import pathlib
import re
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from PIL import Image, ImageDraw

import kvae
from kvae.cli import main

TINY = ["--epochs", "1", "--batch-size", "64", "--hidden", "8", "--samples", "2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with photos of two classes, and a table of columns of several kinds."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    for i in range(24):
        shape = ("circles", "squares")[i % 2]
        image = Image.new("RGB", (8, 8), tuple(map(int, rng.integers(150, 256, 3))))
        draw = ImageDraw.Draw(image)
        fill = tuple(map(int, rng.integers(0, 150, 3)))
        (draw.ellipse if i % 2 else draw.rectangle)((1, 1, 6, 6), fill=fill)
        path = home / "photos" / shape / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    with open(home / "people.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "city", "children", "smoker", "sex"])
        for _ in range(60):
            height = f"{rng.normal(170, 10):.1f}"
            city = ("Lima", "Oslo", "Rome")[rng.integers(3)]
            writer.writerow([height, city, rng.integers(4), rng.integers(2), "fm"[rng.integers(2)]])
    return home


@pytest.fixture(autouse=True)
def there(home, monkeypatch):
    monkeypatch.chdir(home)


@pytest.fixture
def said(capsys):
    """Runs a command and returns what it prints: text, or the object of --json."""

    def run(*words, status=0):
        assert main([str(word) for word in words]) == status
        captured = capsys.readouterr()
        if status:
            assert captured.err.startswith("kvae: error: ") and captured.err.count("\n") == 1
            return captured.err
        return json.loads(captured.out) if "--json" in words else captured.out

    return run


def train_photos(said):
    words = ["--data", "photos", "--conditional", "--latent-dim", "2", *TINY, "-o", "runs/photos"]
    return said("train", "dense_vae", *words, "--likelihood", "gaussian", "--json")


def train_table(said):
    words = ["--data", "people.csv", "--columns", "sex=label", "--latent-dim", "2", *TINY]
    return said("train", "tabular_vae", *words, "--conditional", "-o", "runs/people", "--json")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_photos_from_files_to_pictures(said, home, eagerly):
    trained = train_photos(said)
    photos = "runs/photos/model.keras"
    # Nothing of how the files are read is said again, and no training photo is measured.
    measured = said("evaluate", photos, "--data", "photos", "--samples", "2", "--json")
    assert measured["elbo"] == pytest.approx(trained["elbo"], rel=1e-5)
    train, test = (kvae.datasets.from_path("photos", split) for split in ("train", "test"))
    assert measured["num_examples"] == len(test) < len(train)
    assert "trained on photos: give --data" in said("evaluate", photos, status=2)
    assert kvae.load_model(photos).schema.class_names == ("circles", "squares")
    said("plot", photos, "samples", "-n", "2", "--label", "squares")
    assert "one of circles, squares or 0 to 1" in said(
        "sample", photos, "--label", "cats", status=2
    )


# By default test_cli_tables.py and test_cli_impute.py read and write tables, and train on none.
@pytest.mark.slow
def test_a_table_from_a_file_to_samples(said, home):
    trained = train_table(said)
    people = "runs/people/model.keras"
    measured = said("evaluate", people, "--data", "people.csv", "--samples", "2", "--json")
    assert measured["elbo"] == pytest.approx(trained["elbo"], rel=1e-5)
    said("sample", people, "-n", "6")
    head, *rows = rows_of("samples.csv")
    assert head == ["height", "city", "children", "smoker", "sex"] and len(rows) == 6
    for height, city, children, smoker, sex in rows:
        assert float(height) and city in ("Lima", "Oslo", "Rome") and children in "0123"
        assert smoker in "01" and sex in "fm"
    # Draws, not means: these would be the same wherever z is.
    assert len({row[0] for row in rows}) == 6 and len({row[1] for row in rows}) > 1
    assert "have no mean" in said("sample", people, "--mean", status=2)
    said("sample", people, "-n", "3", "--label", "m", "--mode", "-o", "m.csv")
    assert [row[-1] for row in rows_of("m.csv")[1:]] == ["m"] * 3


@pytest.mark.slow
def test_every_command_takes_the_photos_and_the_table(said, home):
    for name, trained in (("photos", train_photos), ("people", train_table)):
        trained(said)
        model, data = f"runs/{name}/model.keras", "photos" if name == "photos" else "people.csv"
        given = ("--data", data)
        said(
            "evaluate",
            model,
            *given,
            "--samples",
            "2",
            "--latents",
            "--probes",
            "-o",
            f"{name}-report",
        )
        kinds = ("reconstructions", "samples", "latent", "interpolation")
        for kind in kinds:
            said("plot", model, kind, *given, "-n", "2", "-o", f"{name}-{kind}.png")
            Image.open(f"{name}-{kind}.png").verify()
        text = said("plot", model, "interpolation", *given, "-n", "40", status=2)
        assert "An interpolation of 40 rows takes 80 examples" in text
        said("sample", model, *given, "-n", "4", "-o", f"{name}.png")
        exported = []
        for form, words in (
            ("saved_model", []),
            ("repository", ["--name", name]),
            ("tflite", given),
            ("tflite", ["--precision", "int8", "--calibrate", data]),
            ("onnx", []),
        ):
            ending = {"tflite": ".tflite", "onnx": ".onnx"}.get(form, "")
            path = f"{name}-{form}-{len(words)}{ending}"
            found = said("export", model, "-f", form, path, *words, "--json")
            exported.append(found["path"])
        for path in exported:
            assert said("verify", path, "--model", model, *given, "--json")["ok"], path
        if name == "photos":
            said("export", model, "-f", "web", f"{name}-page", *given)
        facts = json.loads(pathlib.Path(exported[0], "assets.extra", "kvae.json").read_text())
        assert facts["schema"]["class_names"] == list(kvae.load_model(model).schema.class_names)
        served(model, name)
    words = ["--data", "photos", "--quick", "-o", "studies", "--cache", "cache"]
    (study,) = said("study", "why-sample", *words, "--json")
    assert study["findings"] and pathlib.Path(study["folder"], "index.html").is_file()


def served(model, name):
    """One request, answered by the command."""
    command = [sys.executable, "-m", "kvae", "serve", model, "--name", name, "--port", "0"]
    command += ["--backend", "development", "--no-grpc"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        address = next(found[0] for line in lines if (found := re.findall(r"http://\S+", line)))
        root = re.match(r"http://[^/]+", address)[0]
        body = json.dumps({"instances": [{"seed": 1, "label": 0}], "signature_name": "generate"})
        request = urllib.request.Request(f"{root}/v1/models/{name}:predict", body.encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            (found,) = json.load(answer)["predictions"]
        shape = np.shape(found["image"])
        assert shape == kvae.load_model(model).event_shape
    finally:
        process.terminate()
        process.wait(timeout=30)
