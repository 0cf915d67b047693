"""Recipes that nobody has run, for want of their data: what they say, and that they run."""

import dataclasses
import gzip
import json
import struct

import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import main
from kvae.datasets import registry
from zoo import cards, publishing, training
from zoo.building import RECIPES

UNTRAINED = sorted(set(zoo.list_models(untrained=True)) - set(zoo.list_models()))
SIZES = {"train": 48, "validation": 16, "test": 8}


def write_idx(path, values):
    """The IDX format, from its description."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """Bright rectangles in the four files of Fashion-MNIST, of which there are fewer."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data" / "fashion_mnist"
    folder.mkdir(parents=True)
    for part, n in (("train", SIZES["train"] + SIZES["validation"]), ("t10k", SIZES["test"])):
        images = np.zeros((n, 28, 28), np.uint8)
        corners = generator.integers(2, 14, (n, 2))
        for image, (row, column) in zip(images, corners, strict=True):
            image[row : row + 12, column : column + 10] = generator.integers(128, 256)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        labels = generator.integers(0, 10, n).astype(np.uint8)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    fewer = dataclasses.replace(kvae.datasets.info("fashion_mnist"), **SIZES)
    monkeypatch.setattr(registry._DATASETS["fashion_mnist"], "facts", fewer)
    monkeypatch.setenv("KVAE_DATA_DIR", str(tmp_path / "data"))
    registry._arrays.cache_clear()
    yield kvae.datasets.load("fashion_mnist", "test")
    registry._arrays.cache_clear()


@pytest.mark.parametrize("name", UNTRAINED)
@pytest.mark.default(*(name for name in UNTRAINED if not name.startswith("ladder")))  # It is large.
class TestCard:
    def test_makes_no_figure_up(self, name):
        card = zoo.card(name)
        assert not card.trained and card.headline == "not trained here"
        assert card.metrics == {} and card.dataset["sha256"] == {}
        assert set(card.cost) == {"parameters"} and card.recipe["best_epoch"] is None

    def test_is_what_its_recipe_announces(self, name, tmp_path):
        card = publishing.announce(RECIPES[name], tmp_path)
        assert cards.Card.read(tmp_path / "cards" / f"{name}.json") == card
        assert zoo.card(name) == card

    def test_loading_it_says_how_to_train_it(self, name, capsys):
        with pytest.raises(FileNotFoundError, match="no weights: it was not trained here") as error:
            zoo.load(name)
        assert f"`kvae train --recipe {name}`" in str(error.value)
        assert "KVAE_DATA_DIR" in str(error.value)
        with pytest.raises(SystemExit) as stop:
            main(["sample", name])
        assert stop.value.code == 2
        assert f"kvae: error: argument MODEL: {name} has no weights" in capsys.readouterr().err

    def test_is_listed_as_such(self, name, capsys):
        assert name not in zoo.list_models() and name in zoo.list_models(name, untrained=True)
        assert main(["list", name]) == 0
        assert "not trained here" in capsys.readouterr().out
        assert main(["list", name, "--markdown"]) == 0
        assert name not in capsys.readouterr().out


@pytest.mark.slow  # `test_registry.py` and `test_finish.py` train by that command.
def test_a_trained_dense_recipe_replaces_the_card(clothes, tmp_path, capsys, eagerly):
    """The command itself, for an epoch: what it writes loads as a model of the zoo does."""
    name = "dense_vae.fashion_mnist"
    command = ["train", "--recipe", name, "--epochs", "1", "--samples", "2", "--json"]
    assert main([*command, "-o", str(tmp_path / "run")]) == 0
    result = json.loads(capsys.readouterr().out)
    card = cards.Card.read(tmp_path / "run" / "cards" / f"{name}.json")
    assert card.trained and card.metrics["nll"] == result["nll"]
    assert card.dataset["sha256"]["test"] == clothes.sha256
    assert card.recipe == {**zoo.card(name).recipe, "epochs": 1, "best_epoch": 1}
    model = kvae.load_model(tmp_path / "run" / "model.keras")
    assert model.reconstruct(clothes.examples).shape == (8, 28, 28, 1)


@pytest.mark.slow
def test_a_few_steps_of_the_convolutional_recipe(clothes, tmp_path):
    recipe = dataclasses.replace(RECIPES["conv_vae.fashion_mnist"], epochs=4, batch_size=16)
    model, checkpoint = training.train(recipe, tmp_path, verbose=0)
    loss = checkpoint.history["reconstruction"]
    assert np.isfinite(checkpoint.history["loss"]).all() and loss[-1] < loss[0]
    assert model.sample(2, seed=0).shape == (2, 28, 28, 1)
