"""TFLite decoders: what is in the file, and its numbers in LiteRT."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
import kvae
from export.files import flatbuffer
from export.runtimes import child, litert
from export.signatures import Call
from export.verification import tolerances
from export.writers.tflite import converter
from export.writers.tflite.calibration import decoder_inputs

RUNTIME = "export.runtimes.litert"
LATENTS = np.random.default_rng(5).normal(size=(7, 4)).astype("float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tflite")


@pytest.fixture(scope="module")
def file(conv, images, folder):
    """The convolutional decoder in a precision, written when it is first asked for."""

    @functools.cache
    def write(precision):
        path = folder / "new" / f"{precision}.tflite"
        options = {"batch_size": 3, "calibration": images} if precision == "int8" else {}
        return export.tflite(conv, path, precision, **options)

    return write


@pytest.fixture(scope="module")
def answer(file, processes):
    """Returns LiteRT's description of a file, and the image that it decodes from `LATENTS`."""

    @functools.cache
    def ask(precision):
        call = Call("serving_default", {"z": LATENTS})
        answer = child.request(RUNTIME, file(precision), [call], 60)
        assert not answer.failure and not answer.load_error
        return answer.facts, answer.results[0].outputs["image"]

    return ask


# The 8-bit bounds here are of this model; those of `verify` have to do for any.
@pytest.mark.default("float32-1e-05", "int8-0.05")
@pytest.mark.parametrize(
    ("precision", "bound"),
    [("float32", 1e-5), ("float16", 1e-3), ("dynamic", 0.02), ("int8", 0.05)],
)
def test_numbers_are_the_models(answer, conv, precision, bound):
    _, image = answer(precision)
    assert image.dtype == np.float32
    error = np.abs(image - np.asarray(conv.decode(LATENTS))).max()
    assert error <= bound
    if precision != "float32":
        assert error > 1e-7  # The precision asked for is the one in the file.


def test_verify_runs_a_file_of_each_precision(file, conv):
    for precision in ("float32", "int8"):
        report = export.verify(file(precision), conv)
        assert report.ok, str(report)
        assert report.precision == precision
        assert [(row.signature, row.output, row.batch) for row in report.rows] == [
            ("serving_default", "image", size) for size in (64, 7, 1)
        ]
        assert {row.tolerance for row in report.rows} == {tolerances.TOLERANCES[precision]}
        assert all("LiteRT" in row.runtime for row in report.rows)
    assert not export.verify(file("int8"), conv, tolerance=1e-5).ok


@pytest.mark.default("float32", "int8")
@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8"])
def test_files_name_their_precision_and_use_builtin_operators_only(answer, precision):
    found, _ = answer(precision)
    assert found["precision"] == precision
    assert found["tensorflow_imported"] is False
    assert "TRANSPOSE_CONV" in found["operators"]
    assert not [name for name in found["operators"] if "CUSTOM" in name or "VAR" in name]
    signature = found["signatures"]["serving_default"]
    batch = 3 if precision == "int8" else 1
    assert signature["inputs"] == {"z": {"dtype": "float32", "shape": [batch, 4]}}
    assert signature["outputs"] == {"image": {"dtype": "float32", "shape": [batch, 8, 8, 1]}}


@pytest.mark.slow
def test_less_precision_makes_smaller_files(file, conv):
    sizes = {p: file(p).stat().st_size for p in ("float32", "float16", "dynamic", "int8")}
    kernels = sum(int(np.prod(v.shape)) for v in conv.decoder.weights if len(v.shape) > 1)
    assert sizes["float32"] > 4 * kernels
    assert sizes["float32"] - sizes["float16"] > 1.9 * kernels
    assert sizes["float32"] > max(sizes["int8"], sizes["dynamic"])


def test_a_fixed_batch_gives_the_same_rows(dense, folder):
    path = export.tflite(dense, folder / "dense32.tflite", batch_size=32)
    report = export.verify(path, dense, batch_sizes=(1, 32, 33))
    assert report.ok and report.max_abs_error <= 1e-5, str(report)


def test_a_model_without_a_prior_needs_calibration(autoencoder, tmp_path):
    with pytest.raises(ValueError, match="has no prior .*give `calibration`"):
        export.tflite(autoencoder, tmp_path / "ae.tflite", "int8")
    rows = np.random.default_rng(0).random((20, 12), np.float32)
    codes = autoencoder.encode(rows)["z_mean"]
    np.testing.assert_allclose(decoder_inputs(autoencoder, rows)["z"], codes, atol=1e-6)
    np.testing.assert_array_equal(decoder_inputs(autoencoder, np.asarray(codes))["z"], codes)


def test_calibration_mixes_posterior_samples_and_prior_draws(dense, images):
    z = decoder_inputs(dense, images)["z"]
    assert z.shape == (80, 2)
    posterior = dense.posterior.sample(dense.encode(images), seed=0)
    np.testing.assert_allclose(z[::2], posterior, atol=1e-6)
    drawn = decoder_inputs(dense, None)["z"]
    assert drawn.shape == (256, 2)
    assert abs(drawn.mean()) < 0.2 and abs(drawn.std() - 1) < 0.15
    np.testing.assert_array_equal(decoder_inputs(dense, drawn)["z"], drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "flaot16"}, "Unknown precision 'flaot16'. Did you mean 'float16'"),
        ({"batch_size": 0}, "`batch_size` is a positive integer"),
        ({"batch_size": 1.5}, "`batch_size` is a positive integer"),
        ({"calibration": np.zeros((4, 2))}, "Only precision 'int8' is calibrated"),
        ({"precision": "int8", "calibration": np.zeros((4, 3))}, r"shape \(4, 3\); it is images"),
        ({"precision": "int8", "calibration": np.zeros((0, 2))}, r"shape \(0, 2\)"),
        ({"precision": "int8", "calibration": np.zeros(2)}, r"shape \(2,\)"),
        ({"precision": "int8", "calibration": np.full((4, 2), np.nan)}, "NaN"),
        ({"precision": "int8", "calibration": np.full((4, 8, 8, 1), 255.0)}, "Divide images"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(dense, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export.tflite(dense, tmp_path / "x.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_named(dense, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        export.tflite(dense, tmp_path / "file" / "x.tflite")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        export.tflite(dense, tmp_path)


def test_a_disk_that_fills_up_is_named(dense, tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.tflite"
    path.write_text("older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OSError, match="is full .* and .*x.tflite was not written"):
            export.tflite(dense, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_models_and_signatures_that_are_not_there_are_named(dense, file, tmp_path):
    encoder = keras.Sequential([keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="not built"):
        export.tflite(
            kvae.VAE(encoder, dense.decoder, latent_dim=2, name="new"), tmp_path / "x.tflite"
        )
    call = Call("decode", {"z": np.zeros((1, 4), np.float32)})
    result = child.request(RUNTIME, file("float32"), [call], 60).results[0]
    assert "no signature 'decode'. It has: serving_default" in result.error


@pytest.mark.slow
def test_weights_keep_their_bits_where_half_of_them_are_too_few(dense, tmp_path, monkeypatch):
    """Large logits, as of a trained model: the rounding of the weights shows in the image."""
    large = keras.initializers.RandomNormal(stddev=3.0, seed=1)
    model = with_decoder(
        dense,
        keras.layers.Dense(20, "tanh", kernel_initializer=large),
        keras.layers.Dense(64, kernel_initializer=large, bias_initializer=large),
    )
    z = np.asarray(model.prior.sample(500, seed=1))

    def export_and_run(name):
        path = export.tflite(model, tmp_path / name, "float16", batch_size=64)
        call = Call("serving_default", {"z": z})
        answer = child.request(RUNTIME, path, [call], 60)
        assert answer.facts["precision"] == "float16"
        image = answer.results[0].outputs["image"]
        return path.stat().st_size, np.abs(image - np.asarray(model.decode(z))).max()

    size, error = export_and_run("some.tflite")
    monkeypatch.setattr("export.writers.tflite.conversion._HALF_ERROR", 1.0)
    smallest, largest = export_and_run("all.tflite")
    assert error < 1.5e-3 < largest
    # Two of four bytes of the first layer (60 numbers) and the biases came back.
    assert smallest < size < smallest + 2 * (20 * 64 + 64 + 60)


def with_decoder(dense, *layers):
    decoder = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Reshape((8, 8, 1))])
    return kvae.VAE(dense.encoder, decoder, latent_dim=2)


def test_half_precision_decoders_are_refused_with_advice(dense, tmp_path):
    model = with_decoder(dense, keras.layers.Dense(64, dtype="mixed_bfloat16", name="half"))
    with pytest.raises(ValueError, match=r"half precision \('half'\).*set_dtype_policy"):
        export.tflite(model, tmp_path / "x.tflite")


class Betainc(keras.layers.Layer):
    def call(self, x):
        x = tf.sigmoid(x)
        return tf.math.betainc(x, x, x)


def test_an_operator_that_does_not_convert_is_named(dense, tmp_path):
    model = with_decoder(dense, keras.layers.Dense(64), Betainc())
    path = tmp_path / "x.tflite"
    path.write_text("older")
    with pytest.raises(ValueError, match="does not convert .*Betainc"):
        export.tflite(model, path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def crashing(monkeypatch):
    """The converter's process crashes, as TensorFlow 2.21's does on an LSTM."""
    request = child.request

    def crash(module, *arguments, **options):
        if module == "export.writers.tflite.converter":
            return child.Answer([], {}, failure="the process crashed (SIGSEGV)")
        return request(module, *arguments, **options)

    monkeypatch.setattr(child, "request", crash)


def test_a_crash_of_the_converter_is_an_error_with_advice(dense, tmp_path, crashing):
    with pytest.raises(ValueError, match=r"crashed \(SIGSEGV\) while calibrating .*unroll=True"):
        export.tflite(dense, tmp_path / "x.tflite", "int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_calibration_that_crashes_does_not_take_this_process_along(dense, tmp_path):
    model = with_decoder(
        dense, keras.layers.RepeatVector(8), keras.layers.LSTM(8, return_sequences=True)
    )
    try:
        path = export.tflite(model, tmp_path / "x.tflite", "int8")
    except ValueError as error:
        # TensorFlow 2.21 crashes here.
        assert "unroll=True" in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert export.verify(path, model).ok


def test_a_file_without_weights_is_not_written(dense, tmp_path, monkeypatch):
    # What `from_concrete_functions([f], keras_model)` does: variables that nobody fills.
    def lose_weights(path, precision, signature, z=None):
        loaded = tf.saved_model.load(path)
        function = loaded.signatures[signature]
        broken = tf.lite.TFLiteConverter.from_concrete_functions([function], dense)
        broken.experimental_enable_resource_variables = True
        return broken.convert()

    monkeypatch.setattr(converter, "convert", lose_weights)
    with pytest.raises(ValueError, match="does not run, so .* was not written"):
        export.tflite(dense, tmp_path / "x.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_named(file, tmp_path, share):
    data = file("float32").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match="cannot be loaded: .*export the model again"):
        export.verify(path)


def test_a_changed_bit_anywhere_is_noticed(file, tmp_path):
    data, path = file("float32").read_bytes(), tmp_path / "flipped.tflite"
    rng = np.random.default_rng(0)
    places = {8, 30, len(data) - 1, data.find(b"kvae.json"), data.find(b"kvae.sha256")}
    places |= {data.rfind(b"kvae.sha256:") + offset for offset in (0, 11, 12, 40, 75)}
    places |= set(rng.integers(8, len(data), size=100).tolist())
    for place in places:
        changed = bytes([data[place] ^ 1 << int(rng.integers(8))])
        path.write_bytes(data[:place] + changed + data[place + 1 :])
        with pytest.raises(ValueError, match="cut off or altered: its SHA-256 differs"):
            litert.Model(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match="flipped.tflite cannot be loaded: .*SHA-256 differs"):
        export.verify(path)
    path.write_bytes(data)
    litert.Model(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_interpreters_run_a_file_with_a_checksum(file, conv):
    from ai_edge_litert.interpreter import Interpreter

    assert b"kvae.sha256:" in file("float32").read_bytes()
    z = np.random.default_rng(1).normal(size=(1, 4)).astype("float32")
    for kind in (Interpreter, tf.lite.Interpreter):
        image = kind(str(file("float32"))).get_signature_runner("serving_default")(z=z)["image"]
        np.testing.assert_allclose(image, conv.decode(z), atol=1e-5)


def test_a_file_without_a_checksum_is_not_checked(file, tmp_path):
    content = flatbuffer.read(file("float32").read_bytes())
    content.metadata = [entry for entry in content.metadata if b"kvae" not in entry.name]
    content.buffers = content.buffers[:-2]  # The two of the metadata.
    path = tmp_path / "x.tflite"
    path.write_bytes(flatbuffer.pack(content))
    assert litert.Model(path).metadata == {}


def test_a_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "notes.tflite"
    path.write_text("not a model at all")
    with pytest.raises(ValueError, match="not a TFLite file"):
        export.verify(path)
