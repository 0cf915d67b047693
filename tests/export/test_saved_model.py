"""SavedModels: what they hold, and that they appear whole and only once."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import export
import kvae
from export import signatures
from export.files import meta_graph
from export.graphs import endpoints
from export.runtimes import child
from export.signatures import Call

RUNTIME = "export.runtimes.c_api"
SEEDS = np.array([7, 0, 2**31 + 5, 2**61, 123456789012], np.int64)


@pytest.fixture(scope="module")
def conv_path(conv, tmp_path_factory):
    return export.saved_model(conv, tmp_path_factory.mktemp("serving") / "conv")


@pytest.fixture(scope="module")
def autoencoder_path(autoencoder, tmp_path_factory):
    return export.saved_model(autoencoder, tmp_path_factory.mktemp("serving") / "ae", version=20)


@pytest.fixture(scope="module")
def answer(dense_path, images, processes):
    """The dense model's signatures in the C++ runtime, all asked in one go."""
    z = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")
    calls = [
        Call("serving_default", {"z": z}),
        Call("encode", {"image": images[:5]}),
        Call("reconstruct", {"image": images[:5]}),
        Call("generate", {"seed": SEEDS}),
        Call("generate", {"seed": SEEDS[[3]]}),
        Call("generate", {"seed": SEEDS[[4, 3, 0, 0, 0, 0, 0]]}),
        Call("decode", {"z": z}),
        Call("generate", {"z": z}),
        Call("serving_default", {"z": z.astype("float64")}),
        Call("serving_default", {"z": z[:, :1]}),
    ]
    return calls, child.request(RUNTIME, dense_path, calls, timeout=120)


def outputs(answer, index):
    result = answer[1].results[index]
    assert not result.error
    return result.outputs


@pytest.mark.parametrize(
    "name", ["autoencoder", *(pytest.param(n, marks=pytest.mark.slow) for n in ("conv", "dense"))]
)
def test_every_signature_has_the_models_numbers_outside_python(name, request):
    path, model = request.getfixturevalue(f"{name}_path"), request.getfixturevalue(name)
    report = export.verify(path, model)
    assert report.ok, str(report)
    assert report.max_abs_error <= 1e-5
    expected = set(signatures.SIGNATURES) - {
        *("impute", "detect", "classify", "translate"),
        *("encode_table", "generate_table", "impute_table"),
    }
    if name == "autoencoder":
        expected -= {"generate", "score"}
    for batch in (1, 7, 64):
        compared = {row.signature for row in report.rows if row.batch == batch}
        assert compared == expected
    for row in report.rows:
        assert (row.max_abs_error is None) == (row.output in ("(defaults)", "(warm-up)"))
    for kind, names in (
        ("(warm-up)", expected),
        ("(defaults)", expected & {"generate", "score", "interpolate", "interpolate_images"}),
    ):
        assert {row.signature for row in report.rows if row.output == kind} == names


def test_outputs_are_named_and_equal_the_public_methods(answer, dense, images):
    assert answer[1].facts["tensorflow_imported"] is False
    z = answer[0][0].inputs["z"]
    decoded = outputs(answer, 0)
    assert set(decoded) == {"image", "logits"}
    np.testing.assert_allclose(decoded["image"], dense.decode(z), atol=1e-6)
    np.testing.assert_allclose(decoded["image"], 1 / (1 + np.exp(-decoded["logits"])), atol=1e-6)
    encoded = outputs(answer, 1)
    assert set(encoded) == {"z_mean", "z_log_var"}
    for key, value in dense.encode(images[:5]).items():
        np.testing.assert_allclose(encoded[key], value, atol=1e-6)
    np.testing.assert_allclose(
        outputs(answer, 2)["image"], dense.predict(images[:5], verbose=0), atol=1e-6
    )


def test_generate_is_sample_with_a_seed_for_each_row(answer, dense):
    generated = outputs(answer, 3)
    assert set(generated) == {"image", "z"}
    sampled = np.concatenate([dense.sample(1, seed=int(seed)) for seed in SEEDS])
    np.testing.assert_allclose(generated["image"], sampled, atol=1e-6)
    np.testing.assert_allclose(generated["image"], dense.decode(generated["z"]), atol=1e-6)
    assert len({row.tobytes() for row in generated["z"]}) == len(SEEDS)


def test_a_row_keeps_its_bits_whatever_it_is_batched_with(answer):
    z = outputs(answer, 3)["z"]
    alone, among_others = outputs(answer, 4)["z"], outputs(answer, 5)["z"]
    assert alone.tobytes() == z[[3]].tobytes()
    assert among_others.tobytes() == z[[4, 3, 0, 0, 0, 0, 0]].tobytes()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (6, "no signature 'decode'. It has: embed, encode, generate"),
        (7, "takes the inputs seed, temperature (optional: temperature), not z"),
        (8, "float32 of shape (None, 2), not float64"),
        (9, r"not float32 of shape (5, 1)"),
    ],
)
def test_the_runtime_names_a_wrong_request(answer, index, message):
    assert message in answer[1].results[index].error


def test_metadata_describes_the_signatures(dense_path):
    content = json.loads((dense_path / "assets.extra" / "kvae.json").read_text())
    assert content["name"] == "dense"
    assert content["library"] == "kvae"
    assert (content["latent_dim"], content["event_shape"]) == (2, [8, 8, 1])
    assert (content["likelihood"], content["prior"]) == ("Bernoulli", "StandardNormal")
    assert set(content["versions"]) == {"kvae", "keras", "tensorflow"}
    generate = content["signatures"]["generate"]
    assert generate["inputs"] == {
        "seed": {"dtype": "int64", "shape": [None]},
        "temperature": {"dtype": "float32", "shape": [None]},
    }
    assert generate["optional"] == ["temperature"] and content["left_out"] == {}
    limits = content["signatures"]["interpolate"]["limits"]
    assert limits == {"steps": {"smallest": 1, "largest": 64, "default": 8}}
    assert generate["outputs"]["image"] == {"dtype": "float32", "shape": [None, 8, 8, 1]}


def test_our_reading_of_the_signatures_agrees_with_tensorflow(dense_path):
    loaded = tf.saved_model.load(str(dense_path)).signatures
    ours = meta_graph.read_signatures(dense_path)
    assert set(ours) == set(loaded)
    for name, signature in ours.items():
        theirs = loaded[name]
        for have, wanted in (
            (signature.inputs, theirs.structured_input_signature[1]),
            (signature.outputs, theirs.structured_outputs),
        ):
            assert set(have) == set(wanted)
            for key, spec in wanted.items():
                assert (have[key].dtype, have[key].shape) == (spec.dtype.name, tuple(spec.shape))


def test_variables_are_stored_once_and_without_xla(conv, tmp_path):
    path = export.saved_model(conv, tmp_path, signatures=["encode", "reconstruct"])
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    shapes = [tuple(shape) for name, shape in stored if not name.startswith("_CHECKPOINTABLE")]
    used = [v for v in conv.weights if "seed" not in v.path]
    assert sorted(shapes) == sorted(tuple(v.shape) for v in used)
    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for function in graph.meta_graphs[0].graph_def.library.function:
        assert not function.attr["_XlaMustCompile"].b


def test_a_model_without_a_prior_does_not_generate(autoencoder_path):
    assert autoencoder_path.name == "20"
    found = meta_graph.read_signatures(autoencoder_path)
    assert set(signatures.SIGNATURES) - set(found) == {
        *("generate", "score", "impute", "detect", "classify", "translate"),
        *("encode_table", "generate_table", "impute_table"),
    }
    assert set(found["encode"].outputs) == {"z_mean"}
    content = json.loads((autoencoder_path / "assets.extra" / "kvae.json").read_text())
    assert "without a prior" in content["left_out"]["generate"]
    assert "defines no log p(x)" in content["left_out"]["score"]


# Versions. What is written does not matter here, so a finished model stands in for the writing.


@pytest.fixture
def quick(monkeypatch, dense_path, copy_of):
    write = copy_of(dense_path)
    monkeypatch.setattr(endpoints, "write", write)
    return write


def test_versions_count_up_and_are_never_overwritten(quick, dense, tmp_path):
    names = [export.saved_model(dense, tmp_path).name, export.saved_model(dense, tmp_path).name]
    assert names == ["1", "2"]
    assert export.saved_model(dense, tmp_path, version=9).name == "9"
    assert export.saved_model(dense, tmp_path).name == "10"
    mark = tmp_path / "9" / "mark"
    mark.touch()
    with pytest.raises(FileExistsError, match="Version 9 exists .* publish the next"):
        export.saved_model(dense, tmp_path, version=9)
    assert mark.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "10", "2", "9"]


def test_a_version_with_leading_zeros_is_the_same_version(quick, dense, tmp_path):
    (tmp_path / "00003").mkdir()
    with pytest.raises(FileExistsError, match="Version 3 exists"):
        export.saved_model(dense, tmp_path, version=3)
    assert export.saved_model(dense, tmp_path).name == "4"


def test_a_version_that_another_process_took_meanwhile_is_kept(quick, dense, tmp_path, monkeypatch):
    def write_late(made, path):
        quick(made, path)
        if not (tmp_path / "1").exists():
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "theirs").touch()

    monkeypatch.setattr(endpoints, "write", write_late)
    assert export.saved_model(dense, tmp_path).name == "2"
    assert [p.name for p in (tmp_path / "1").iterdir()] == ["theirs"]


def test_nothing_is_seen_until_it_is_whole(quick, dense, tmp_path, monkeypatch):
    seen = []

    def write_and_fail(made, path):
        quick(made, path)
        seen.extend(p.name for p in tmp_path.iterdir())
        raise OSError("disk full")

    monkeypatch.setattr(endpoints, "write", write_and_fail)
    with pytest.raises(OSError, match="disk full"):
        export.saved_model(dense, tmp_path)
    assert seen and not any(name.isdigit() for name in seen)
    assert list(tmp_path.iterdir()) == []


def test_the_published_folder_can_be_read_by_a_server_of_another_user(dense_path):
    assert dense_path.stat().st_mode & 0o055 == 0o055


@pytest.mark.parametrize(
    ("version", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (True, TypeError)]
)
def test_version_numbers_are_positive_integers(dense, tmp_path, version, error):
    with pytest.raises(error, match="A version is"):
        export.saved_model(dense, tmp_path, version=version)


def test_a_folder_that_cannot_be_written_is_named(dense, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        export.saved_model(dense, tmp_path / "file" / "dense")


def test_what_is_not_a_built_vae_is_refused(dense, tmp_path):
    with pytest.raises(TypeError, match="Only a kvae.VAE is exported, not Sequential"):
        export.saved_model(dense.decoder, tmp_path)
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    unbuilt = kvae.VAE(encoder, keras.Sequential([keras.layers.Dense(4)]), latent_dim=2)
    for write in (export.saved_model, export.tflite, lambda m, p: export.verify(p, m)):
        with pytest.raises(ValueError, match="is not built"):
            write(unbuilt, tmp_path / "x")


def test_importing_the_package_does_not_import_tensorflow():
    code = (
        "import sys, export, export.runtimes.c_api, export.runtimes.litert, export.signatures\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
        "assert {'saved_model', 'tflite', 'verify'} <= set(dir(export))\n"
        "assert callable(export.verify)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'savedmodel'"):
        export.savedmodel  # noqa: B018
