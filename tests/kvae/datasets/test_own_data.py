"""The user's own data: arrays, their split, folders of images."""

import numpy as np
import pytest

from kvae import datasets
from kvae.datasets import arrays

# The user's own arrays


@pytest.mark.parametrize("shape", [(5, 3), (5, 12, 2), (5, 7, 9), (5, 7, 9, 3)])
def test_from_array_keeps_shape_range_and_order(shape):
    x = np.random.default_rng(0).normal(scale=100, size=shape)
    data = datasets.from_array(x, labels=[4, 3, 2, 1, 0])
    assert data.event_shape == shape[1:] and data.x.dtype == np.float32
    np.testing.assert_array_equal(data.examples, x.astype(np.float32))
    assert data.labels.tolist() == [4, 3, 2, 1, 0] and data.labels.dtype == np.int64


def test_from_array_bytes_are_intensities_without_a_copy():
    x = np.array([[0, 51], [102, 255]], np.uint8)
    data = datasets.from_array(x)
    np.testing.assert_allclose(data.examples, [[0, 0.2], [0.4, 1]], rtol=1e-6)
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
        np.testing.assert_array_equal(part.examples, data.examples[part.labels])


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
