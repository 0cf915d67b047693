"""Files that were cut off, altered or exchanged are refused, or say what they said before.

`KVAE_FUZZ=200` damages each in two hundred further places; `make stress` does.
"""

import gzip
import io as streams
import json
import os
import pathlib
import shutil
import struct
import zipfile

import keras
import numpy as np
import pytest

import export
import kvae
import zoo
from export.files import versions, warmup
from export.signatures import Call
from kvae.callbacks import Checkpoint
from kvae.datasets import files, read_idx
from kvae.evaluation.marginal_likelihood.cache import BatchCache
from kvae.utils import archives, io, seals
from zoo import weights

FURTHER = int(os.environ.get("KVAE_FUZZ", 0))


def damages(content):
    """The content cut off, with bits flipped and bytes replaced, at its ends and in between."""
    size = len(content)
    for end in sorted({0, 1, size // 2, size - 1}):
        yield f"the first {end} bytes", content[:end]
    yield "something after it", content + b"\0"
    rng = np.random.default_rng(len(content))
    places = {0, 1, 2, 4, 7, 8, 10, 14, 16, 18, 26, size // 3, size // 2, size - 2, size - 1}
    places |= {size - back for back in (4, 6, 8, 10, 12, 16, 22, 30, 40, 46)}
    places |= set(rng.integers(size, size=FURTHER).tolist())
    for place in sorted(place for place in places if 0 <= place < size):
        for mask in {1 << int(rng.integers(8)), 0xFF}:
            changed = content[place] ^ mask
            yield (
                f"byte {place} ^ {mask}",
                content[:place] + bytes([changed]) + content[place + 1 :],
            )


def check(path, read, same, mention=None):
    """`read(path)` raises a ValueError that names the file, or gives what it gave."""
    content = path.read_bytes()
    want, refused = read(path), 0
    for what, damaged in damages(content):
        path.write_bytes(damaged)
        try:
            have = read(path)
        except ValueError as error:
            refused += 1
            assert (mention or path.name) in str(error) and len(str(error)) > 20, (what, error)
        else:
            assert same(want, have), what
    path.write_bytes(content)
    assert same(want, read(path))
    assert refused >= 4
    return refused


def equal(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def everything(path, read, **options):
    """As `check`, where not one damage may pass."""
    assert check(path, read, lambda one, other: one is other or one == other, **options) >= 24


# Weights and cards.


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The weights of a model in a folder that may be damaged."""
    card = zoo.card("dense_autoencoder.digits")
    for name in (card.weights["file"], zoo.card("dense_vae.digits").weights["file"]):
        shutil.copy(weights._FOLDER / name, tmp_path)
    monkeypatch.setattr(weights, "_FOLDER", tmp_path)
    return card, tmp_path / card.weights["file"]


def test_weights_of_the_zoo(shipped):
    card, path = shipped

    def read(path):
        weights.find(card)
        return io.sha256_file(path)

    everything(path, read)
    os.replace(path.with_name(zoo.card("dense_vae.digits").weights["file"]), path)
    with pytest.raises(ValueError, match="is not the file that its card describes"):
        weights.find(card)


def test_cards(tmp_path):
    card, path = zoo.card("dense_vae.digits"), tmp_path / "dense_vae.digits.json"
    card.write(path)
    check(path, zoo.Card.read, lambda one, other: one == other)
    text = path.read_text()
    for old, new in (('"latent_dim": 16', '"latent_dim": 17'), ('"sha256": "', '"sha256": "0')):
        path.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="altered: its SHA-256 differs"):
            zoo.Card.read(path)
    path.write_text(text)
    with pytest.raises(ValueError, match="card of another model, 'dense_vae.digits'"):
        zoo.Card.read(path, "dense_vae.mnist")
    for content in ("[]", "3", "null", '{"name": 3}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="no model card"):
            zoo.Card.read(path)


# Model files and checkpoints.


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    vae = kvae.VAE(encoder, decoder, 2)
    vae.compile("sgd", run_eagerly=True)
    return vae


def test_model_files(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)

    def read(path):
        # Not one byte of a member may differ; the rest, e.g. the time, does not matter.
        archives.check_archive(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    check(path, read, lambda one, other: one == other)
    content = bytearray(path.read_bytes())
    place = content.find(np.asarray(model.get_weights()[0]).tobytes())
    assert place > 0
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum of its 'model.weights.h5' differs"):
        kvae.load_model(path)


def test_archives_stay_in_their_folder_and_nothing_is_unpickled(model, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("unpickled")

    for module in ("pickle", "_pickle"):
        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(f"{module}.{name}", never)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "model.keras"
    model.save(path)
    kvae.load_model(path)
    whole = path.read_bytes()
    for name in ("../evil", "/tmp/kvae-evil", "assets/../../evil", "..\\evil"):
        path.write_bytes(whole)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, b"evil")
        with pytest.raises(ValueError, match="has no place in it"):
            kvae.load_model(path)
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "model.keras"]
    # Functions are pickled in no file that is read: `Lambda` layers are refused.
    data = keras.Input((3,))
    encoder = keras.Model(data, keras.layers.Lambda(lambda x: x[:, :2] + 1)(data))
    unsafe = kvae.VAE(encoder, model.decoder, 2, posterior="delta", prior=None)
    unsafe.save(path)
    with pytest.raises(ValueError, match="[Ll]ambda.*(unsafe|arbitrary)"):
        kvae.load_model(path)


@pytest.fixture
def saved(model, tmp_path):
    checkpoint = Checkpoint(tmp_path / "run", "mine", every_seconds=0.0)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {"loss": 3.0, "val_loss": 2.5})
    return tmp_path / "run"


def test_checkpoints(saved, model):
    def read(_):
        checkpoint = Checkpoint(saved, "mine")
        epoch = checkpoint.restore(model)
        arrays = [np.asarray(v).tobytes() for v in (*model.variables, *model.optimizer.variables)]
        return epoch, checkpoint.history, checkpoint.best, checkpoint.best_epoch, arrays

    same = lambda one, other: one == other  # noqa: E731
    check(saved / "state.json", read, same)
    for path in sorted(saved.glob("*.weights.h5")):
        everything(path, read)
    state = saved / "state.json"
    state.write_text(state.read_text().replace('"epoch": 1', '"epoch": 7'))
    with pytest.raises(ValueError, match="state.json is damaged"):
        read(saved)


# Exports.


def test_exports_and_their_warm_up(tmp_path):
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(bytes(range(64)))
    (folder / "variables" / "variables.index").write_bytes(bytes(range(40)))
    calls = [Call("score", {"seed": np.arange(3), "image": np.ones((3, 2), np.float32)})]
    calls.append(Call("png", {"image_bytes": np.array([b"one", b"another"])}))
    file = warmup.write(folder, "x", calls)

    def requests(_):
        return [
            (call.signature, *map(np.ndarray.tobytes, call.inputs.values()))
            for call in warmup.read(folder)
        ]

    # Each record has a checksum. Fewer of them are as good: an operator may replace them.
    check(file, requests, lambda one, other: one[: len(other)] == other)
    facts = folder / versions.METADATA
    facts.write_text(seals.sealed({"files": versions.checksums(folder)}))

    def read(_):
        versions.check(folder)
        return 0

    for path in (folder / "saved_model.pb", folder / "variables" / "variables.index"):
        everything(path, read)
    check(facts, read, lambda one, other: True)
    shutil.copy(folder / "variables" / "variables.index", folder / "saved_model.pb")
    with pytest.raises(ValueError, match="saved_model.pb was cut off or altered"):
        versions.check(folder)


@pytest.mark.slow
def test_tflite_files_are_refused_and_never_take_the_process_down(model, tmp_path):
    path = export.tflite(model, tmp_path / "model.tflite", batch_size=2)
    content = path.read_bytes()
    for what, damaged in damages(content):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="model.tflite cannot be loaded"):
            pytest.fail(f"{what}: {export.verify(path, model, batch_sizes=(2,), timeout=60)}")


# Data.


def test_images_of_the_mnist_format(tmp_path):
    path = tmp_path / "images.gz"
    values = np.random.default_rng(0).integers(256, size=(20, 7, 5), dtype=np.uint8)
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 20, 7, 5) + values.tobytes()))
    check(path, lambda path: read_idx(path, (20, 7, 5), "uint8"), np.array_equal)


def test_shards(tmp_path):
    x = np.random.default_rng(0).integers(256, size=(6, 4, 4, 1), dtype=np.uint8)
    folder = kvae.datasets.write_shards([x], tmp_path / "data", num_shards=2)

    def read(_):
        return np.sort(kvae.datasets.Shards(folder).dataset().x, axis=0).tobytes()

    check(folder / "index.json", read, lambda one, other: one == other)
    everything(folder / "00000.tfrecord", read)


def npz(path, **values):
    stream = streams.BytesIO()
    np.savez_compressed(stream, **values)
    path.write_bytes(stream.getvalue())


def test_arrays_of_data(tmp_path):
    path = tmp_path / "faces.npz"
    npz(path, images=np.random.default_rng(0).integers(256, size=(30, 4, 4), dtype=np.uint8))
    check(path, lambda path: files.read_npz(path, ("images",)), equal)


def test_caches_of_estimates(tmp_path):
    path = tmp_path / "estimates.npz"
    keys = {"weights": "a", "data": "b"}
    cache = BatchCache(path, keys, ["value"])
    cache.add(value=np.arange(50.0))
    cache.write()

    def read(path):
        return BatchCache(path, keys, ["value"]).arrays()["value"]

    check(path, read, np.array_equal)


# Disks.


@pytest.fixture
def small_disk():
    """No file may be larger than 600 bytes: what a full disk does to those who write."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def writers(model, folder):
    yield folder / "card.json", lambda path: zoo.card("dense_vae.digits").write(path)

    def estimates(path):
        path.unlink(missing_ok=True) if path.read_bytes() != b"old" else None
        cache = BatchCache(None, {}, ["value"])
        cache.path = path
        cache.add(value=np.random.default_rng(0).random(500))
        cache.write()

    yield folder / "estimates.npz", estimates

    def checkpoint(path):
        saving = Checkpoint(path.parent, "mine", every_seconds=0.0)
        saving.set_model(model)
        saving.on_epoch_end(0, {"loss": 3.0, "val_loss": 2.5})

    yield folder / "state.json", checkpoint
    yield folder / "model.tflite", lambda path: export.tflite(model, path)


def test_a_full_disk_leaves_the_old_file(model, tmp_path, small_disk):
    for path, write in writers(model, tmp_path):
        path.write_bytes(b"old")
        if path.suffix == ".tflite":
            continue  # Its converter writes elsewhere: see test_repository for exports.
        with pytest.raises((OSError, RuntimeError)):
            write(path)
        assert path.read_bytes() == b"old"
        assert {p.name for p in tmp_path.iterdir()} <= {"card.json", "estimates.npz", "state.json"}


def test_a_read_only_disk_is_named():
    folder = pathlib.Path("/proc/self/kvae")  # Read-only for root as well.
    if not folder.parent.is_dir():
        pytest.skip("There is no /proc.")
    for write in (
        zoo.card("dense_vae.digits").write,
        lambda path: io.atomic_write(path).__enter__(),
    ):
        with pytest.raises(PermissionError, match="Cannot create the folder /proc"):
            write(folder / "file.json")


def test_what_is_sealed():
    content = {"a": (1, 2.5, None), 3: {"b": float("inf")}}
    text = seals.sealed(content)
    assert seals.unsealed(text) == json.loads(json.dumps(content))
    assert seals.unsealed('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="no JSON object"):
        seals.unsealed("[]")
