"""The verification: it has to catch what is wrong, and to survive it."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
from export.files import versions
from export.runtimes import c_api, child
from export.runtimes.register import RUNTIMES
from export.signatures import Call, Signature, TensorInfo
from export.verification import references, tolerances, verify
from export.verification.comparison import Comparison
from export.verification.results import Report, Row


@pytest.fixture(scope="module")
def path(dense, tmp_path_factory):
    """A version with what most tests need. Not to be changed: `copy` it."""
    wanted = ["encode", "reconstruct", "generate"]
    return export.saved_model(dense, tmp_path_factory.mktemp("verified") / "m", signatures=wanted)


@pytest.fixture
def copy(path, tmp_path):
    return shutil.copytree(path, tmp_path / "1")


class OnlyPython(tf.Module):
    """The classic mistake: a module that holds a Keras model, whose variables only Python finds."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="z")], autograph=False)
    def decode(self, z):
        return {"image": self.model.decode(z)}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="z")], autograph=False)
    def divide(self, z):
        return {"image": z / tf.zeros_like(z)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="png")], autograph=False)
    def read(self, png):
        return {"length": tf.strings.length(png)}


@pytest.fixture(scope="module")
def only_python(dense, tmp_path_factory):
    path = tmp_path_factory.mktemp("only_python") / "1"
    module = OnlyPython(dense)
    functions = {
        "serving_default": module.decode,
        "divide": module.divide,
        "read": module.read,
    }
    tf.saved_model.save(module, str(path), signatures=functions)
    return path


def test_a_saved_model_that_only_python_can_run_is_caught(only_python, dense):
    z = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    reloaded = tf.saved_model.load(str(only_python)).signatures["serving_default"]
    np.testing.assert_allclose(reloaded(z=tf.constant(z))["image"], dense.decode(z), atol=1e-6)

    report = export.verify(only_python, dense)
    assert not report.ok and not report
    failed = [row for row in report.rows if row.signature == "serving_default"]
    assert len(failed) == 3  # Batch sizes.
    for row in failed:
        assert row.error.startswith("FAILED_PRECONDITION: Could not find variable")
        assert "\n" not in row.error
    assert "NOT verified" in str(report) and "Could not find variable" in str(report)

    # Signatures without variables run, and what is wrong with them is said.
    errors = {row.signature: row.error for row in report.rows}
    assert "numbers are not finite" in errors["divide"]
    assert "'png' holds no numbers" in errors["read"]


def test_another_models_numbers_do_not_pass(path, dense, remembered_runtimes):
    other = keras.models.clone_model(dense.decoder)
    for mine, theirs in zip(other.weights, dense.decoder.weights, strict=True):
        mine.assign(theirs + 1e-3)
    changed = kvae.VAE(dense.encoder, other, latent_dim=2, posterior=dense.posterior)
    report = export.verify(path, changed, batch_sizes=(4,))
    verdicts = {(row.signature, row.output): row.ok for row in report.rows}
    assert not report.ok
    assert verdicts["serving_default", "image"] is False
    assert verdicts["reconstruct", "image"] is False
    assert verdicts["encode", "z_mean"] is True
    assert verdicts["generate", "z"] is True
    assert export.verify(path, changed, batch_sizes=(4,), tolerance=0.1).ok
    assert len(remembered_runtimes) <= 2  # The same questions, of two runtimes.


# By how much all weights of a layer have to be off: bfloat16 has three significant digits at most.
_OFF = {"mixed_float16": 1.02, "mixed_bfloat16": 1.1}


@pytest.fixture(scope="module", params=["mixed_float16", "mixed_bfloat16"])
def half(request, tmp_path_factory):
    """A model whose networks compute in half precision, its policy, and its SavedModel."""
    keras.utils.set_random_seed(0)
    policy, layers = {"dtype": request.param}, keras.layers
    encoder = [layers.Flatten(**policy), layers.Dense(16, "relu", **policy)]
    decoder = [layers.Dense(64, **policy), layers.Reshape((8, 8, 1), **policy)]
    model = kvae.VAE(
        keras.Sequential([keras.Input((8, 8, 1)), *encoder]),
        keras.Sequential([keras.Input((2,)), layers.Dense(32, "relu", **policy), *decoder]),
        latent_dim=2,
    )
    folder = tmp_path_factory.mktemp("half")
    return model, request.param, export.saved_model(model, folder / "m", signatures=["encode"])


@pytest.mark.default("mixed_float16")
def test_half_precision_has_the_bounds_of_its_own_rounding(half, remembered_runtimes):
    """A right export passes in every runtime; one of weights that are off does not."""
    model, policy, path = half
    report = export.verify(path, model, batch_sizes=(16,))
    assert report.ok and report.precision == policy, str(report)
    assert report.max_abs_error > 0
    # A further runtime has the bounds of half precision too.
    further = {row.output: row for row in report.rows if row.optional}
    assert bool(further) == RUNTIMES["openvino"].installed()
    for row in report.rows:
        if row.signature == "serving_default" and row.output in further:
            assert further[row.output].scale == row.scale > 1.0
    assert export.verify(path, batch_sizes=(16,)).ok  # OpenVINO's numbers with the first's.
    # With a tolerance of the user's own nothing is added.
    assert not export.verify(path, model, batch_sizes=(16,), tolerance=1e-7).ok
    for layer, wrong in (
        (model.encoder.layers[-1], "encode"),
        (model.decoder.layers[0], "serving"),
    ):
        kernel = layer.kernel.numpy()
        layer.kernel.assign(_OFF[policy] * kernel)
        report = export.verify(path, model, batch_sizes=(16,))
        layer.kernel.assign(kernel)
        assert not report.required_ok
        failed = {row.signature for row in report.rows if not row.ok}
        assert all(name.startswith(wrong) for name in failed), str(report)


@pytest.mark.parametrize("part", ["decoder", "encoder"])
@pytest.mark.default("mixed_float16-decoder")
def test_half_precision_in_onnx_runtime(half, part, tmp_path, remembered_runtimes):
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    model, policy, _ = half
    path = export.onnx(model, tmp_path / "x.onnx", part)
    report = export.verify(path, model, batch_sizes=(16,))
    assert report.ok and report.precision == policy, str(report)
    layer = (model.decoder.layers[0], model.encoder.layers[-1])[part == "encoder"]
    kernel = layer.kernel.numpy()
    layer.kernel.assign(_OFF[policy] * kernel)
    report = export.verify(path, model, batch_sizes=(16,))
    layer.kernel.assign(kernel)
    assert not report.ok


def test_a_further_runtime_keeps_nothing_from_being_published(dense, tmp_path, monkeypatch):
    (tmp_path / "bad_runtime.py").write_text("raise SystemExit('out of luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(RUNTIMES["openvino"], "module", "bad_runtime")
    monkeypatch.setattr(RUNTIMES["openvino"], "require", lambda: None)
    with pytest.warns(RuntimeWarning, match="a further runtime disagrees(.|\n)*out of luck"):
        done = export.publish(dense, tmp_path / "repository", "dense", signatures=["encode"])
    assert not done.report.ok and done.report.required_ok and done.path.is_dir()
    monkeypatch.setattr(RUNTIMES["tensorflow"], "module", "bad_runtime")
    with pytest.raises(ValueError, match="nothing was published") as raised:
        export.publish(dense, tmp_path / "repository", "dense", signatures=["encode"])
    assert ".publish." not in str(raised.value)  # A folder that is no more.


def test_a_model_of_another_shape_is_a_failed_row(path, autoencoder):
    report = export.verify(path, autoencoder, batch_sizes=(2,))
    assert not report.ok
    asked = ("encode", "serving_default")
    compared = [row for row in report.rows if row.signature in asked and row.output[0] != "("]
    assert compared and all(row.error for row in compared)


@pytest.mark.parametrize("signatures", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_without_a_model_it_runs_and_is_finite(signatures, request):
    path = request.getfixturevalue("path" if signatures == "some" else "dense_path")
    report = export.verify(path.parent, batch_sizes=(3,))
    assert report.ok and report.path == path  # The newest of the folder's versions.
    assert verify._resolve(path / "saved_model.pb") == path
    # Not those of OpenVINO with those of the C++ runtime, where it is installed.
    first = [row for row in report.rows if row.runtime.startswith("C++")]
    compared = [row for row in first if row.max_abs_error is not None]
    names = ("z", "image")
    if signatures == "all":
        names = (*names, "elbo", "log_prob", "effective_sample_size")
    assert {row.output for row in compared} == {
        f"{name}, row {kind}" for name in names for kind in ("alone", "reversed")
    }
    assert {row.signature for row in report.rows} >= {"serving_default", "encode", "reconstruct"}


def test_a_report_of_no_comparison_is_not_fine(dense, tmp_path):
    identity = tf.function(
        lambda z: {"same": z},
        input_signature=[tf.TensorSpec((None, 2), tf.float32, name="z")],
    )
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures={"other": identity})
    assert export.verify(tmp_path / "1").ok
    report = export.verify(tmp_path / "1", dense)
    assert not report.ok and "nothing was compared" in str(report)


def test_altered_files_are_refused_before_they_are_loaded(copy):
    for name in ("variables/variables.index", "fingerprint.pb", "saved_model.pb"):
        file = copy / name
        whole = file.read_bytes()
        for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
            file.write_bytes(content)
            with pytest.raises(ValueError, match=f"{name} was cut off or altered"):
                export.verify(copy)
        file.unlink()
        with pytest.raises(ValueError, match=f"{name} is missing"):
            versions.check(copy)
        file.write_bytes(whole)
    versions.check(copy)
    facts = copy / versions.METADATA
    facts.write_text(facts.read_text().replace('"latent_dim": 2', '"latent_dim": 3'))
    with pytest.raises(ValueError, match="kvae.json is damaged .*its SHA-256 differs"):
        export.verify(copy)


def test_damaged_saved_models_are_named(copy):
    (copy / versions.METADATA).unlink()  # As of another tool, which notes no SHA-256.
    data = copy / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be loaded: .*export the model again"):
        export.verify(copy)
    shutil.rmtree(copy / "variables")
    assert "Could not find variable" in str(report := export.verify(copy)) and not report.ok
    graph = copy / "saved_model.pb"
    content = graph.read_bytes()
    graph.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged or was cut off.*Export the model again"):
        export.verify(copy)
    graph.write_bytes(b"")
    with pytest.raises(ValueError, match="no signature for serving"):
        export.verify(copy)


def test_a_saved_model_in_a_folder_whose_name_is_no_text(dense, images, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    path = export.saved_model(dense, folder, signatures=["encode"])
    assert [found.name for found in folder.iterdir()] == [path.name] == ["1"]
    with c_api.Session(path) as session:
        have = session.run("encode", {"image": images[:3]})
    np.testing.assert_allclose(have["z_mean"], dense.encode(images[:3])["z_mean"], atol=1e-6)


@pytest.mark.slow
def test_folders_whose_names_are_no_text(dense, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    written = export.saved_model(dense, folder, signatures=["generate"])
    file = export.tflite(dense, folder / os.fsdecode(b"\xe9.tflite"), prior=False)
    for path in (written, file):
        report = export.verify(path, dense, batch_sizes=(2,))
        assert report.ok and path.exists(), report
    assert [path.name for path in folder.iterdir()] in (["1", file.name], [file.name, "1"])


def test_missing_paths_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*Export the model first"):
        export.verify(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="neither a SavedModel nor versions"):
        export.verify(tmp_path)
    (tmp_path / "1").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no saved_model.pb"):
        export.verify(tmp_path)


@pytest.mark.parametrize("sizes", [(), (0,), (4, -1)])
def test_batch_sizes_are_positive(path, sizes):
    with pytest.raises(ValueError, match="`batch_sizes` are positive"):
        export.verify(path, batch_sizes=sizes)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("import time; time.sleep(60)", "no answer within 2 s"),
        ("raise SystemExit('out of luck')", "ended with status 1: out of luck"),
        ("pass", "ended with status 0"),
    ],
    ids=["crashes", "hangs", "fails", "ends"],
)
@pytest.mark.default("hangs", "crashes")
def test_a_runtime_that_dies_or_hangs_is_a_failed_row(
    path, dense, tmp_path, monkeypatch, body, message
):
    (tmp_path / "bad_runtime.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(RUNTIMES["tensorflow"], "module", "bad_runtime")
    report = export.verify(path, dense, timeout=2 if "sleep" in body else 60)
    assert not report.ok
    with pytest.raises(AssertionError, match=message):
        assert report.ok, str(report)


def test_arrays_travel_whatever_their_names_and_never_pickled(tmp_path):
    arrays = {"file": np.arange(3), "allow_pickle": np.zeros((0, 2)), "a/b": np.float32(1.5)}
    child._write(tmp_path / "x.npz", arrays)
    back = child._read(tmp_path / "x.npz", True)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
    np.savez(tmp_path / "y.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        child._read(tmp_path / "y.npz", True)


def test_the_report_is_json_and_a_table(tmp_path):
    rows = [
        Row("serving_default", "image", 1, 2e-6, 1e-5, "C++"),
        Row("serving_default", "logits", 1, 4e-5, 1e-5, "C++", scale=8.0),
        Row("encode", "z_mean", 1, None, None, "C++"),
    ]
    report = Report(tmp_path, "float32", rows)
    assert report.ok and report.max_abs_error == 4e-5
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["ok"] is True and [row["ok"] for row in content["rows"]] == [True] * 3
    lines = str(report).splitlines()
    assert lines[0].endswith("verified") and len(lines) == 5
    assert lines[2].split() == ["serving_default", "image", "1", "2.0e-06", "1.0e-05", "C++", "ok"]
    assert lines[3].split()[4] == "8.0e-05"

    rows.append(Row("encode", "z_mean", 32, 1.2e-5, 1e-5, "C++"))
    assert not report.ok and not rows[-1].ok
    assert not Row("encode", "z_mean", 1, None, 1e-5, "C++", error="why").ok
    assert not Row("encode", "z_mean", 1, float("nan"), 1e-5, "C++").ok
    assert not Report(tmp_path, "float32", []).ok


def test_rows_that_depend_on_their_neighbours_are_caught(dense, tmp_path):
    def generate(seed):
        # One seed for the whole batch: what a row gets depends on where it stands.
        noise = tf.random.stateless_normal((tf.shape(seed)[0], 2), [0, 1], alg="philox")
        return {"z": noise}

    function = tf.function(
        generate, input_signature=[tf.TensorSpec((None,), tf.int64, name="seed")]
    )
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures={"generate": function})
    report = export.verify(tmp_path / "1", batch_sizes=(4,))
    verdicts = {row.output: row.ok for row in report.rows}
    assert verdicts == {"z": True, "z, row reversed": False, "z, row alone": False}


def ess(log_weights):
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    return weights.sum(-1) ** 2 / (weights**2).sum(-1)


@pytest.mark.parametrize("error", [1e-4, 0.01, 0.3])
def test_effective_sample_sizes_may_differ_by_what_log_weights_do(error):
    rng = np.random.default_rng(0)
    # From nearly equal weights to a single one, and the worst errors that they can have: all that
    # are above a threshold are too large, all others too small, or the other way.
    logs = np.sort(rng.normal(size=(3000, 20)) * rng.exponential(size=(3000, 1)) * 8, axis=-1)
    logs[::3, 1:-1] = -50.0  # Two weights.
    split = np.arange(20) < rng.integers(1, 20, size=(3000, 1))
    off = np.where(split, -error, error) * rng.choice([-1, 1], size=(3000, 1))
    before, after = ess(logs), ess(logs + off)
    bounds = tolerances.effective_sample_sizes(before, after, np.full(3000, error))
    assert np.all(np.abs(before - after) <= bounds)
    # The worst of all comes near to the bound: one weight against many that are small.
    logs = np.log([1.0] + [1e-3] * 20_000)
    off = np.where(logs < -1, error, -error)
    before, after = ess(logs), ess(logs + off)
    assert (
        0.8
        < (after - before) / tolerances.effective_sample_sizes(before, after, np.array(error))
        <= 1.0
    )
    # As often as one weight is nearly all, the log-weights may be off by nats.
    (narrow,) = tolerances.effective_sample_sizes(np.array([1.0]), np.array([1.1]), np.array([3.0]))
    assert narrow < 0.01


@pytest.mark.parametrize(
    ("factor", "row", "fine"),
    [(1.0, 0, True), (1.001, 1, True), (0.9, 0, False), (0.9, 1, False), (1.1, 2, False)],
)
def test_one_wrong_effective_sample_size_is_noticed(factor, row, fine):
    want = {
        "log_prob": np.array([-90.0, -4000.0, -100_000.0], np.float32),
        "effective_sample_size": np.array([12.0, 3.0, 1.0], np.float32),
    }
    have = {name: array.copy() for name, array in want.items()}
    have["effective_sample_size"][row] *= factor
    kinds = dict.fromkeys(want, TensorInfo("float32", (None,)))
    available = {"score": Signature({}, kinds)}
    comparison = Comparison(None, available, 1e-5, "")
    result = child.Result(have)
    comparison.largest["score"] = result, want, ""
    comparison.batch(Call("score", {"seed": np.arange(3)}), result)
    assert [row.ok for row in comparison.rows] == [True, fine]


def test_codes_move_images_as_the_decoders_derivative_says(dense, images):
    """To first order the codes' step times the Jacobian, here by automatic differentiation."""
    x, step = images[:5], 1e-4
    found = references.moved(dense, {"image": x}, step)["image"]
    z = dense.posterior.mean(dense.encode(x))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], z.shape)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        decoded = tf.reshape(tf.sigmoid(dense.decoder(z)), (5, -1))
    jacobian = tape.batch_jacobian(decoded, z, experimental_use_pfor=False)
    expected = np.abs(np.einsum("nij,nj->ni", jacobian, signs)).max()
    expected *= step * max(1.0, np.abs(z).max())
    assert found == pytest.approx(expected, rel=0.02) and found > 0


@pytest.mark.parametrize(
    ("error", "fine"), [(2.9e-5, True), (-2.9e-5, True), (3.1e-5, False), (-3.1e-5, False)]
)
@pytest.mark.parametrize("signature", ["reconstruct", "serving_default"])
def test_images_of_images_may_differ_by_what_their_codes_do_besides(
    dense, images, monkeypatch, signature, error, fine
):
    monkeypatch.setattr(references, "moved", lambda *_: {"image": 2e-5})
    of_codes = signature == "reconstruct"
    inputs = {"image": images[:5]} if of_codes else {"z": np.zeros((5, 2), "float32")}
    image = references.answers(dense, signature, inputs)["image"]
    available = {signature: Signature({}, {"image": None})}
    comparison = Comparison(dense, available, 1e-5, "here")
    comparison.batch(
        Call(signature, inputs), child.Result({"image": image + np.float32(error)}, "")
    )
    assert bool(comparison.rows[0].ok) == (fine and of_codes)
