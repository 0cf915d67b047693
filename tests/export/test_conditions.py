"""The conditions of a model are inputs of its exports, by name, and mean what they mean to it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import export
import kvae
from export import conditions as told
from export.graphs import endpoints
from export.signatures import TensorInfo
from export.writers import onnx as writer

NAN = np.nan


@pytest.fixture(scope="module")
def model():
    conditions = kvae.conditions.Conditions(
        {
            "digit": 3,
            "scale": kvae.conditions.Real(2.0, 0.5),
            "hour": "periodic:24",
            "tags": ("multi", 2),
        }
    )
    keras.utils.set_random_seed(0)
    x, z, y = keras.Input((4,)), keras.Input((2,)), keras.Input((conditions.size,))
    vae = kvae.VAE(
        keras.Model([x, y], layers.Dense(8, "tanh")(layers.Concatenate()([x, y]))),
        keras.Model([z, y], layers.Dense(4)(layers.Concatenate()([z, y]))),
        latent_dim=2,
        conditions=conditions,
    )
    unknown = np.random.default_rng(0).normal(size=conditions.size)
    vae.conditions.unknown.assign(unknown)
    return vae


def test_a_request_is_the_record_that_it_was_made_of(model):
    record = model.conditions.record(
        {"digit": [2, -1], "scale": [NAN, 2.5], "hour": [3.0, NAN], "tags": [[0, 1], [NAN, NAN]]}
    )
    values = told.values_of(model, record)
    for name, item in told.inputs_of(model).items():
        assert values[name].dtype == item.dtype
        assert np.isfinite(values[name]).all()  # As JSON has it.
    np.testing.assert_array_equal(told.record_of(model, values, record), record)


def test_a_signature_computes_with_the_conditions_and_what_is_left_out_is_unknown(model, eagerly):
    endpoint = endpoints.endpoints(model)["generate"]
    names = [spec.name for spec in endpoint.inputs]
    assert set(endpoint.defaults) == {"temperature", "digit", "scale", "hour", "tags"}
    seeds = np.array([1, 2], np.int64)
    given = {"seed": seeds, "digit": np.array([1, -1]), "scale": np.float32([2.0, 3.0])}
    values = [
        tf.constant(given.get(name, [endpoint.defaults.get(name)]), spec.dtype)
        for name, spec in zip(names, endpoint.inputs, strict=True)
    ]
    found = endpoint.function(*values)
    label = {"digit": [1, -1], "scale": [2.0, 3.0]}
    for row, seed in enumerate(seeds):
        own = {name: value[row] for name, value in label.items()}
        np.testing.assert_allclose(
            found["image"][row], model.sample(1, int(seed), label=own)[0], atol=1e-6
        )


def test_a_graph_refuses_values_in_the_words_of_the_condition(model):
    endpoint = endpoints.endpoints(model)["serving_default"]
    known = {"z": np.zeros((1, 2)), "tags": [[0, 1]], "scale": [1.0], "hour": [1.0], "digit": [3]}
    values = [tf.constant(known[spec.name], spec.dtype) for spec in endpoint.inputs]
    with pytest.raises(tf.errors.InvalidArgumentError, match="`digit` is a class number from 0"):
        endpoint.function(*values)


def test_a_client_sends_what_a_dict_says():
    known = {
        "digit": TensorInfo("int64", (None,)),
        "scale": TensorInfo("float32", (None,)),
        "tags": TensorInfo("int64", (None, 2)),
    }
    sent = told.sent_values({"digit": 2, "scale": [1.5, NAN]}, known, 2)
    np.testing.assert_array_equal(sent["digit"], [2, 2])
    np.testing.assert_array_equal(sent["scale"], np.array([1.5, told.UNKNOWN]))
    np.testing.assert_array_equal(sent["tags"], -np.ones((2, 2)))
    with pytest.raises(ValueError, match="Unknown condition 'digt'. Did you mean 'digit'"):
        told.sent_values({"digt": 2}, known, 2)
    with pytest.raises(ValueError, match="a dict from the names of conditions"):
        told.sent_values(3, known, 2)


def test_a_name_of_another_input_is_refused(model):
    kinds = {"seed": 3, "a": "real", "b": "real", "c": ("multi", 2)}
    with pytest.warns(UserWarning, match="'seed' has the name of an input"):  # Told at once.
        model = model.from_config({**model.get_config(), "conditions": kinds})
    with pytest.raises(ValueError, match="'seed' of .* has the name of an input"):
        endpoints.endpoints(model)


def test_the_onnx_converter_is_told_of_nan_and_of_log1p_and_expm1(model):
    """Of its own it multiplies what is not chosen by 0, which leaves NaN of unknown conditions."""
    pytest.importorskip("tf2onnx")
    onnx = pytest.importorskip("onnx")
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    inputs = [tf.TensorSpec((None,), tf.float32, name) for name in ("known", "value")]

    def function(known, value):
        small = {
            "log": tf.math.log1p(known),
            "exp": tf.math.expm1(tf.where(known > 0.5, 1e-4, float("-inf"))),
        }
        return {"image": tf.where(known > 0.5, value, 7.0), **small}

    endpoint = endpoints.Endpoint(tuple(inputs), function)
    content = onnx.load_from_string(writer._convert(model, endpoint, "serving_default", 17, None))
    given = {"known": np.float32([1, 0]), "value": np.float32([3, NAN])}
    image, log, exp = evaluator(content).run(["image", "log", "exp"], given)
    np.testing.assert_array_equal(image, [3, 7])
    np.testing.assert_allclose(log, np.log([2, 1]), rtol=1e-6)
    np.testing.assert_allclose(exp, [np.expm1(1e-4), -1], rtol=1e-6)


# Longer: TensorFlow's C++ runtime, ONNX Runtime and LiteRT compute with the files.
@pytest.mark.slow
@pytest.mark.parametrize("make", ["saved_model", "decoder.onnx", "encoder.onnx", "m.tflite"])
def test_files_compute_with_the_conditions(model, make, tmp_path):
    if make == "saved_model":
        path = export.saved_model(model, tmp_path / "model")
    elif make == "m.tflite":
        path = export.tflite(model, tmp_path / make, parts="both")
    else:
        path = export.onnx(model, tmp_path / make, part=make.partition(".")[0])
    report = export.verify(path, model)
    assert report.ok, str(report)
