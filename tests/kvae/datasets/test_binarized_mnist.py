"""The published binarization of MNIST, in files that are made up and shorter."""

import dataclasses
import hashlib

import numpy as np
import pytest

from kvae import datasets
from kvae.datasets import registry
from kvae.datasets.catalog import binarized_mnist
from zoo import training
from zoo.building import RECIPES

SIZES = {"train": 7, "validation": 3, "test": 4}
FILES = {"train": "train", "validation": "valid", "test": "test"}


@pytest.fixture
def pixels(tmp_path, monkeypatch):
    """Writes the three files as numpy.savetxt does, and takes their hashes for the published."""
    generator, found, hashes = np.random.default_rng(0), {}, {}
    (tmp_path / "binarized_mnist").mkdir()
    for split, n in SIZES.items():
        found[split] = generator.integers(0, 2, (n, 784))
        path = tmp_path / "binarized_mnist" / f"binarized_mnist_{FILES[split]}.amat"
        np.savetxt(path, found[split], fmt="%d")
        hashes[split] = hashlib.sha256(path.read_bytes()).hexdigest()
    fewer = dataclasses.replace(datasets.info("binarized_mnist"), **SIZES)
    monkeypatch.setattr(registry._DATASETS["binarized_mnist"], "facts", fewer)
    monkeypatch.setattr(binarized_mnist, "_SHA256", hashes)
    monkeypatch.setenv("KVAE_DATA_DIR", str(tmp_path))
    registry._arrays.cache_clear()
    yield found
    registry._arrays.cache_clear()


def test_pixels_are_those_of_the_files(pixels):
    for split, expected in pixels.items():
        data = datasets.load("binarized_mnist", split)
        assert data.labels is None and data.event_shape == (28, 28, 1)
        np.testing.assert_array_equal(data.examples.reshape(-1, 784), expected)


def test_the_recipe_trains_on_them_as_they_are(pixels):
    recipe = RECIPES["dense_vae.binarized_mnist"]
    assert recipe.binarize is None
    data = training.data_of(recipe, "train")
    np.testing.assert_array_equal(data.examples.reshape(-1, 784), pixels["train"])
    np.testing.assert_array_equal(np.unique(data.levels()), [0, 1])
    assert len(next(iter(data.batches(2)))) == 2


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content[:-2], r"it has 6,270 bytes, and 4 lines .* have 6,272"),
        (lambda content: content[:10] + b"2" + content[11:], "a line is not 784 times 0 or 1"),
        (lambda content: content.replace(b"\n", b" "), "a line is not 784 times 0 or 1"),
        (lambda content: content[1568:] + content[:1568], "its SHA-256 is [0-9a-f]{12}…, not"),
    ],
    ids=["truncated", "a 2", "one line", "another order"],
)
def test_other_files_are_refused(pixels, tmp_path, change, message):
    path = tmp_path / "binarized_mnist" / "binarized_mnist_test.amat"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        datasets.load("binarized_mnist", "test")
    assert str(error.value).startswith(f"{path} is not the published file")
    assert "fetch the original again" in str(error.value)


def test_files_that_are_not_there_are_named(pixels, tmp_path, monkeypatch):
    (tmp_path / "binarized_mnist" / "binarized_mnist_valid.amat").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing binarized_mnist_valid.amat"):
        datasets.load("binarized_mnist")
    monkeypatch.delenv("KVAE_DATA_DIR")
    with pytest.raises(FileNotFoundError, match="no downloader.*Set KVAE_DATA_DIR to a folder"):
        datasets.load("binarized_mnist")


def test_sizes_are_those_of_the_published_files():
    """Of the list of TensorFlow Datasets: 78,400,000 bytes, and twice 15,680,000."""
    splits = datasets.info("binarized_mnist").splits
    assert [n * 2 * 784 for n in splits.values()] == [78_400_000, 15_680_000, 15_680_000]
