"""Scalars of NumPy and TensorFlow wherever a number of Python is taken."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
import zoo
from kvae import likelihoods, objectives, posteriors, priors, schedules
from kvae.parts import Part
from kvae.utils.arguments import plain


def of_numpy(value):
    """The same settings with NumPy's scalars, down to the numbers in lists."""
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, (list, tuple)):
        return type(value)(of_numpy(item) for item in value)
    return value


SETTINGS = {
    "latent_dim": 4,
    "num_classes": 3,
    "columns": [["categorical", 5], ["gaussian"]],
    "shape": "linear",
}
PARTS = {
    f"{module.__name__.split('.')[-1]}: {name}": kind
    for module in (likelihoods, posteriors, priors, objectives)
    for name, kind in module.REGISTER.items()
}


def test_plain():
    values = [
        np.int8(3),
        np.float64(0.5),
        np.bool_(True),
        np.array(3),
        tf.constant(3),
        tf.Variable(0.5),
        (np.int64(1), [np.int64(2), {"a": np.int64(3)}]),
        "a",
        None,
        7,
        np.str_("b"),
    ]
    found = [plain(value) for value in values]
    assert found == [3, 0.5, True, 3, 3, 0.5, (1, [2, {"a": 3}]), "a", None, 7, "b"]
    assert all(type(value).__module__ == "builtins" for value in found)
    array = np.zeros(3)
    assert plain(array) is array


@pytest.mark.parametrize("name", PARTS)
def test_the_configuration_of_every_part_is_json(name):
    kind = PARTS[name]
    own = {"columns": SETTINGS["columns"]} if kind is kvae.likelihoods.MixedTabular else {}
    wanted = kind(**own).get_config()
    settings = {
        key: value for key, value in wanted.items() if key not in ("name", "trainable", "dtype")
    }
    made = kind(**of_numpy(settings))
    found = made.get_config()
    json.dumps(found)
    assert {key: found[key] for key in settings} == settings
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert {key: again.get_config()[key] for key in settings} == settings


@pytest.mark.parametrize(
    "make",
    [
        lambda n: schedules.Linear(n(0.0), n(1.0), np.int64(100), delay=np.int32(5)),
        lambda n: schedules.Sigmoid(np.int64(50), n(4.0)),
        lambda n: schedules.Cyclical(np.int64(20), n(0.5), cycles=np.int64(2)),
    ],
)
def test_schedules(make):
    found, wanted = make(np.float32), make(float)
    assert json.dumps(found.get_config()) == json.dumps(wanted.get_config())
    assert float(found(7)) == float(wanted(7))


@pytest.mark.parametrize("number", [np.float32, np.float64, np.array, tf.constant])
def test_beta(number):
    objective = kvae.objectives.ELBO(beta=number(2.0))
    assert objective.beta == 2.0 and type(objective.beta) is float


@pytest.fixture(scope="module")
def vae():
    settings = {
        "latent_dim": np.int64(2),
        "event_shape": tuple(np.array([4, 4, 1])),
        "hidden": (np.int32(8),),
        "num_classes": np.int64(3),
        "seed": np.uint8(5),
        "objective": kvae.objectives.ELBO(beta=np.float32(0.5)),
        "likelihood": kvae.likelihoods.DiscretizedLogistic(levels=np.int64(17)),
    }
    with kvae.random.initial_weights(0):
        return zoo.build("dense_vae", **settings)


def test_a_model_of_numpy_scalars_comes_back(vae, tmp_path, eagerly):
    json.dumps(vae.get_config()["latent_dim"]), json.dumps(vae.get_config()["seed"])
    x = np.random.default_rng(0).integers(0, 17, (6, 4, 4, 1)) / 16
    label = np.arange(6) % 3
    vae.save(tmp_path / "a.keras")
    again = kvae.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(again.encode(x, label)["z_mean"], vae.encode(x, label)["z_mean"])
    assert (again.latent_dim, again.seed, again.objective.beta) == (2, 5, 0.5)


def test_the_models_constructor(vae):
    made = kvae.VAE(
        vae.encoder,
        vae.decoder,
        latent_dim=np.array(2),
        num_classes=tf.constant(3),
        seed=np.int64(1),
        likelihood=kvae.likelihoods.DiscretizedLogistic(levels=17),
    )
    for name in ("latent_dim", "num_classes", "seed"):
        assert type(getattr(made, name)) is int


def test_methods(vae, eagerly):
    x = np.random.default_rng(0).integers(0, 17, (6, 4, 4, 1)) / 16
    label, one = np.arange(6) % 3, np.int64(1)
    pairs = [
        (lambda n: vae.encode(x, label, batch_size=n(4))["z_mean"]),
        (lambda n: vae.reconstruct(x, label, seed=n(3), batch_size=n(4))),
        (lambda n: vae.sample(n(5), seed=n(3), label=n(1), batch_size=n(2))),
        (lambda n: vae.log_prob(x, n(6), batch_size=n(4), seed=n(2), label=label).value),
    ]
    for call in pairs:
        np.testing.assert_array_equal(call(np.int64), call(int))
    np.testing.assert_array_equal(
        vae.sample(2, seed=0, label=0, temperature=np.float32(0.5)),
        vae.sample(2, seed=0, label=0, temperature=0.5),
    )
    vae.compile("sgd", run_eagerly=True)
    data = kvae.datasets.Dataset(x, label, seed=one)
    vae.fit(data, batch_size=np.int64(4), epochs=one, verbose=0)
    found = vae.evaluate(data, batch_size=np.int64(4), verbose=0, return_dict=True)
    assert found == vae.evaluate(data, batch_size=4, verbose=0, return_dict=True)


def test_samplers_and_results_of_numpy_scalars(linear_gaussian, tmp_path, eagerly):
    vae, n = linear_gaussian.vae(), np.int64
    x = linear_gaussian.draw(40, seed=0)
    for sampler in (
        kvae.samplers.GaussianMixture(num_components=n(2)),
        kvae.samplers.KMeans(n(2)),
    ):
        fitted = sampler.fit(vae, x, num_samples=n(1), seed=n(3), batch_size=n(16))
        json.dumps(fitted.as_prior().get_config())
        assert fitted.sample(n(3), seed=n(1)).shape == (3, 6)
    result = kvae.evaluation.evaluate(
        vae, kvae.datasets.Dataset(x), num_samples=n(4), batch_size=n(16), seed=n(0)
    )
    assert json.loads(json.dumps(result.to_dict()))["nll"]["num_samples"] == 4
    quality = kvae.evaluation.sample_quality(
        vae, kvae.datasets.Dataset(x), n(20), seed=n(1), neighbors=n(3)
    )
    assert json.loads(json.dumps(quality.to_dict()))["settings"]["n"] == 20


# Whole numbers are integers: what is a float is not one, even where it has no fraction.


@pytest.mark.parametrize("value", [2.0, np.float32(2.0), 2.5, True, "2"])
def test_a_float_is_no_whole_number(vae, value):
    networks = {"likelihood": kvae.likelihoods.DiscretizedLogistic(levels=17), "num_classes": 3}
    for name, make in {
        "latent_dim": lambda: kvae.VAE(vae.encoder, vae.decoder, latent_dim=value, **networks),
        "num_components": lambda: kvae.priors.Vamp(value),
        "num_samples": lambda: kvae.objectives.IWAE(value),
        "levels": lambda: kvae.likelihoods.DiscretizedLogistic(value),
        "rank": lambda: kvae.posteriors.LowRank(rank=value),
        "seed": lambda: kvae.VAE(vae.encoder, vae.decoder, latent_dim=2, seed=value, **networks),
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` is a whole number, not"):
            make()


def test_parts_of_others_keep_their_arguments():
    """Keras writes the configuration of a class without `get_config` from its constructor."""

    class Own(Part):
        def __init__(self, size, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.size = size

    config = Own(3).get_config()
    assert config["size"] == 3
    with pytest.raises(TypeError, match="size"):
        Own()
