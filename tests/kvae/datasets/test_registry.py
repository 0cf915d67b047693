"""kvae.datasets: known values, fixed splits, binarization, clear errors."""

import gzip
import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from kvae import datasets

DATA_DIR = os.environ.get("KVAE_DATA_DIR", "")
needs_mnist = pytest.mark.skipif(
    not pathlib.Path(DATA_DIR, "mnist").is_dir() or not DATA_DIR,
    reason="no mnist/ in KVAE_DATA_DIR",
)
needs_frey = pytest.mark.skipif(
    not pathlib.Path(DATA_DIR, "frey_faces.npz").is_file() or not DATA_DIR,
    reason="no frey_faces.npz in KVAE_DATA_DIR",
)


def all_rows(name: str) -> np.ndarray:
    parts = [datasets.load(name, split).x for split in datasets.SPLITS]
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


# Known values and splits


def test_import_loads_no_heavy_library():
    code = (
        "import sys, kvae.datasets\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_digits_are_scikit_learns_rescaled():
    from sklearn.datasets import load_digits

    parts = [datasets.load("digits", split) for split in datasets.SPLITS]
    assert [len(part) for part in parts] == [1437, 160, 200]
    original = load_digits()
    x = np.concatenate([part.x for part in parts])[..., 0]
    labels = np.concatenate([part.labels for part in parts])
    assert x.dtype == np.uint8 and x.shape == (1797, 8, 8)
    # Every (image, label) pair of the original exactly once, whatever the order.
    pairs = {(row.tobytes(), int(label)) for row, label in zip(x, labels, strict=True)}
    scaled = np.round(original.data * 255 / 16).astype(np.uint8)
    assert pairs == {
        (row.tobytes(), int(label)) for row, label in zip(scaled, original.target, strict=True)
    }
    assert datasets.load("digits").examples.max() == 1.0


def test_digits_split_never_changes():
    """Published figures rest on these bytes."""
    content = all_rows("digits").tobytes()
    assert hashlib.sha256(content).hexdigest() == (
        "3dc4ae8095c90a0ecabb98ca0d154b1f2c37245d07ffb50a886178083dda76df"
    )
    assert datasets.load("digits", "test").labels[:6].tolist() == [3, 3, 2, 9, 9, 1]


def test_digits_splits_are_disjoint():
    assert len(np.unique(all_rows("digits"), axis=0)) == 1797


@needs_mnist
def test_mnist_known_values():
    train, validation, test = (datasets.load("mnist", split) for split in datasets.SPLITS)
    assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10_000)
    assert train.x.shape == (55_000, 28, 28, 1) and train.x.dtype == np.uint8
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # Class counts of the official 60,000 and 10,000.
    official = np.bincount(np.concatenate([train.labels, validation.labels]))
    assert official.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # The well-known normalisation constants, of the 60,000 official training images.
    values = np.concatenate([train.x, validation.x]) / np.float32(255)
    assert values.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert values.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


@needs_mnist
def test_mnist_validation_is_the_end_of_the_training_file():
    raw = gzip.decompress(pathlib.Path(DATA_DIR, "mnist/train-images-idx3-ubyte.gz").read_bytes())
    tail = np.frombuffer(raw, np.uint8)[-5_000 * 784 :]
    np.testing.assert_array_equal(datasets.load("mnist", "validation").x.ravel(), tail)


@needs_frey
def test_frey_faces():
    parts = [datasets.load("frey_faces", split) for split in datasets.SPLITS]
    assert [len(part) for part in parts] == [1565, 200, 200]
    assert parts[0].event_shape == (28, 20, 1) and parts[0].labels is None
    rows = all_rows("frey_faces")
    with np.load(pathlib.Path(DATA_DIR, "frey_faces.npz")) as file:
        original = file["images"].reshape(1965, -1)
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in original}
    assert len(np.unique(rows, axis=0)) == 1965
    # Mixed: the test faces come from the whole length of the video.
    place = {row.tobytes(): i for i, row in enumerate(original)}
    test = [place[row.tobytes()] for row in rows[-200:]]
    assert min(test) < 100 and max(test) > 1865


def test_cache_cannot_be_corrupted():
    first = datasets.load("digits")
    assert np.shares_memory(first.x, datasets.load("digits").x)
    for array in (first.x, first.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_info_agrees_with_what_is_loaded():
    made = {"digits", "sprites", "sprite_factors", "breast_cancer", "grammar", "wine"} | {
        "signals",
        "cut_signals",
    }
    assert set(datasets.names()) == made | {
        "mnist",
        "fashion_mnist",
        "cifar10",
        "frey_faces",
        "binarized_mnist",
    }
    facts = datasets.info("digits")
    for split, n in facts.splits.items():
        data = datasets.load("digits", split)
        assert (len(data), data.event_shape) == (n, facts.event_shape)
        assert set(data.labels.tolist()) == set(range(facts.classes))
    for name in datasets.names():
        facts = datasets.info(name)
        assert facts.name == name and facts.source.startswith(("http", "kvae."))
        assert bool(facts.files) == (name not in made)


def test_unknown_names():
    with pytest.raises(ValueError, match="Unknown dataset 'mnits'. Did you mean 'mnist'"):
        datasets.load("mnits")
    with pytest.raises(ValueError, match="Unknown dataset 'cifar_10'. Did you mean 'cifar10'"):
        datasets.info("cifar_10")
    with pytest.raises(ValueError, match="Unknown split 'valid'. Did you mean 'validation'"):
        datasets.load("digits", "valid")
    with pytest.raises(ValueError, match="'statc'.*'static'"):
        datasets.load("digits", binarize="statc")


# Binarization


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_fixed_draw_is_repeatable_and_has_the_right_mean(binarize):
    data = datasets.load("digits", "train", binarize=binarize, seed=3)
    images = data.examples
    assert set(np.unique(images)) == {0.0, 1.0}
    again = datasets.load("digits", "train", binarize=binarize, seed=3).examples
    np.testing.assert_array_equal(images, again)
    assert np.any(images != datasets.load("digits", "train", binarize=binarize, seed=4).examples)
    # The mean of n independent Bernoulli draws is within 6 of its own standard deviations.
    p = data.x / 255.0
    deviation = np.sqrt((p * (1 - p)).sum(axis=0)) / len(p)
    assert np.all(np.abs(images.mean(axis=0) - p.mean(axis=0)) <= 6 * deviation + 1e-7)
    # And the draws follow each pixel, not only the mean image: extremes never change.
    assert np.all(images[p == 0] == 0) and np.all(images[p == 1] == 1)


def test_static_repeats_over_epochs_and_dynamic_does_not():
    def epochs(binarize):
        data = datasets.load("digits", "test", binarize=binarize)
        batches = [data.batches(100, shuffle=True, first_epoch=epoch) for epoch in (0, 1)]
        return [np.concatenate([batch.numpy() for batch in epoch]) for epoch in batches]

    def multiset(rows):
        return sorted(row.tobytes() for row in rows)

    first, second = epochs("static")
    assert multiset(first) == multiset(second)
    first, second = epochs("dynamic")
    assert multiset(first) != multiset(second)
