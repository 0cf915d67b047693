"""kvae.datasets: known values, fixed splits, strict files, binarization, clear errors."""

import dataclasses
import gzip
import hashlib
import os
import pathlib
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest

from kvae import datasets
from kvae.datasets import arrays, registry, sources

DATA_DIR = os.environ.get("KVAE_DATA_DIR", "")
needs_mnist = pytest.mark.skipif(
    not pathlib.Path(DATA_DIR, "mnist").is_dir() or not DATA_DIR,
    reason="no mnist/ in KVAE_DATA_DIR",
)
needs_frey = pytest.mark.skipif(
    not pathlib.Path(DATA_DIR, "frey_faces.npz").is_file() or not DATA_DIR,
    reason="no frey_faces.npz in KVAE_DATA_DIR",
)


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    """Writes the IDX format from its description, independently of the reader."""
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_gz(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content))
    return path


def all_rows(name: str) -> np.ndarray:
    parts = [datasets.load(name, split).x for split in datasets.SPLITS]
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty KVAE_DATA_DIR, and a cache that forgets what the test loads."""
    monkeypatch.setenv("KVAE_DATA_DIR", str(tmp_path))
    yield tmp_path
    registry._arrays.cache_clear()


@pytest.fixture
def small(monkeypatch):
    """Shrinks a named dataset to 6 + 2 training images and 3 test images."""

    def shrink(name):
        entry = registry._BY_NAME[name]
        facts = dataclasses.replace(entry.info, train=6, validation=2, test=3)
        monkeypatch.setitem(registry._BY_NAME, name, dataclasses.replace(entry, info=facts))
        generator = np.random.default_rng(7)
        shape = facts.shape if facts.shape[-1] == 3 else facts.shape[:-1]
        return (
            generator.integers(0, 256, (8, *shape), np.uint8),
            np.arange(8, dtype=np.uint8),
            generator.integers(0, 256, (3, *shape), np.uint8),
            np.array([9, 0, 9], np.uint8),
        )

    return shrink


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
    assert datasets.load("digits").images.max() == 1.0


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
    made = {"digits", "sprites", "breast_cancer", "signals"}
    assert set(datasets.names()) == made | {"mnist", "fashion_mnist", "cifar10", "frey_faces"}
    facts = datasets.info("digits")
    for split, n in facts.splits.items():
        data = datasets.load("digits", split)
        assert (len(data), data.event_shape) == (n, facts.shape)
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
    images = data.images
    assert set(np.unique(images)) == {0.0, 1.0}
    again = datasets.load("digits", "train", binarize=binarize, seed=3).images
    np.testing.assert_array_equal(images, again)
    assert np.any(images != datasets.load("digits", "train", binarize=binarize, seed=4).images)
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


# IDX files


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_idx_round_trip(tmp_path, code, dtype):
    array = np.random.default_rng(0).normal(scale=40, size=(5, 3, 2)).astype(dtype)
    path = write_gz(tmp_path / "a.gz", idx_bytes(array, code))
    for shape in (None, (5, 3, 2), (None, 3, 2)):
        read = datasets.read_idx(path, shape, dtype)
        assert read.dtype == np.dtype(dtype) and read.flags.writeable
        np.testing.assert_array_equal(read, array)


def flip(content: bytes, index: int, bit: int) -> bytes:
    return content[:index] + bytes([content[index] ^ (1 << bit)]) + content[index + 1 :]


GOOD = idx_bytes(np.arange(60, dtype=np.uint8).reshape(5, 3, 4))


@pytest.mark.parametrize("bit", range(32))
def test_idx_any_flipped_bit_of_the_magic_is_seen(tmp_path, bit):
    path = write_gz(tmp_path / "a-idx3.gz", flip(GOOD, bit // 8, bit % 8))
    with pytest.raises(ValueError, match=r"a-idx3\.gz .*fetch the original file again"):
        datasets.read_idx(path, dtype="uint8")


@pytest.mark.parametrize("bit", range(96))
def test_idx_any_flipped_bit_of_the_dimensions_is_seen(tmp_path, bit):
    """Among them sizes of many terabytes, which must not be reserved."""
    path = write_gz(tmp_path / "a-idx3.gz", flip(GOOD, 4 + bit // 8, bit % 8))
    with pytest.raises(ValueError, match=r"a-idx3\.gz should hold \d+ bytes"):
        datasets.read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (GOOD[:3], "is not an IDX file"),
        (GOOD[:10], "truncated in the header"),
        (GOOD[:-1], "should hold 60 bytes of data by its header, but holds 59"),
        (GOOD + b"\0", "should hold 60 bytes of data by its header, but holds more"),
    ],
)
def test_idx_wrong_length(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        datasets.read_idx(write_gz(tmp_path / "a.gz", content))


def test_idx_truncated_or_corrupt_gzip(tmp_path):
    content = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)))
    path = tmp_path / "a.gz"
    for end in (0, 5, 12, 200, len(content) // 2, len(content) - 6, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"a\.gz "):
            datasets.read_idx(path)
    # A flipped bit in the data changes the checksum, whatever else it does.
    for index in range(40, len(content), 500):
        path.write_bytes(flip(content, index, 3))
        with pytest.raises(ValueError, match=r"a\.gz "):
            datasets.read_idx(path)
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match="no gzip file"):
        datasets.read_idx(path)


def test_idx_other_shape_or_absent(tmp_path):
    path = write_gz(tmp_path / "a.gz", GOOD)
    with pytest.raises(ValueError, match="an array of 5 x 3 x 4, where any x 28 x 28 was expected"):
        datasets.read_idx(path, (None, 28, 28))
    with pytest.raises(ValueError, match="5 x 3 x 4, where 5 was"):
        datasets.read_idx(path, (5,))
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "b.gz")


# Local files and downloads


def write_idx_files(folder, content):
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for part, array in zip(parts, content, strict=True):
        write_gz(folder / f"{part}-ubyte.gz", idx_bytes(array))


def assert_held_out(name, content):
    x, labels, test_x, test_labels = content
    facts = datasets.info(name)
    expected = {
        "train": (x[:6], labels[:6]),
        "validation": (x[6:], labels[6:]),
        "test": (test_x, test_labels),
    }
    for split, (images, numbers) in expected.items():
        data = datasets.load(name, split)
        np.testing.assert_array_equal(data.x, images.reshape(-1, *facts.shape))
        np.testing.assert_array_equal(data.labels, numbers.ravel())
        for array in (data.x, data.labels):
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.setflags(write=True)


def test_local_idx_folder(data_dir, small):
    content = small("fashion_mnist")
    write_idx_files(data_dir / "fashion_mnist", content)
    assert_held_out("fashion_mnist", content)


def test_local_npz(data_dir, small):
    x, labels, test_x, test_labels = small("cifar10")
    keys = dict(x_train=x, y_train=labels[:, None], x_test=test_x, y_test=test_labels[:, None])
    np.savez(data_dir / "cifar10.npz", **keys)
    assert_held_out("cifar10", (x, labels, test_x, test_labels))


def test_changing_the_data_dir_changes_the_data(data_dir, small, monkeypatch):
    x, labels, test_x, test_labels = small("mnist")
    for folder, images in (("a", x), ("b", 255 - x)):
        write_idx_files(data_dir / folder / "mnist", (images, labels, test_x, test_labels))
        monkeypatch.setenv("KVAE_DATA_DIR", str(data_dir / folder))
        np.testing.assert_array_equal(datasets.load("mnist").x[..., 0], images[:6])


def test_half_copied_folder_is_not_downloaded(data_dir, small):
    write_idx_files(data_dir / "mnist", small("mnist"))
    (data_dir / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match="incomplete in .*missing t10k-labels-idx1-ubyte.gz"
    ):
        datasets.load("mnist")


def test_files_of_another_dataset(data_dir, small):
    x, labels, test_x, test_labels = small("mnist")
    write_idx_files(data_dir / "mnist", (x[:, :14], labels, test_x, test_labels))
    with pytest.raises(ValueError, match="train-images.*8 x 14 x 28, where 8 x 28 x 28"):
        datasets.load("mnist")
    write_idx_files(data_dir / "mnist", (x, labels + 3, test_x, test_labels))
    with pytest.raises(ValueError, match="labels of mnist should be 0 to 9"):
        datasets.load("mnist")


def test_bad_npz(data_dir, small):
    path = data_dir / "frey_faces.npz"
    np.savez(path, faces=np.zeros((3, 28, 20), np.uint8))
    with pytest.raises(ValueError, match=r"frey_faces\.npz .*no array 'images', only \['faces'\]"):
        datasets.load("frey_faces")
    np.savez(path, images=np.zeros((3, 28, 20), np.uint8))
    with pytest.raises(ValueError, match="should hold 1965 images, but 3"):
        datasets.load("frey_faces")
    np.savez(path, images=np.zeros((1965, 20, 28), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(1565, 28, 20, 1\).*give \(1565, 20, 28\)"):
        datasets.load("frey_faces")
    np.savez(path, images=np.zeros((1965, 28, 20), np.float32))
    with pytest.raises(ValueError, match="should be uint8.*float32"):
        datasets.load("frey_faces")
    np.savez(path, images=np.array([print] * 1965, object))  # never unpickled
    with pytest.raises(ValueError, match=r"frey_faces\.npz is not the npz file"):
        datasets.load("frey_faces")
    content = path.read_bytes()
    for broken in (b"", b"not a zip", content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"frey_faces\.npz is not the npz file"):
            datasets.load("frey_faces")


def test_frey_faces_missing(data_dir):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("frey_faces")
    for part in ("no downloader", "KVAE_DATA_DIR", str(data_dir), "frey_faces.npz", "roweis"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_no_files_and_no_network(data_dir, monkeypatch, capsys, name):
    import keras

    timeouts = []

    def unreachable():
        print("Downloading data from somewhere")
        timeouts.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure\non somewhere: no route")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", unreachable)
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load(name)
    message = str(caught.value)
    for part in (
        "KVAE_DATA_DIR",
        str(data_dir),
        "URL fetch failure on",
        *datasets.info(name).files,
    ):
        assert part in message
    assert "\n" not in message
    assert timeouts == [sources._DOWNLOAD_TIMEOUT] and socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == ""
    monkeypatch.delenv("KVAE_DATA_DIR")
    with pytest.raises(FileNotFoundError, match="Set KVAE_DATA_DIR to a folder that holds"):
        datasets.load(name)
    monkeypatch.setenv("KVAE_DATA_DIR", str(data_dir / "absent"))
    with pytest.raises(FileNotFoundError, match="absent is not a folder"):
        datasets.load(name)


@pytest.mark.parametrize("channels_first", [False, True])
def test_downloaded_arrays(data_dir, small, monkeypatch, channels_first):
    import keras

    for name in ("mnist", "cifar10"):
        x, labels, test_x, test_labels = small(name)
        given, given_test = x, test_x
        if channels_first and name == "cifar10":
            given, given_test = x.transpose(0, 3, 1, 2), test_x.transpose(0, 3, 1, 2)
        loaded = (given, labels[:, None]), (given_test, test_labels[:, None])
        module = getattr(keras.datasets, name)
        monkeypatch.setattr(module, "load_data", lambda loaded=loaded: loaded)
        layout = "channels_first" if channels_first else "channels_last"
        monkeypatch.setattr(keras.config, "image_data_format", lambda layout=layout: layout)
        assert_held_out(name, (x, labels, test_x, test_labels))


# The user's own arrays


@pytest.mark.parametrize("shape", [(5, 3), (5, 12, 2), (5, 7, 9), (5, 7, 9, 3)])
def test_from_array_keeps_shape_range_and_order(shape):
    x = np.random.default_rng(0).normal(scale=100, size=shape)
    data = datasets.from_array(x, labels=[4, 3, 2, 1, 0])
    assert data.event_shape == shape[1:] and data.x.dtype == np.float32
    np.testing.assert_array_equal(data.images, x.astype(np.float32))
    assert data.labels.tolist() == [4, 3, 2, 1, 0] and data.labels.dtype == np.int64


def test_from_array_bytes_are_intensities_without_a_copy():
    x = np.array([[0, 51], [102, 255]], np.uint8)
    data = datasets.from_array(x)
    np.testing.assert_allclose(data.images, [[0, 0.2], [0.4, 1]], rtol=1e-6)
    assert np.shares_memory(data.x, x)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0] = 1
    x[0] = 1  # The caller's own array stays theirs.


@pytest.mark.parametrize("x", [np.eye(2, dtype=bool), np.eye(2, dtype=np.int64), [[1, 0], [0, 1]]])
def test_from_array_other_numbers_become_float32(x):
    data = datasets.from_array(x)
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, np.eye(2))


def test_from_array_add_channel():
    x = np.zeros((2, 5, 7), np.uint8)
    data = datasets.from_array(x, target=x + 1, add_channel=True)
    assert data.event_shape == (5, 7, 1) and data.target.shape == (2, 5, 7, 1)
    assert datasets.from_array(x).event_shape == (5, 7)
    with pytest.raises(ValueError, match=r"add_channel is for images \[n, h, w\].*\(2, 5\)"):
        datasets.from_array(x[..., 0], add_channel=True)


@pytest.mark.parametrize("block", [1, 1 << 22])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_from_array_names_the_first_value_that_is_not_finite(monkeypatch, block, bad):
    monkeypatch.setattr(arrays, "_BLOCK", block)
    x = np.zeros((4, 3, 2), np.float32)
    x[2, 1, 1] = x[2, 2, 0] = x[3, 0, 0] = bad
    with pytest.raises(ValueError, match=rf"^x\[2, 1, 1\] = {bad} is not finite"):
        datasets.from_array(x)
    with pytest.raises(ValueError, match=r"^target\[2, 1, 1\]"):
        datasets.from_array(np.zeros_like(x), target=x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 3)), "x is empty"),
        (np.zeros((3, 0)), "x is empty"),
        (np.zeros(3), r"x.reshape\(-1, 1\)"),
        (3.0, r"\[n, \*event\], not \(\)"),
        (np.array([[1, None]], object), "real numbers, not object"),
        (np.array([["a"]]), "real numbers, not <U1"),
        (np.ones((2, 2)) * 1j, "real numbers, not complex128"),
        ([[1, 2], [3]], "equally shaped examples"),
        (np.array([[0, 1e300]]), r"x\[0, 1\] = 1e\+300 is too large for float32"),
    ],
)
def test_from_array_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_array(x)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"shape \(3,\).*\(2,\)"),
        (np.zeros((3, 2), int), r"\(3, 2\)"),
        ([0.5, 1, 2], "whole numbers, not float64"),
        (["cat", "dog", "cat"], "np.unique"),
    ],
)
def test_from_array_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_array(np.zeros((3, 2)), labels)


def test_binarize_needs_intensities():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        datasets.from_array(np.array([[0.0, 1.5]]), binarize="static")


# Train and validation


def numbered(n, **options):
    x = np.linspace(0, 1, n * 6, dtype=np.float32).reshape(n, 6)
    return datasets.from_array(x, np.arange(n), name="mine", **options)


def test_split_is_a_partition_that_keeps_rows_together():
    data = numbered(100, target=np.arange(100.0)[:, None])
    train, validation = datasets.train_validation_split(data, 0.23, seed=5)
    assert (len(train), len(validation)) == (77, 23)
    assert (train.split, validation.split) == ("train", "validation")
    assert sorted([*train.labels, *validation.labels]) == list(range(100))
    for part in (train, validation):
        np.testing.assert_array_equal(part.x, data.x[part.labels])
        np.testing.assert_array_equal(part.target[:, 0], part.labels)
        assert part.name == "mine"


def test_split_depends_on_its_seed_only():
    def chosen(seed):
        return datasets.train_validation_split(numbered(50), seed=seed)[1].labels.tolist()

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_split_keeps_the_fixed_draw(binarize):
    data = numbered(50, binarize=binarize, seed=9)
    for part in datasets.train_validation_split(data, 0.5):
        assert (part.binarize, part.seed) == (binarize, 9)
        np.testing.assert_array_equal(part.images, data.images[part.labels])


def test_split_bad_arguments():
    for fraction in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            datasets.train_validation_split(numbered(10), fraction)
    for fraction in (0.01, 0.99):
        with pytest.raises(ValueError, match="leaves one side empty"):
            datasets.train_validation_split(numbered(10), fraction)
    with pytest.raises(ValueError, match="0 or more"):
        datasets.train_validation_split(numbered(10), seed=-1)


# Folders of images


def save_image(path, array, mode=None, **options):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(path, **options)


def solid(*colour, size=(4, 6)):
    return np.full((*size, len(colour)), colour, np.uint8)


def test_folder_is_sorted_recursive_and_labelled(tmp_path):
    save_image(tmp_path / "dog/b.png", solid(30, 0, 0))
    save_image(tmp_path / "dog/a/z.PNG", solid(20, 0, 0))
    save_image(tmp_path / "cat/9.png", solid(10, 0, 0))
    for ignored in ("dog/.hidden.png", ".cache/x.png"):
        save_image(tmp_path / ignored, solid(99, 0, 0))
    (tmp_path / "dog/notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    data = datasets.from_folder(tmp_path, (4, 6, 3), labels="folders")
    assert data.x.dtype == np.uint8 and data.event_shape == (4, 6, 3)
    assert data.x[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert data.labels.tolist() == [0, 1, 1] and data.name == tmp_path.name
    assert datasets.folder_classes(tmp_path) == ["cat", "dog"]
    assert datasets.from_folder(tmp_path, (4, 6, 3)).labels is None
    save_image(tmp_path / "loose.png", solid(1, 2, 3))
    with pytest.raises(ValueError, match=r"loose\.png is in no subfolder"):
        datasets.from_folder(tmp_path, (4, 6, 3), labels="folders")


def test_folder_lossless_pixels_and_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    save_image(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(datasets.from_folder(tmp_path, (5, 7, 3)).x[0], pixels)
    # ITU-R 601 luma.
    grey = datasets.from_folder(tmp_path, (5, 7, 1)).x[0, ..., 0]
    np.testing.assert_allclose(grey, pixels @ [0.299, 0.587, 0.114], atol=1)
    assert np.all(datasets.from_folder(tmp_path, (5, 7, 4)).x[..., 3] == 255)


def test_folder_resizes_or_crops(tmp_path):
    # Red | green | green | blue in 4 x 8: the crop to a square keeps the middle.
    stripes = np.repeat(np.array([[[255, 0, 0], [0, 255, 0], [0, 255, 0], [0, 0, 255]]]), 2, 1)
    save_image(tmp_path / "a.png", np.repeat(stripes, 4, 0).astype(np.uint8))
    cropped = datasets.from_folder(tmp_path, (4, 4, 3), fit="crop").x[0]
    np.testing.assert_array_equal(cropped, solid(0, 255, 0, size=(4, 4)))
    stretched = datasets.from_folder(tmp_path, (4, 4, 3)).x[0]
    assert stretched[0, 0, 0] > 150 and stretched[0, 3, 2] > 150


def test_folder_jpeg(tmp_path):
    save_image(tmp_path / "a.jpeg", solid(200, 100, 50, size=(16, 16)), quality=95)
    x = datasets.from_folder(tmp_path, (8, 8, 3)).x[0].astype(int)
    assert np.abs(x - [200, 100, 50]).max() <= 4


def test_folder_unusual_images(tmp_path):
    from PIL import Image

    ramp = np.array([[0, 256, 32768, 65535]], np.uint16)
    save_image(tmp_path / "16bit/a.png", ramp)
    x = datasets.from_folder(tmp_path / "16bit", (1, 4, 1)).x
    np.testing.assert_array_equal(x.ravel(), [0, 1, 128, 255])
    # Transparent: white shows through, not the colour hidden below.
    save_image(tmp_path / "alpha/a.png", solid(200, 0, 0, 0))
    assert np.all(datasets.from_folder(tmp_path / "alpha", (4, 6, 3)).x == 255)
    # Stored on its side, with a tag that says so.
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.array([[10, 20], [30, 40], [50, 60]], np.uint8)
    save_image(tmp_path / "exif/a.png", np.rot90(upright), exif=exif)
    x = datasets.from_folder(tmp_path / "exif", (3, 2, 1)).x[0, ..., 0]
    np.testing.assert_array_equal(x, upright)


def test_folder_unreadable_file_is_named(tmp_path):
    for i in range(3):
        save_image(
            tmp_path / f"{i}.png", np.random.default_rng(i).integers(0, 256, (32, 32, 3), "u1")
        )
    content = (tmp_path / "1.png").read_bytes()
    for broken in (b"", b"GIF89a not allowed", content[:60], content[: len(content) // 2]):
        (tmp_path / "1.png").write_bytes(broken)
        with pytest.raises(ValueError, match=r"1\.png cannot be read as a PNG or JPEG image"):
            datasets.from_folder(tmp_path, (8, 8, 3))


def test_folder_bad_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*absent"):
        datasets.from_folder(tmp_path / "absent", (8, 8, 3))
    with pytest.raises(ValueError, match="holds no image"):
        datasets.from_folder(tmp_path, (8, 8, 3))
    for shape in ((8, 8), (8, 8, 2), (0, 8, 3), (8.0, 8, 3)):
        with pytest.raises(ValueError, match="image_shape must be"):
            datasets.from_folder(tmp_path, shape)
    with pytest.raises(ValueError, match="Unknown labels 'folder'. Did you mean 'folders'"):
        datasets.from_folder(tmp_path, (8, 8, 3), labels="folder")
    with pytest.raises(ValueError, match="Unknown fit"):
        datasets.from_folder(tmp_path, (8, 8, 3), fit="squash")
