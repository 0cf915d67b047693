"""Model files that were made to do harm: refused in one line, before they cost anything."""

import itertools
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

import kvae
from kvae.flows.masked_network import MaskedNetwork
from kvae.utils import archives, configs


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The members of a model's file."""
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    path = tmp_path_factory.mktemp("whole") / "model.keras"
    kvae.VAE(encoder, decoder, 2).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def write(whole, tmp_path):
    """Writes a `.keras` file: the model's members, some of them replaced, and more."""

    def write(packed=zipfile.ZIP_STORED, more=(), **replaced):
        path = tmp_path / "model.keras"
        members = {**whole, **{key.replace("__", "."): value for key, value in replaced.items()}}
        with zipfile.ZipFile(path, "w", packed, compresslevel=1) as archive:
            for name, content in itertools.chain(members.items(), more):
                archive.writestr(name, content)
        return path

    return write


def refused(path, message):
    with pytest.raises(ValueError, match=message) as failure:
        kvae.load_model(path)
    text = str(failure.value)
    assert len(text) < 1000 and "\n" not in text and text.isprintable()


def test_what_keras_writes_is_read(write, whole):
    kvae.load_model(write())
    kvae.load_model(write(zipfile.ZIP_DEFLATED))  # Somebody packed it again.
    assert configs.read_model_file(write()) == sum(map(len, whole.values()))


def test_folders_are_read_as_archives_are(write, whole, tmp_path):
    for name, content in whole.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    kvae.load_model(tmp_path / "folder")
    change = lambda layer: layer.update(units=60_000_000_000)  # noqa: E731
    (tmp_path / "folder" / "config.json").write_text(with_decoder(whole, change))
    refused(tmp_path / "folder", "take more than the .* bytes of .*folder")
    with pytest.raises(ValueError, match="it is not there"):  # `load_model` says it before.
        configs.read_model_file(tmp_path / "nothing.keras")


def test_archives_of_many_members(write):
    refused(write(more=((f"assets/{i}", b"") for i in range(5_000))), "has 5003 members.*1000")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "name", ["config.json", "CONFIG.json", "./config.json", "/x", "C:\\x", "a/../../x", "..", "/"]
)
def test_members_without_a_place_of_their_own(write, name):
    refused(write(more=[(name, b"{}")]), "member .* has no place in it")


@pytest.mark.parametrize("name", ["config__json", "model__weights__h5", "assets/vocabulary"])
def test_archives_that_unpack_to_more(write, name):
    path = write(zipfile.ZIP_DEFLATED, **{name: bytes(100_000_000)})
    assert path.stat().st_size < 1_000_000
    refused(path, r"unpacks to \d+ bytes, over 8 times its")


def nested(depth):
    return '{"class_name": "x", "config": ' + "[" * depth + "]" * depth + "}"


def sequential(layers):
    return json.dumps({"class_name": "Sequential", "config": {"layers": [{}] * layers}})


def with_decoder(whole, change):
    """The configuration of the model, with another one of its decoder's last layer."""
    config = json.loads(whole["config.json"])
    change(config["config"]["decoder"]["config"]["layers"][-1]["config"])
    return json.dumps(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (nested(200), "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        ("[" * 3_000_000, "nested too deeply"),
        (json.dumps([{"class_name": "Dense"}] * 6000), "more than 5000 objects"),
        (sequential(201), "more layers in Sequential models"),
        (f"[{', '.join([sequential(21)] * 100)}]", "more layers in Sequential models"),
        (" " * (5 << 20) + "{}", "4194304 are allowed"),
        ("{", "is no JSON"),
        ("[1, 2]", "no model file that Keras can load"),
        ('"VAE"', "no model file that Keras can load"),
        ('{"class_name": ["VAE"], "config": 3, "module": {}}', "no model file that Keras can load"),
        (
            lambda layer: layer.update(units=60_000_000_000),
            "take more than the .* bytes of .*model",
        ),
        (lambda layer: layer.update(units=10**30), "no model file that Keras can load"),
        (lambda layer: layer.update(units="3"), "no model file that Keras can load"),
        (lambda layer: layer.update(units=[]), "no model file that Keras can load"),
        (lambda layer: layer.update(name="\x1b[2Jme"), r"control characters in '\\x1b\[2Jme'"),
        (lambda layer: layer.update(name="me\u202eem"), "control characters"),
        (lambda layer: layer.update({"\x9b2J": 1}), "control characters"),
    ],
)
def test_configurations(write, whole, config, message):
    config = config if isinstance(config, str) else with_decoder(whole, config)
    refused(write(config__json=config), message)


def test_variables_are_counted_before_they_are_made():
    made = []
    with pytest.raises(ValueError, match="the 4000000 bytes of it"):
        with configs.weights_bound(4_000_000, "it"):
            for _ in range(9):
                made.append(keras.layers.Dense(1000))
                made[-1].build((None, 1000))  # 4 MB each.
    assert len(made) == 2 and not made[1].built
    with pytest.raises(ValueError, match="take more"):  # Nor masks of 14 GB.
        with configs.weights_bound(4_000_000, "it"):
            MaskedNetwork(np.arange(60_000), 2, (60_000,)).build()
    keras.layers.Dense(1000).build((None, 5000))  # Elsewhere nothing is bounded.


def hdf5(path, make):
    with h5py.File(path, "w") as file:
        file["before"] = np.ones(100)
        make(file)
    return path


def chunked(file):
    file.create_dataset("x", (10**9,), "f4", chunks=(1000,), compression="gzip")


def cyclic(file):
    file["group/again"] = file["/"]


@pytest.mark.parametrize(
    "make",
    [
        chunked,
        cyclic,
        lambda file: file.create_dataset("x", (2,), "f4", external=[("/etc/passwd", 0, 8)]),
        lambda file: file.update({"x": h5py.ExternalLink("other.h5", "/x")}),
        lambda file: file.update({"x": h5py.SoftLink("/before")}),
        lambda file: file.create_virtual_dataset("x", h5py.VirtualLayout((2,), "f4")),
    ],
)
def test_files_of_weights(write, tmp_path, make):
    path = hdf5(tmp_path / "x.h5", make)
    with pytest.raises(ValueError, match="x.h5 is no file of weights"):
        archives.check_hdf5(path, "x.h5")
    refused(write(model__weights__h5=path.read_bytes()), "is no file of weights")


def test_files_of_weights_that_are_none(tmp_path):
    archives.check_hdf5(hdf5(tmp_path / "x.h5", lambda file: None), "x.h5")
    (tmp_path / "x.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged, or no HDF5 file"):
        archives.check_hdf5(tmp_path / "x.h5", "x.h5")
