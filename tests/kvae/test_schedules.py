"""kvae.schedules: the values at each step, and that a resumed training goes on where it was."""

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import Checkpoint
from kvae.schedules import Cyclical, Linear, Sigmoid


def values(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_linear():
    schedule = Linear(0.5, 2.5, steps=4, delay=2)
    steps = [0, 2, 3, 4, 6, 100, 2**31 - 1]
    np.testing.assert_allclose(values(schedule, steps), [0.5, 0.5, 1.0, 1.5, 2.5, 2.5, 2.5])


def test_sigmoid():
    schedule = Sigmoid(middle=50, width=10.0, start=1.0, end=3.0)
    for step in (0, 30, 50, 72, 1000):
        exact = 1.0 + 2.0 / (1.0 + np.exp(-(step - 50) / 10.0))
        assert float(schedule(step)) == pytest.approx(exact, rel=1e-5)


def test_cyclical_is_eq_6_of_its_paper():
    schedule = Cyclical(period=10, ratio=0.5, cycles=3)
    cycle = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(values(schedule, range(30)), cycle * 3, rtol=1e-6)
    np.testing.assert_allclose(values(schedule, [30, 33, 10**9]), [1.0, 1.0, 1.0])
    endless = Cyclical(period=10, cycles=None)
    assert float(endless(2**31 - 1)) == 1.0  # Of a model without an optimizer.
    late = 10 * 10**8  # A float32 could not tell these steps apart.
    np.testing.assert_allclose(values(endless, range(late, late + 10)), cycle, rtol=1e-6)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sigmoid"])
def test_cyclical_rises_from_start_to_end(shape):
    schedule = Cyclical(period=100, ratio=0.8, cycles=None, start=0.2, end=4.0, shape=shape)
    rise = values(schedule, range(81))
    assert rise[0] == pytest.approx(0.2, abs=1e-4) and rise[-1] == pytest.approx(4.0, abs=1e-4)
    assert (np.diff(rise) > 0).all()
    assert rise[40] == pytest.approx(2.1, abs=1e-4)  # All three are symmetric.


@pytest.mark.parametrize(
    "schedule",
    [
        Linear(0.0, 1.0, 5, delay=1),
        Sigmoid(3, 2.0),
        Cyclical(7, 0.3, None, shape="cosine"),
    ],
)
def test_config_round_trip(schedule):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(copy) is type(schedule) and copy.get_config() == schedule.get_config()
    assert values(copy, range(20)) == values(schedule, range(20))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(0.0, 1.0, 0),
        lambda: Linear(0.0, float("nan"), 5),
        lambda: Sigmoid(5, 0.0),
        lambda: Cyclical(10, ratio=0.0),
        lambda: Cyclical(10, shape="square"),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.slow  # `test_checkpoint.py` resumes a training; the step is the optimizer's.
def test_a_killed_training_goes_on_where_the_schedule_was(make_vae, digits, tmp_path):
    """Two epochs and two more give the bits of four: β is that of the step, not of the process."""

    def train(folder, epochs):
        objective = kvae.objectives.ELBO(beta=Cyclical(period=5), capacity=Linear(0.0, 3.0, 9))
        vae = make_vae(objective=objective, optimizer="adam", eager=True)
        checkpoint = Checkpoint(folder, every_seconds=0.0)
        first = checkpoint.restore(vae)
        history = vae.fit(
            digits,
            batch_size=32,
            initial_epoch=first,
            epochs=epochs,
            callbacks=[checkpoint],
            verbose=0,
        ).history
        return vae, history

    whole, history = train(tmp_path / "whole", 4)
    train(tmp_path / "halves", 2)
    resumed, rest = train(tmp_path / "halves", 4)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("beta", "capacity"):  # What is in force after the last step of each epoch.
        assert rest[name] == history[name][2:]
    np.testing.assert_allclose(history["beta"], values(Cyclical(period=5), [2, 4, 6, 8]))
    np.testing.assert_allclose(history["capacity"], [2 / 3, 4 / 3, 2.0, 8 / 3], rtol=1e-6)
