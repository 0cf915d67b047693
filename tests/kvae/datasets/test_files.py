"""Files of data sets: IDX strictly read, local folders, downloads with clear errors."""

import dataclasses
import gzip
import pathlib
import socket
import struct

import numpy as np
import pytest

from kvae import datasets
from kvae.datasets import files, registry


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    """Writes the IDX format from its description, independently of the reader."""
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_gz(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content))
    return path


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
        facts = dataclasses.replace(datasets.info(name), train=6, validation=2, test=3)
        monkeypatch.setattr(registry._DATASETS[name], "facts", facts)
        generator = np.random.default_rng(7)
        shape = facts.event_shape if facts.event_shape[-1] == 3 else facts.event_shape[:-1]
        return (
            generator.integers(0, 256, (8, *shape), np.uint8),
            np.arange(8, dtype=np.uint8),
            generator.integers(0, 256, (3, *shape), np.uint8),
            np.array([9, 0, 9], np.uint8),
        )

    return shrink


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
        np.testing.assert_array_equal(data.x, images.reshape(-1, *facts.event_shape))
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
    with pytest.raises(ValueError, match="should hold 1965 examples, but 3"):
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
    assert timeouts == [files._DOWNLOAD_TIMEOUT] and socket.getdefaulttimeout() is None
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
