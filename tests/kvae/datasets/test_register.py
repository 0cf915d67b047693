"""kvae.datasets.register: a dataset is one file, here or outside of the package."""

import json

import numpy as np
import pytest

from kvae import datasets
from kvae.cli import main
from kvae.datasets import registry

FILE = '''
import numpy as np
import kvae


@kvae.datasets.register(
    "dots", event_shape=(4, 4, 1), train=24, validation=8, test=8, classes=2, title="grey dots"
)
def read_dots(info, folder):
    """A bright pixel in the first row, or in the last."""
    splits = {}
    for split, n in info.splits.items():
        labels = np.arange(n) % 2
        images = np.zeros((n, 4, 4), np.uint8)
        images[np.arange(n), -labels, np.arange(n) % 4] = 255
        splits[split] = images, labels
    return splits
'''


@pytest.fixture
def forgotten():
    """Leaves the register as it was."""
    before = dict(registry._DATASETS._things)
    yield
    registry._DATASETS._things.clear()
    registry._DATASETS._things.update(before)


@pytest.fixture
def plugin(tmp_path, monkeypatch, forgotten):
    (tmp_path / "dots_of_mine.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KVAE_PLUGINS", "dots_of_mine")


def test_a_file_outside_of_the_package_adds_a_dataset(plugin):
    assert "dots" in datasets.names()
    assert datasets.info("dots").title == "grey dots"
    train = datasets.load("dots", "train", binarize="static")
    assert (len(train), train.event_shape) == (24, (4, 4, 1))
    assert train.labels.tolist() == [0, 1] * 12
    np.testing.assert_array_equal(train.examples.sum(axis=(1, 2, 3)), 1)


@pytest.mark.slow  # A training.
def test_a_model_trains_on_it(plugin, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", "dense_vae", "--dataset", "dots", "--latent-dim", "2", "--epochs", "1"]
    assert main([*command, "--samples", "2", "--output", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "dense_vae.dots"
    assert (run / "model.keras").is_file()


def test_a_cell_that_is_run_again_replaces_its_dataset_and_another_one_does_not(forgotten):
    def define(value):
        @datasets.register("cell", event_shape=(2,), train=3, validation=1, test=1, dtype="float32")
        def read(info, folder):
            return {s: (np.full((n, 2), value, "f4"), None) for s, n in info.splits.items()}

        return read

    define(1.0)
    assert datasets.load("cell").x.max() == 1.0
    define(2.0)
    assert datasets.load("cell").x.max() == 2.0
    with pytest.raises(ValueError, match="There is a dataset 'digits' already"):
        datasets.register("digits", event_shape=(2,), train=3, validation=1, test=1)(define)


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (np.zeros((3, 5), "f4"), None, r"the shape \(3, 2\), but its reader gives \(3, 5\)"),
        (np.zeros((3, 2), "f8"), None, "should be float32, but its reader gives float64"),
        (np.zeros((3, 2), "f4"), np.array([0, 1, 2]), "labels of wrong should be 0 to 1"),
        (np.zeros((3, 2), "f4"), np.zeros(2, int), "3 whole-number labels, but its reader gives"),
    ],
)
def test_a_reader_is_held_to_its_facts(forgotten, x, labels, message):
    facts = dict(event_shape=(2,), train=3, validation=3, test=3, classes=2, dtype="float32")
    datasets.register("wrong", **facts)(
        lambda info, folder: dict.fromkeys(info.splits, (x, labels))
    )
    with pytest.raises(ValueError, match=message):
        datasets.load("wrong")
