"""Models of conditions: a class is a condition, unknown values are learned, all data are taken."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import kvae
from kvae.cli import labels
from kvae.conditions import Conditions
from kvae.datasets import Dataset

EVENT, K, D = (8, 8, 1), 3, 2
KINDS = {"digit": K, "scale": "real"}


@pytest.fixture(scope="session")
def make_told(make_vae):
    """`make_told(size, **parts)`: networks whose second input has `size` numbers."""

    def make(size, **parts):
        keras.utils.set_random_seed(4)
        x, z, y = keras.Input(EVENT), keras.Input((D,)), keras.Input((size,))
        features = layers.Concatenate()([layers.Flatten()(x), y])
        features = layers.Dense(16, "relu")(features)
        out = layers.Dense(64)(layers.Concatenate()([z, y]))
        return make_vae(
            encoder=keras.Model([x, y], features),
            decoder=keras.Model([z, y], layers.Reshape(EVENT)(out)),
            optimizer=keras.optimizers.SGD(1e-3),
            eager=True,
            **parts,
        )

    return make


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((24, *EVENT)).astype(np.float32)


@pytest.fixture(scope="module")
def told():
    scale = np.random.default_rng(1).normal(3.0, 2.0, 24)
    scale[::5] = np.nan
    return {"digit": np.arange(24) % K, "scale": scale}


@pytest.fixture(scope="module")
def vae(make_told, x, told):
    """Has seen the data once, and is not trained in any test."""
    vae = make_told(K + 2, conditions=KINDS)
    vae.fit((x, told), epochs=1, batch_size=24, verbose=0)
    return vae


def test_classes_are_the_short_form_of_one_condition(make_told, x, told):
    classes, condition = make_told(K, num_classes=K), make_told(K, conditions={"label": K})
    label = told["digit"]
    np.testing.assert_array_equal(
        classes.reconstruct(x, label, seed=1), condition.reconstruct(x, {"label": label}, seed=1)
    )
    np.testing.assert_array_equal(
        classes.log_prob(x, label=label, num_samples=3).value,
        condition.log_prob(x, label=label, num_samples=3).value,
    )
    for told in (np.arange(K), tf.range(K)):  # As many rows as there are classes.
        np.testing.assert_array_equal(
            classes.sample(K, seed=1, label=told), condition.sample(K, seed=1, label=told)
        )
    assert "conditions" not in classes.get_config()
    with pytest.raises(ValueError, match="short form"):
        make_told(K, num_classes=K, conditions={"label": K})


def test_the_unknown_learns_from_the_rows_that_do_not_know(make_told, x, told):
    vae = make_told(K + 2, conditions={"digit": K, "scale": kvae.conditions.Real(3.0, 2.0)})
    before = vae.conditions.unknown.numpy()
    vae.train_on_batch((x[:4], {"digit": told["digit"][:4], "scale": np.ones(4)}))
    np.testing.assert_array_equal(vae.conditions.unknown, before)
    vae.train_on_batch((x[:4], {"digit": told["digit"][:4]}))
    after = vae.conditions.unknown.numpy()
    np.testing.assert_array_equal(after[:K], before[:K])
    assert (after[K:] != before[K:]).all()
    vae.freeze("decoder")
    vae.train_on_batch((x[:4], {}))
    np.testing.assert_array_equal(vae.conditions.unknown, after)


def test_a_share_is_hidden_in_training_and_nowhere_else(make_told, x, told):
    kinds = {"digit": K, "scale": kvae.conditions.Real(3.0, 2.0)}
    told = {**told, "scale": np.ones(24)}
    sure = make_told(K + 2, conditions=kinds)
    unsure = make_told(K + 2, conditions=Conditions(kinds, unknown_rate=0.5))
    np.testing.assert_array_equal(sure.encode(x, told)["z_mean"], unsure.encode(x, told)["z_mean"])
    figures = [vae.evaluate((x, told), verbose=0, return_dict=True) for vae in (sure, unsure)]
    assert figures[0] == figures[1]
    before = unsure.conditions.unknown.numpy()
    for vae in (sure, unsure):
        vae.train_on_batch((x, told))
    np.testing.assert_array_equal(sure.conditions.unknown, before)
    assert (unsure.conditions.unknown.numpy() != before).all()


def test_statistics_come_with_the_first_training_and_stay(vae, x, told, tmp_path):
    known = told["scale"][~np.isnan(told["scale"])]
    np.testing.assert_allclose(
        vae.conditions.kinds["scale"].statistics, (known.mean(), known.std()), rtol=1e-6
    )
    vae.save(tmp_path / "told.keras")
    loaded = kvae.load_model(tmp_path / "told.keras")
    np.testing.assert_array_equal(loaded.encode(x, told)["z_mean"], vae.encode(x, told)["z_mean"])
    label = {"digit": 1, "scale": 2.5}
    np.testing.assert_array_equal(loaded.sample(2, 7, label=label), vae.sample(2, 7, label=label))


def _in_tensors(x, told):
    return tf.data.Dataset.from_tensor_slices(((x, told),)).batch(24)


def _in_a_dict(x, told):
    return tf.data.Dataset.from_tensor_slices({"image": x, **told}).batch(24)


def _in_turn(x, told):
    yield x, told


@pytest.mark.default("Dataset", "_in_a_dict")
@pytest.mark.parametrize("form", [Dataset, _in_tensors, _in_a_dict, _in_turn])
def test_data_of_every_kind_carry_conditions(vae, x, told, form):
    wanted = vae.evaluate((x, told), batch_size=24, verbose=0)
    options = {"batch_size": 24} if form is Dataset else {}
    given = form(x, told)
    found = vae.evaluate(given, verbose=0, **options)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    if form is not _in_turn:
        np.testing.assert_array_equal(vae.encode(given)["z_mean"], vae.encode(x, told)["z_mean"])


@pytest.mark.parametrize("values", [{"digit": [5] * 24}, {"scale": [np.inf] * 24}])
def test_a_batch_that_is_wrong_teaches_nothing(vae, x, values):
    before = vae.get_weights()
    with pytest.raises(ValueError, match="`digit` has values|infinite"):
        vae.fit(_in_tensors(x, values), verbose=0)
    for one, other in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_bad_calls_are_answered_in_one_line(vae, make_told, x, told):
    for call, words in (
        (lambda: vae.fit(x, verbose=0), "needs its conditions"),
        (lambda: vae.sample(3), "needs its conditions"),
        (lambda: vae.sample(3, label={"digit": [1, 2]}), "`digit` has 2 rows for 3 examples"),
        (lambda: vae.encode(x, {"scale": told["scale"][:3]}), "`scale` has 3 rows for 24"),
        (lambda: make_told(K, conditions=KINDS), r"these conditions have \(None, 5\)"),
        (
            lambda: make_told(K + 2, conditions=KINDS).fit(_in_tensors(x, told), verbose=0),
            r"conditions.adapt\({'scale': values}\)",
        ),
        (
            lambda: make_told(K + 2, conditions=KINDS).train_on_batch((x, told)),
            r"conditions.adapt\({'scale': values}\)",
        ),
    ):
        with pytest.raises(ValueError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_the_command_line_reads_conditions(vae, make_told):
    assert labels.label_of(vae, "digit=1,scale=2.5", "m") == {"digit": 1, "scale": 2.5}
    assert "NAME=VALUE,... of digit, scale" in str(labels.label_missing(vae, "m"))
    with pytest.raises(ValueError, match="Unknown condition 'digt'"):
        labels.label_of(vae, "digt=1", "m")


def test_pictures_say_what_was_given(vae, x, told):
    figure = kvae.plots.samples(vae, 2, label={"digit": 1, "scale": 2.5})
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "digit=1, scale=2.5" in words + " ".join(text.get_text() for text in figure.texts)
    kvae.plots.reconstructions(vae, Dataset(x, told), 2)
