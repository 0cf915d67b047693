"""TFLite files of more than a decoder: encoders, priors, what the file says of itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import export
import kvae
import zoo
from export.files import flatbuffer
from export.runtimes import litert
from export.writers.tflite import accelerator
from kvae.utils import keras_internals


@pytest.fixture(scope="module")
def clusters(dense):
    """The dense model with a mixture of Gaussians as its prior."""
    prior = kvae.priors.GaussianMixture(3, seed=4)
    return dense.with_prior(prior)


# Each calibration is a process of its own with a TensorFlow to start.
@pytest.fixture(scope="module", params=["float16", pytest.param("int8", marks=pytest.mark.slow)])
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def both(clusters, images, precision, tmp_path_factory):
    """Encoder, decoder and prior, with the card of a zoo model."""
    path = tmp_path_factory.mktemp("parts") / "both.tflite"
    card = zoo.card("dense_vae.digits")
    samples = images if precision == "int8" else None
    return export.tflite(
        clusters, path, precision, batch_size=2, calibration=samples, parts="both", card=card
    )


def test_encoder_decoder_and_prior_in_one_file(both, clusters, precision):
    report = export.verify(both, clusters, batch_sizes=(1, 5))
    assert report.ok and report.precision == precision, str(report)
    compared = {(row.signature, row.output) for row in report.rows if row.max_abs_error is not None}
    assert compared == {
        ("serving_default", "image"),
        ("encode", "z_mean"),
        ("encode", "z_log_var"),
        ("prior", "z"),
    }
    # The prior is in 32 bits: which component is drawn would be a matter of rounding.
    assert max(row.max_abs_error for row in report.rows if row.signature == "prior") < 1e-5


def test_base_noise_becomes_draws_from_the_prior(both, clusters):
    file = litert.Model(both)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(900, 2)).astype("float32")
    uniform = rng.random((900, 1)).astype("float32")
    z = file.run("prior", {"noise": noise, "component_uniform": uniform})["z"]
    # Three components of equal weight and variance 1.
    means = np.asarray(clusters.prior.means)
    error = np.abs(z.mean(axis=0) - means.mean(axis=0))
    spread = np.sqrt(1.0 + means.var(axis=0))
    assert (error < 4 * spread / np.sqrt(len(z))).all()
    image = file.run("serving_default", {"z": z[:3]})["image"]
    assert np.abs(image - np.asarray(clusters.decode(z[:3]))).max() < 0.1


def test_the_file_says_what_it_is(both, precision):
    facts = litert.Model(both).metadata
    assert facts["library"] == "kvae" and facts["precision"] == precision
    assert (facts["latent_dim"], facts["event_shape"]) == (2, [8, 8, 1])
    assert (facts["prior"], facts["input_range"]) == ("GaussianMixture", [0.0, 1.0])
    card = zoo.card("dense_vae.digits")
    assert facts["name"] == card.name and facts["license"] == card.license
    assert facts["preprocessing"]["binarize"] == card.preprocessing["binarize"]
    signatures = facts["signatures"]
    assert signatures["prior"]["inputs"] == {"noise": [2, 2], "component_uniform": [2, 1]}
    assert {name: item["precision"] for name, item in signatures.items()} == {
        "serving_default": precision,
        "encode": precision,
        "prior": "float32",
    }
    assert signatures["serving_default"]["gpu"] == []


def test_a_standard_gaussian_needs_no_signature(dense, tmp_path):
    path = export.tflite(dense, tmp_path / "encoder.tflite", parts="encoder")
    assert set(litert.Model(path).signatures) == {"encode"}
    assert export.verify(path, dense, batch_sizes=(3,)).ok


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": "decoders"}, "Unknown parts 'decoders'. Did you mean 'decoder'"),
        ({"parts": "both", "precision": "int8"}, "int8' of an encoder needs images"),
        (
            {"parts": "encoder", "precision": "int8", "calibration": np.zeros((4, 2))},
            r"a few hundred of shape \(8, 8, 1\)",
        ),
    ],
)
def test_wrong_arguments_are_named(dense, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export.tflite(dense, tmp_path / "x.tflite", **arguments)
    assert list(tmp_path.iterdir()) == []


class Betainc(kvae.priors.StandardNormal):
    def transform(self, noise, temperature=1.0):
        x = tf.sigmoid(noise["noise"])
        return tf.math.betainc(x, x, x)


def test_a_prior_that_does_not_convert_is_named_and_can_be_left_out(dense, tmp_path):
    model = dense.with_prior(Betainc())
    path = tmp_path / "x.tflite"
    with pytest.raises(ValueError, match=r"\(Betainc\) does not convert.*Betainc.*prior=False"):
        export.tflite(model, path)
    path = export.tflite(model, path, prior=False)
    assert set(litert.Model(path).signatures) == {"serving_default"}


# The GPU accelerator.


def gpu(path) -> list[str]:
    return litert.Model(path).metadata["signatures"]["serving_default"]["gpu"]


@pytest.fixture(scope="module")
def blocks():
    """A decoder of everything that is rewritten, with numbers in its normalisations."""
    keras.utils.set_random_seed(6)
    inner = keras.Sequential(
        [
            keras.Input((4, 4, 6)),
            layers.GroupNormalization(3, gamma_initializer=keras.initializers.Constant(0.7)),
            layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu"),
            layers.UpSampling2D((2, 1)),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4 * 4 * 6),
            layers.Reshape((4, 4, 6)),
            inner,
            layers.Conv2DTranspose(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(moving_mean_initializer="random_normal"),
            layers.ReLU(6.0),
            layers.GroupNormalization(2, beta_initializer="random_normal"),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )
    encoder = keras.Sequential([keras.Input((16, 8, 1)), layers.Flatten(), layers.Dense(8)])
    return kvae.VAE(encoder, decoder, latent_dim=4, likelihood="gaussian", name="blocks")


@pytest.mark.parametrize("precision", ["float32", pytest.param("int8", marks=pytest.mark.slow)])
def test_blocks_that_the_gpu_rejects_are_written_otherwise(blocks, tmp_path, precision):
    z = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    before = np.asarray(blocks.decode(z))
    samples = z if precision == "int8" else None
    path = export.tflite(blocks, tmp_path / "x.tflite", precision, calibration=samples)
    assert gpu(path) == []
    found = litert.Model(path)
    image = found.run("serving_default", {"z": z})["image"]
    assert {"RELU", "RELU6", "RESIZE_NEAREST_NEIGHBOR"} <= set(found.operators)
    error = np.abs(image - before)
    if precision == "float32":
        assert error.max() < 1e-5
    else:
        assert error.mean() < 0.03 * np.ptp(before)
    # The model itself is as it was.
    np.testing.assert_array_equal(blocks.decode(z), before)
    assert not any("call" in vars(layer) for layer in keras_internals.flat_layers(blocks.decoder))


@pytest.mark.slow
def test_without_the_rewriting_the_list_of_operators_would_tell(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "split_activations", lambda content: 0)
    monkeypatch.setattr(accelerator, "_grouped", lambda layer: None)
    monkeypatch.setattr(accelerator, "_nearest", lambda layer: None)
    found = gpu(export.tflite(blocks, tmp_path / "x.tflite"))
    assert "TRANSPOSE_CONV has version 4, the GPU is known to run up to 3" in found
    assert any("has 5 axes, the GPU takes 4" in line for line in found)


def test_an_unknown_operator_and_a_free_size_are_obstacles(dense, tmp_path):
    content = flatbuffer.read(export.tflite(dense, tmp_path / "x.tflite").read_bytes())
    assert accelerator.obstacles(content) == []
    content.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 2], np.int32)
    assert "is not fixed" in accelerator.obstacles(content)[0]
    assert accelerator._operators({"RELU": 1, "WHILE": 1}) == [
        "WHILE is not among the operators that the GPU is known to run"
    ]


# Each kind of decoder in the zoo; the others are made of the same layers.
ZOO = {
    "conv_vae": {"event_shape": (15, 16, 1), "filters": (4, 4), "hidden": 8},
    "gated_vae": {"event_shape": (8, 8, 1), "hidden": (8,)},
    "tabular_vae": {"columns": [("gaussian",), ("categorical", 3), ("gaussian",), ("poisson",)]},
    "timeseries_vae": {"event_shape": (15, 2), "filters": (4, 4), "hidden": 8},
}


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.default("conv_vae")
def test_decoders_of_the_zoo_have_operators_of_the_gpu(name, tmp_path):
    arguments = dict(ZOO[name])
    if "columns" in arguments:
        arguments["event_shape"] = (len(arguments["columns"]),)
    path = export.tflite(zoo.build(name, **arguments), tmp_path / "x.tflite")
    assert gpu(path) == []


# In 32 bits, with the numbers of the accelerator itself: test_gpu.py.
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("name", sorted(zoo.list_architectures()))
def test_every_decoder_of_the_zoo_has_operators_of_the_gpu(name, precision, tmp_path):
    shapes = {"tabular_vae": (31,), "timeseries_vae": (64, 1), "sequence_vae": (16, 1)}
    shape = {**shapes, "symbol_vae": (8, 1)}.get(name, (28, 28, 1))
    model = zoo.build(name, event_shape=shape)
    samples = None
    if precision == "int8":
        samples = np.random.default_rng(0).normal(size=(256, model.latent_dim))
    path = export.tflite(model, tmp_path / "x.tflite", precision, calibration=samples)
    # An LSTM in eight bits makes the accelerator itself crash; symbols are chosen one by one.
    refused = name == "symbol_vae" or (name == "lstm_autoencoder" and precision == "int8")
    assert bool(gpu(path)) == refused
    assert export.verify(path, model).ok
