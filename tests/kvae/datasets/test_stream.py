"""Data larger than memory: shards and image folders give what the same data in memory gives."""

import json
import math
import os
import pathlib
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

import kvae
from kvae.datasets import (
    SPLITS,
    Dataset,
    ImageFolder,
    Shards,
    from_path,
    image_folder,
    write_shards,
)

EVENT = (8, 8, 1)


def examples(n, seed=0):
    """Bytes in which no two examples are equal."""
    x = np.random.default_rng(seed).integers(0, 256, (n, *EVENT), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    return x


def number(batch):
    """Which examples a batch of floats holds."""
    x = np.round(np.asarray(batch)[:, 0, :2, 0] * 255).astype(int)
    return list(x[:, 0] + 256 * x[:, 1])


def epochs(data, batch_size, count=1, **options):
    steps = data.steps(batch_size, options.get("part", (0, 1))[1])
    batches = iter(data.batches(batch_size, repeat=True, **options))
    return [[next(batches) for _ in range(steps)] for _ in range(count)]


def numbers(epoch):
    return [row for batch in epoch for row in number(batch)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """70 labelled examples in 5 files."""
    folder = tmp_path_factory.mktemp("shards") / "data"
    return write_shards(Dataset(examples(70), np.arange(70) % 7), folder, num_shards=5)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """30 images in two folders, whose labels are those of the folders."""
    root = tmp_path_factory.mktemp("images") / "photos"
    for index, x in enumerate(examples(30)):
        folder = root / ("ab"[index % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[..., 0]).save(folder / f"{index:02d}.png")
    return root


def test_shards_hold_what_was_written(shards):
    data = Shards(shards)
    assert (len(data), data.event_shape, data.has_labels) == (70, EVENT, True)
    memory = data.dataset()
    order = np.argsort([row[0, 0, 0] for row in memory.x])
    np.testing.assert_array_equal(memory.x[order], examples(70))
    np.testing.assert_array_equal(memory.labels[order], np.arange(70) % 7)
    assert len(data.dataset(13)) == 13
    # Floats keep their values, and a stream can be written again.
    table = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    write_shards(iter([table[:4], table[4:]]), shards.parent / "table", num_shards=1)
    again = write_shards(Shards(shards.parent / "table"), shards.parent / "again", num_shards=2)
    np.testing.assert_array_equal(np.sort(Shards(again).dataset().x, 0), np.sort(table, 0))


@pytest.mark.default("shards")
@pytest.mark.parametrize("kind", ["shards", "images"])
def test_an_epoch_is_every_example_once_in_an_order_of_its_own(shards, images, kind):
    data = Shards(shards, window=16) if kind == "shards" else ImageFolder(images, EVENT)
    first, second = (numbers(epoch) for epoch in epochs(data, 16, 2, shuffle=True))
    assert sorted(first) == sorted(second) == list(range(len(data)))
    assert first != second
    # A resumed training sees the second epoch as it was; another seed is another order.
    (resumed,) = epochs(data, 16, shuffle=True, first_epoch=1)
    assert numbers(resumed) == second
    data.seed = 1
    assert numbers(epochs(data, 16, shuffle=True)[0]) != first


@pytest.mark.default("shards")
@pytest.mark.parametrize("kind", ["shards", "images"])
def test_workers_share_an_epoch(shards, images, kind):
    data = Shards(shards) if kind == "shards" else ImageFolder(images, EVENT)
    parts = [epochs(data, 16, shuffle=True, part=(i, 2))[0] for i in range(2)]
    assert len(parts[0]) == len(parts[1])  # The same number of steps, also where one has less.
    assert all(len(batch) <= 8 for part in parts for batch in part)
    assert sorted(numbers(parts[0]) + numbers(parts[1])) == list(range(len(data)))
    if kind == "images":  # Each step the examples of the whole step of one process.
        whole = epochs(data, 16, shuffle=True)[0]
        for step, a, b in zip(whole, *parts, strict=True):
            assert number(step) == number(a) + number(b)


def test_an_image_folder_gives_the_pixels_of_from_folder(images):
    memory = kvae.datasets.from_folder(images, (6, 7, 3), labels="folders", fit="crop")
    data = ImageFolder(images, (6, 7, 3), labels="folders", fit="crop")
    for (x, label), row in zip(data._stored(1), range(len(memory)), strict=True):
        np.testing.assert_array_equal(x[0], memory.x[row])
        assert label[0] == memory.labels[row]


def test_an_image_folder_reads_again_only_what_it_does_not_keep(images, monkeypatch):
    files, read = [], image_folder.read_images

    def spy(some, *options):
        files.extend(some)
        return read(some, *options)

    monkeypatch.setattr(image_folder, "read_images", spy)
    monkeypatch.setattr(image_folder, "MEMORY", 10 * math.prod(EVENT) + 1)
    data = ImageFolder(images, EVENT)
    first, again = data[:].x, data[:].x
    np.testing.assert_array_equal(first, again)
    assert sorted(files) == sorted(data.files + data.files[10:])
    np.testing.assert_array_equal(data.take([3, 12, 4]).x, first[[3, 12, 4]])


def test_fit_takes_a_stream(shards, make_vae):
    data = Shards(shards, binarize="dynamic")
    vae = make_vae(num_classes=7, prior="class_conditional", optimizer="adam", eager=True)
    history = vae.fit(data, validation_data=data, batch_size=64, epochs=1, verbose=0).history
    assert int(vae.optimizer.iterations) == 2 and np.isfinite(history["val_loss"]).all()
    assert vae.evaluate(data, batch_size=128, return_dict=True, verbose=0)["loss"] == (
        pytest.approx(history["val_loss"][-1])
    )
    for (batch, label), *_ in data.batches(32, labels=True):
        assert set(np.unique(batch)) == {0.0, 1.0} and label.dtype == "int32"
    with pytest.raises(ValueError, match="has no target but itself"):
        vae.fit(data, examples(70))


def test_splits_of_shards(shards, tmp_path):
    parts = [from_path(shards, split) for split in SPLITS]
    assert [len(part) for part in parts] == [42, 14, 14]
    for split, n in (("train", 4), ("test", 2)):
        write_shards(Dataset(examples(n)), tmp_path / "own" / split, num_shards=2)
    parts = [from_path(tmp_path / "own", split) for split in SPLITS]
    assert [len(part) for part in parts] == [2, 2, 2]  # Validation is held out of the training.
    with pytest.raises(ValueError, match="Unknown split 'tests'"):
        from_path(shards, "tests")


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "swap", "index"])
def test_altered_files_are_refused(tmp_path, damage):
    folder = write_shards(Dataset(examples(8)), tmp_path / "data", num_shards=2)
    file, other = folder / "00000.tfrecord", folder / "00001.tfrecord"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[:-1])
    elif damage == "flip":
        place = zlib.crc32(b"any place") % len(content)
        flipped = bytes([content[place] ^ 1])
        file.write_bytes(content[:place] + flipped + content[place + 1 :])
    elif damage == "delete":
        file.unlink()
    elif damage == "swap":
        file.write_bytes(other.read_bytes())
    else:
        index = json.loads((folder / "index.json").read_text())
        del index["shards"][1]["sha256"]
        (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="damaged" if damage == "index" else "altered. Write"):
        Shards(folder)
    if damage == "flip":  # Unverified, the record's own checksum finds it.
        with pytest.raises(Exception, match="(?i)corrupted|checksum|crc"):
            Shards(folder, verify=False).dataset()


def test_the_index_is_sealed_and_one_of_an_earlier_version_is_read(tmp_path):
    folder = write_shards(Dataset(examples(8)), tmp_path / "data", num_shards=4)
    path = folder / "index.json"
    text = path.read_text()
    # What would be read as other data, and notice nothing.
    for old, new in (('"uint8"', '"int8"'), ('"labels": false', '"labels": true'), ("8,", "4,")):
        path.write_text(text.replace(old, new, 1))
        for read in (Shards, from_path):
            with pytest.raises(ValueError, match="index.json is damaged .*SHA-256 differs"):
                read(folder)
    index = json.loads(text)
    assert index.pop("sha256")
    path.write_text(json.dumps(index))
    assert len(Shards(folder)) == 8 and len(from_path(folder)) == 4
    del index["shards"][1]["sha256"]
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="damaged"):
        Shards(folder)


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        for blocks in ([examples(40)], [examples(40)] * 200):  # In the end, and in between.
            with pytest.raises(OSError, match="is full .*, and .*data was not written. Free some"):
                write_shards(iter(blocks), tmp_path / "data", num_shards=2)
            assert list(tmp_path.iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_names_that_are_no_text(tmp_path, images):
    strange = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    folder = write_shards(Dataset(examples(8)), strange / "data", num_shards=2)
    assert sorted(numbers(Shards(folder).batches(4))) == list(range(8))
    shutil.copytree(images, strange / "photos")
    for index, path in enumerate(sorted((strange / "photos").rglob("*.png"))):
        path.rename(path.with_name(os.fsdecode(b"%02d\xe9.png" % index)))
    data = ImageFolder(strange / "photos", EVENT, labels="folders")
    assert sorted(numbers(data.batches(8))) == list(range(30))
    memory = kvae.datasets.from_folder(strange / "photos", EVENT)
    assert sorted(number(memory.examples)) == list(range(30))
    with pytest.raises(FileNotFoundError, match="There is no .*caf"):
        Shards(strange / "none")


def test_what_does_not_go_together(tmp_path, shards):
    with pytest.raises(FileExistsError):
        write_shards(Dataset(examples(2)), shards)
    with pytest.raises(ValueError, match="3 examples do not fill 4 files"):
        write_shards(Dataset(examples(3)), tmp_path / "few", num_shards=4)
    with pytest.raises(ValueError, match="All examples are alike"):
        write_shards([examples(2), examples(2) / 255], tmp_path / "mixed", num_shards=1)
    assert list(pathlib.Path(tmp_path).iterdir()) == []  # Nothing is left of what failed.
    with pytest.raises(ValueError, match="6 workers need at least as many files"):
        Shards(shards).batches(12, part=(0, 6))
    with pytest.raises(ValueError, match="Unknown binarization of a stream 'static'"):
        Shards(shards, binarize="static")
    with pytest.raises(FileNotFoundError, match="index.json"):
        Shards(tmp_path)
