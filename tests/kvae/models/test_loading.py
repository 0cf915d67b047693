"""Model files open in any fresh process, and other files are refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
import zoo


@pytest.mark.slow  # `test_parts_from_outside.py` has such a process by default.
def test_a_fresh_process_with_nothing_but_kvae(make_vae, tmp_path, run_python):
    """The draws of another process (`test_random`) load theirs with Keras's own loader."""
    path = tmp_path / "m.keras"
    make_vae().save(path)
    run = run_python("import kvae, sys; print(type(kvae.load_model(sys.argv[1])).__name__)", path)
    assert run.stdout.strip() == "VAE"


def test_onednn_is_on_unless_the_environment_says_otherwise(run_python, monkeypatch):
    code = "import os, sys, kvae; assert 'tensorflow' not in sys.modules; "
    code += "print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert run_python(code).stdout.strip() == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert run_python(code).stdout.strip() == "0"


# What is no model file says what it is, and what to do with it.


@pytest.fixture(scope="module")
def saved(make_vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    vae = make_vae()
    vae.save(folder / "whole.keras")
    vae.save(folder / "unzipped", zipped=False)
    vae.save_weights(folder / "mine.weights.h5")
    for name in ("old.h5", "old.hdf5", "notes.txt", "whole"):
        (folder / name).write_bytes((folder / "whole.keras").read_bytes())
    (folder / "plain").mkdir()
    for name in ("served", "served/2"):
        (folder / name).mkdir()
    (folder / "served/2/saved_model.pb").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "name, error, words",
    [
        ("missing.keras", FileNotFoundError, "There is no model file .*missing.keras"),
        ("plain", ValueError, "is a folder, not a model file"),
        ("served", ValueError, "is a SavedModel.*export.Client"),
        ("served/2", ValueError, "is a SavedModel.*export.Client"),
        ("mine.weights.h5", ValueError, r"weights alone.*model.load_weights\('.*mine.weights.h5'"),
        ("old.h5", ValueError, "older HDF5 format.*keras.saving.load_model"),
        ("old.hdf5", ValueError, "older HDF5 format"),
        ("notes.txt", ValueError, "the name of one ends in .keras"),
        ("whole", ValueError, "the name of one ends in .keras"),
    ],
)
def test_what_is_no_model_file_is_told_what_it_is(saved, name, error, words):
    for path in (saved / name, str(saved / name)):
        with pytest.raises(error, match=words) as caught:
            kvae.load_model(path)
        assert "\n" not in str(caught.value)


def test_an_address_of_the_hub():
    with pytest.raises(ValueError, match=r"zoo.load\('hf://me/mine'\)"):
        kvae.load_model("hf://me/mine")


def test_a_folder_that_keras_has_written(saved):
    assert type(kvae.load_model(saved / "unzipped")) is kvae.VAE


class Twice(keras.layers.Layer):
    """Registered nowhere."""

    def call(self, x):
        return 2.0 * x


def test_objects_of_ones_own(make_vae, make_encoder, tmp_path):
    vae = make_vae(encoder=make_encoder(extra=[Twice()]), optimizer="sgd")
    vae.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="custom_objects={'Twice': Twice}") as raised:
        kvae.load_model(tmp_path / "m.keras")
    assert f"names 'Twice' of {__name__}, not known here" in str(raised.value)
    assert f"--import {__name__}" in str(raised.value)
    assert len(str(raised.value).removeprefix(str(tmp_path))) < 400
    loaded = kvae.load_model(tmp_path / "m.keras", custom_objects={"Twice": Twice})
    x = np.ones((2, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(loaded(x), vae(x))
    assert loaded.compiled
    options = {"custom_objects": {"Twice": Twice}, "compile": False}
    assert not kvae.load_model(tmp_path / "m.keras", **options).compiled


def test_code_in_a_file_is_trusted_by_request_alone(make_vae, make_encoder, tmp_path):
    layer = keras.layers.Lambda(lambda x: 2.0 * x, output_shape=(16,))
    vae = make_vae(encoder=make_encoder(extra=[layer]))
    vae.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="[Ll]ambda"):
        kvae.load_model(tmp_path / "m.keras")
    loaded = kvae.load_model(tmp_path / "m.keras", safe_mode=False)
    x = np.ones((2, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(loaded(x), vae(x))


# What is written.


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m", "m.weights.h5"])
def test_other_forms_are_refused_and_leave_nothing(make_vae, tmp_path, name):
    (tmp_path / "m.h5").write_bytes(b"before")
    with pytest.raises(ValueError, match="is saved as a .keras file") as caught:
        make_vae().save(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]
    assert (tmp_path / "m.h5").read_bytes() == b"before"


@pytest.mark.default("3")
@pytest.mark.parametrize("num_classes", [None, 3])
def test_keras_export_right_after_fit(num_classes, tmp_path):
    settings = {"hidden": (4,), "num_classes": num_classes}
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, **settings)
    vae.compile("adam")
    x, label = np.random.default_rng(0).random((5, 8, 8, 1), np.float32), np.arange(5) % 3
    given = x if num_classes is None else (x, label.astype("int32"))
    vae.fit(given, verbose=0)
    vae.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    # Graphs take any number of rows.
    np.testing.assert_allclose(served.serve(given), vae(given), rtol=1e-5, atol=1e-6)


def test_a_model_without_a_shape_is_not_exported(make_encoder, make_decoder, make_vae, tmp_path):
    vae = make_vae(encoder=make_encoder(declared=False), decoder=make_decoder(declared=False))
    with pytest.raises(ValueError, match="not built yet"):
        vae.export(tmp_path / "model")
