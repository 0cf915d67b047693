"""Keras's own way to resume, and warnings of what `fit` is asked to watch."""

import warnings

import keras
import numpy as np
import pytest
from keras import callbacks

import kvae
from kvae.callbacks import Checkpoint
from kvae.models.fit import checks

EPOCHS = 3


class Fail(callbacks.Callback):
    """Ends a training after two epochs."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(digits):
    return kvae.datasets.Dataset(digits[:12], binarize="dynamic")


@pytest.fixture(scope="module")
def make(make_vae, make_encoder):
    def make(**settings):
        keras.utils.set_random_seed(3)  # Of the encoder; `make_vae` does it for the rest.
        objective = kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps=15))
        extra = [keras.layers.Dropout(0.2, seed=1)]
        vae = make_vae(encoder=make_encoder(extra=extra), objective=objective)
        vae.compile("adam", **settings)
        return vae

    return make


def train(vae, data, *given, **options):
    return vae.fit(
        data, batch_size=6, epochs=EPOCHS, verbose=0, callbacks=list(given), **options
    ).history


@pytest.mark.default("eager")
@pytest.mark.parametrize(
    "settings",
    [{"run_eagerly": True}, {"steps_per_execution": 3, "jit_compile": False}],
    ids=["eager", "blocks"],
)
def test_a_backup_is_restored_to_the_same_bits(make, data, tmp_path, settings):
    whole = make(**settings)
    expected = train(whole, data)

    def backup():
        return callbacks.BackupAndRestore(str(tmp_path / "backup"))

    with pytest.raises(KeyboardInterrupt):
        train(make(**settings), data, backup(), Fail())
    resumed = make(**settings)
    resumed.set_weights([np.zeros_like(w) for w in resumed.get_weights()])
    history = train(resumed, data, backup())
    assert len(history["loss"]) == 1
    np.testing.assert_allclose(history["loss"], expected["loss"][2:], rtol=1e-6)
    for a, b in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(resumed.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    # The next training of the model begins at its beginning.
    assert len(train(resumed, data)["loss"]) == EPOCHS


def warned(check, *arguments) -> list:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(*arguments)
    return [str(warning.message) for warning in caught]


def test_backups_that_cannot_be_exact_are_warned_of(data, digits):
    whole = callbacks.BackupAndRestore("unused")
    assert warned(checks.warn_of_backups, [whole], data) == []
    (text,) = warned(checks.warn_of_backups, [whole], digits)
    assert "Keras shuffles" in text and "kvae.callbacks.Checkpoint" in text
    often = callbacks.BackupAndRestore("unused", save_freq=2)
    (text,) = warned(checks.warn_of_backups, [often], data)
    assert "save_freq=2" in text


WATCHERS = {
    "EarlyStopping": lambda monitor: callbacks.EarlyStopping(monitor, mode="min"),
    "ReduceLROnPlateau": lambda monitor: callbacks.ReduceLROnPlateau(monitor, mode="min"),
    "ModelCheckpoint": lambda monitor: callbacks.ModelCheckpoint(
        "m.keras", monitor, mode="min", save_best_only=True
    ),
    "Checkpoint": lambda monitor: Checkpoint("unused", monitor=monitor),
}


@pytest.mark.default("EarlyStopping", "Checkpoint")
@pytest.mark.parametrize("name", WATCHERS)
def test_losses_that_do_not_compare_are_warned_of(make, name):
    vae = make(run_eagerly=True)
    for monitor in ("loss", "val_loss"):
        watcher = WATCHERS[name](monitor)
        (text,) = warned(checks.warn_of_monitors, vae, [watcher], 20)
        assert text.startswith(f"{name} compares values of '{monitor}'")
        assert "`beta` goes from 0 to 1" in text and "mode='max'" in text
        assert len(warned(checks.warn_of_monitors, vae, [watcher], None)) == 1
    for monitor in ("val_elbo", "val_reconstruction"):
        watcher = WATCHERS[name](monitor)
        assert warned(checks.warn_of_monitors, vae, [watcher], 20) == []
    vae.optimizer.iterations.assign(15)  # The warm-up is over.
    watcher = WATCHERS[name]("val_loss")
    assert warned(checks.warn_of_monitors, vae, [watcher], 20) == []


def test_other_schedules_and_callbacks(make_vae):
    watcher = WATCHERS["EarlyStopping"]("loss")
    for objective, found in (
        (kvae.objectives.ELBO(beta=2.0), None),
        (
            kvae.objectives.ELBO(capacity=kvae.schedules.Linear(0.0, 25.0, 100), beta=5.0),
            "`capacity` goes",
        ),
        (kvae.objectives.BetaTCVAE(beta=kvae.schedules.Cyclical(10)), "`beta` goes"),
    ):
        vae = make_vae(objective=objective, optimizer="sgd", eager=True)
        texts = warned(checks.warn_of_monitors, vae, [watcher], 20)
        assert len(texts) == (found is not None) and all(found in text for text in texts)
    all_of_them = [callbacks.ModelCheckpoint("m.keras"), callbacks.History(), callbacks.Callback()]
    assert warned(checks.warn_of_monitors, vae, all_of_them, 20) == []


def test_fit_warns_where_it_is_called(make, data):
    vae = make(run_eagerly=True)
    with pytest.warns(UserWarning, match="EarlyStopping compares values of 'val_loss'") as caught:
        vae.fit(
            data,
            batch_size=12,
            verbose=0,
            callbacks=[callbacks.EarlyStopping(patience=9)],
            validation_data=data,
        )
    (warning,) = [one for one in caught if "compares values" in str(one.message)]
    assert warning.filename == __file__
