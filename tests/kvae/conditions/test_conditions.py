"""Conditions: values are checked in one line, and encoded as their definitions say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from export import signatures
from kvae.conditions import Conditions, Periodic, Real, get, of_model
from kvae.conditions.conditions import INPUTS_OF_SIGNATURES

NAN = np.nan
KINDS = {
    "digit": 10,
    "shape": ["square", "heart"],
    "scale": Real(2.0, 0.5),
    "hour": "periodic:24",
    "tags": ("multi", ["new", "sale", "used"]),
}


@pytest.fixture(scope="module")
def conditions():
    conditions = Conditions(KINDS)
    conditions.build(None)
    return conditions


def test_what_networks_see_follows_from_the_definitions(conditions):
    record = conditions.record(
        {
            "digit": [1, 9],
            "shape": ["heart", "square"],
            "scale": [3.0, 2.0],
            "hour": [6.0, 24.0],
            "tags": [[0, 1, 1], [0, 0, 0]],
        }
    )
    first, second = conditions.encode(record).numpy()
    eye = np.eye(10)
    wanted = [*eye[1], 0, 1, (3.0 - 2.0) / 0.5, 0, 0, 1, 0, 1, 1]
    np.testing.assert_allclose(first, wanted, atol=1e-6)
    np.testing.assert_allclose(second, [*eye[9], 1, 0, 0, 0, 1, 0, 0, 0, 0], atol=1e-6)
    assert (conditions.size, conditions.columns) == (19, 7)


def test_harmonics_are_cosines_and_sines_of_multiples():
    hour = Conditions({"hour": "periodic:24,3", "plain": "periodic:24"})
    hour.build(None)
    found = hour.encode(hour.record({"hour": [5.0, NAN], "plain": [5.0, 5.0]})).numpy()
    angles = 2 * np.pi * 5.0 / 24 * np.arange(1, 4)
    np.testing.assert_allclose(found[0, :6], [*np.cos(angles), *np.sin(angles)], atol=1e-6)
    np.testing.assert_allclose(
        found[:, 6:], 2 * [[np.cos(angles[0]), np.sin(angles[0])]], atol=1e-6
    )
    np.testing.assert_array_equal(found[1, :6], 0)
    assert Periodic(24.0, 3).get_config()["harmonics"] == 3
    assert "harmonics" not in Periodic(24.0).get_config()
    with pytest.raises(ValueError, match="`harmonics` is at least 1, not 0"):
        Periodic(24.0, harmonics=0)


def test_the_unknown_is_what_was_learned_and_each_value_is_unknown_for_itself(conditions):
    learned = np.arange(conditions.size, dtype=np.float32)
    before = conditions.unknown.numpy()
    conditions.unknown.assign(learned)
    try:
        left_out = conditions.encode(conditions.record({"digit": [3]})).numpy()[0]
        said = {"digit": -1, "shape": [None], "scale": NAN, "hour": NAN, "tags": [[NAN, 1, NAN]]}
        named = conditions.encode(conditions.record(said)).numpy()[0]
    finally:
        conditions.unknown.assign(before)
    np.testing.assert_array_equal(left_out[:10], np.eye(10)[3])
    np.testing.assert_array_equal(left_out[10:], learned[10:])
    np.testing.assert_array_equal(named, [*learned[:17], 1, learned[18]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"digit": [10]}, "`digit` has values from 10 to 10; it is a class number from 0 to 9"),
        ({"digit": [1.5]}, "not whole"),
        ({"digit": [[1, 2]]}, r"`digit` has shape \(1, 2\); it is \[n\]"),
        ({"shap": [1]}, "Unknown condition 'shap'. Did you mean 'shape'"),
        ({"shape": ["circle"]}, "`shape` is 'circle'; it is one of square, heart"),
        ({"scale": [np.inf]}, "infinite"),
        ({"scale": [1e39]}, "infinite"),  # As float32.
        ({"hour": [-1e39]}, "infinite"),
        ("heart", "a dict from the names of the conditions to arrays"),
        ({"scale": ["big"]}, "`scale` is 'big'; it is a finite number"),
        ({"tags": [[0, 1]]}, r"\[n, 3\]"),
        ({"tags": [[0, 2, 1]]}, "other values than 0 and 1"),
        ({"tags": ["new+old"]}, "no label 'old'; its labels are new, sale, used"),
        ({"digit": [1, 2], "scale": [1.0]}, "`digit` has 2 rows, `scale` has 1 rows"),
        (np.zeros((3, 4)), "a dict from the names of the conditions to arrays"),
    ],
)
def test_what_is_no_value_is_refused_in_one_line(conditions, values, words):
    with pytest.raises(ValueError, match=words) as error:
        conditions.record(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"a b": 3},
        {"mask": 3},
        {"a": 0},
        {"a": "reel"},
        {"a": ("multi", 0)},
        {"a": ["u", "u"]},
        5,
    ],
)
def test_what_names_no_condition_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Conditions(wrong)


def test_rows_have_to_be_as_many_and_single_values_hold_for_all(conditions):
    record = conditions.record({"digit": 3, "scale": [1.0, NAN]}, 2).numpy()
    np.testing.assert_array_equal(record[:, 0], 3)
    with pytest.raises(ValueError, match="`scale` has 2 rows for 3 examples"):
        conditions.record({"scale": [1.0, NAN]}, 3)


def test_a_frame_an_array_of_one_condition_and_a_record_are_values_too(conditions):
    class Frame(dict):
        columns = property(lambda self: list(self))
        to_numpy = None

    frame = Frame(digit=np.array([1, 2]), shape=np.array(["heart", None], object))
    record = conditions.record(frame)
    assert [conditions.shown(row) for row in record.numpy()] == ["digit=1, shape=heart", "digit=2"]
    np.testing.assert_array_equal(conditions.record(record), record)
    alone = Conditions({"digit": 10})
    np.testing.assert_array_equal(alone.record(np.array([3, -1])), [[3.0], [-1.0]])


def test_texts_of_the_command_line(conditions):
    found = conditions.parse("shape=heart,scale=0.8,tags=new+used")
    np.testing.assert_array_equal(found.pop("tags"), [1, 0, 1])
    assert found == {"shape": 1, "scale": 0.8}
    with pytest.raises(ValueError, match="NAME=VALUE"):
        conditions.parse("heart")
    with pytest.raises(ValueError, match="'shape' has two values"):
        conditions.parse("shape=heart,shape=square")


def test_the_guard_tells_values_from_others(conditions):
    good = conditions.record({"digit": [-1], "hour": [30.0]})
    assert conditions.fits(good).numpy().all()
    for column, value in ((0, 10.0), (0, 0.5), (2, np.inf), (4, 0.5)):
        bad = good.numpy()
        bad[0, column] = value
        assert not conditions.fits(tf.constant(bad)).numpy()[0, column]


def test_the_share_that_is_hidden_is_the_rate(conditions):
    hiding = Conditions(KINDS, unknown_rate=0.25)
    record = conditions.record({"digit": 1, "scale": 1.0, "tags": [0, 1, 0]}, 4000)
    hidden = hiding.hidden(record, tf.constant([1, 2])).numpy()
    of_digit, of_tags = hidden[:, 0] == -1, np.isnan(hidden[:, 4:])
    # Three standard deviations of a share of 4000 are 0.02.
    assert abs(of_digit.mean() - 0.25) < 0.02
    assert abs(of_tags[:, 0].mean() - 0.25) < 0.02
    assert (of_tags == of_tags[:, :1]).all()  # A condition is hidden as a whole,
    assert abs((of_digit & of_tags[:, 0]).mean() - 0.0625) < 0.012  # and each for itself.
    np.testing.assert_array_equal(conditions.hidden(record, tf.constant([1, 2])), record)


def test_statistics_are_those_of_the_known_values():
    conditions = Conditions({"a": "real", "b": "real"})
    conditions.build(None)
    assert conditions.needs_data
    conditions.adapt({"a": [1.0, 3.0, NAN], "b": [5.0, 5.0, 5.0]})
    assert not conditions.needs_data
    encoded = conditions.encode(conditions.record({"a": [3.0], "b": [6.0]})).numpy()
    np.testing.assert_allclose(encoded, [[1.0, 0.0, 1.0, 0.0]])


def test_a_configuration_is_complete():
    conditions = Conditions(KINDS, unknown_rate=0.1)
    config = keras.saving.serialize_keras_object(conditions)
    twin = of_model(config)
    assert twin.unknown_rate == 0.1
    for key, kind in conditions.kinds.items():
        assert twin.kinds[key].get_config() == kind.get_config()
    assert twin.kinds["shape"].texts() == ("square", "heart")
    assert isinstance(get("periodic"), Periodic)


def test_names_of_inputs_of_exports_are_told_at_once():
    assert set(INPUTS_OF_SIGNATURES) == set(signatures.INPUTS)
    with pytest.warns(UserWarning, match="'seed' has the name of an input of exported signatures"):
        Conditions({"seed": 3})
    with pytest.warns(UserWarning, match="'image_bytes' has the name of an input"):
        Conditions({"image_bytes": "real"})
