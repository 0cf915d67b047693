"""kvae.training.train: the schedules, the choice of the best weights, and going on."""

import os
import signal

import keras
import numpy as np
import pytest

import kvae
from kvae.training import Settings, train


@pytest.fixture(scope="module")
def data(digits):
    return kvae.datasets.Dataset(digits, binarize="static")


class Weights(keras.callbacks.Callback):
    """Keeps the weights that each epoch ends with, and its logs; spoils those of the third."""

    def __init__(self):
        super().__init__()
        self.seen, self.logs = [], []

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.model.set_weights([30.0 * weight for weight in self.model.get_weights()])

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.get_weights())
        self.logs.append(dict(logs))


def assert_weights(model, expected):
    for have, want in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(have, want)


def test_the_learning_rate_falls_by_a_half_cosine():
    rate = Settings(epochs=1, learning_rate=0.1, final_rate=0.02).optimizer(100)._learning_rate
    for step in (0, 25, 50, 100, 150):
        share = 0.5 * (1 + np.cos(np.pi * min(step, 100) / 100))
        assert float(rate(step)) == pytest.approx(0.1 * (0.98 * share + 0.02), rel=1e-5)
    constant = Settings(epochs=1, learning_rate=0.1, final_rate=1.0).optimizer(100)
    assert float(constant.learning_rate) == pytest.approx(0.1)


def test_it_is_adam_on_that_schedule(make_vae, data, eagerly):
    """The same weights as by hand, with the scale that the gradients are clipped to."""
    settings = Settings(
        epochs=2, batch_size=32, learning_rate=0.01, global_clipnorm=0.5, monitor=None
    )
    vae, by_hand = make_vae(), make_vae()
    found = train(vae, data, settings)
    rate = keras.optimizers.schedules.CosineDecay(0.01, 4)
    by_hand.compile(keras.optimizers.Adam(rate, global_clipnorm=0.5))
    history = by_hand.fit(data, epochs=2, batch_size=32, verbose=0).history
    assert_weights(vae, by_hand.get_weights())
    assert found.history == history and found.epochs_run == 2
    assert found.best is None and found.best_epoch is None and found.seconds > 0


@pytest.mark.default("diagonal_gaussian-files")
@pytest.mark.parametrize("kept_in", ["memory", "files"])
@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "delta"])
def test_the_best_epoch_is_kept(make_vae, data, kept_in, posterior, tmp_path, eagerly):
    """A VAE keeps the epoch of the largest ELBO, an autoencoder that of the smallest loss."""
    prior = None if posterior == "delta" else "standard_normal"
    vae, weights = make_vae(posterior=posterior, prior=prior), Weights()
    found = train(
        vae,
        data,
        Settings(epochs=4, batch_size=32, learning_rate=1e-2),
        validation_data=data[:32],
        directory=tmp_path / "run" if kept_in == "files" else None,
        callbacks=[weights],
    )
    figures = [log["val_loss"] if prior is None else -log["val_elbo"] for log in weights.logs]
    best = int(np.argmin(figures))
    assert best == 1
    assert found.best_epoch == best + 1
    assert found.best == pytest.approx(figures[best] * (1 if prior is None else -1))
    assert_weights(vae, weights.seen[best])
    assert len(found.history["loss"]) == 4


def test_a_finished_training_is_not_trained_again(make_vae, data, tmp_path, eagerly):
    options = dict(validation_data=data[:32], directory=tmp_path / "run", fingerprint="mine")
    settings, vae, again = Settings(epochs=2, batch_size=64), make_vae(), make_vae()
    first = train(vae, data, settings, **options)
    second = train(again, data, settings, **options)
    assert (first.epochs_run, second.epochs_run) == (2, 0)
    assert first.history == second.history and first.seconds == second.seconds
    assert first.best_epoch == second.best_epoch
    assert_weights(again, vae.get_weights())
    with pytest.raises(ValueError, match="another training"):
        train(make_vae(), data, settings, **{**options, "fingerprint": "yours"})


def test_more_epochs_extend_a_training(make_vae, data, tmp_path, eagerly):
    """The second part has the learning rates that a training of so many epochs has there."""
    options = dict(directory=tmp_path / "run", fingerprint={"latent_dim": 2})
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    def run(epochs, batch_size=32):
        rates.clear()
        settings = Settings(epochs=epochs, batch_size=batch_size, learning_rate=0.01)
        return train(make_vae(), data, settings, callbacks=[Rates()], **options)

    assert run(2).epochs_run == 2
    found = run(4)
    assert found.epochs_run == 2 and len(found.history["loss"]) == 4
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(4, 8) / 8))
    np.testing.assert_allclose(rates, cosine, rtol=1e-5)
    # Larger batches make fewer steps; the rate falls over those that are left.
    assert run(6, batch_size=64).epochs_run == 2
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(8, 10) / 10))
    np.testing.assert_allclose(rates, cosine, rtol=1e-5)
    assert run(2).epochs_run == 0
    with pytest.raises(ValueError, match="another training, with latent_dim 2, not 3. Choose"):
        train(make_vae(), data, Settings(epochs=8), **{**options, "fingerprint": {"latent_dim": 3}})


def test_an_interrupted_training_says_what_it_has(make_vae, data, tmp_path, eagerly, capfd, heeded):
    class Interrupts(keras.callbacks.Callback):
        def __init__(self, times):
            super().__init__()
            self.times = times

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                for _ in range(self.times):
                    os.kill(os.getpid(), signal.SIGINT)

    settings = Settings(epochs=3, batch_size=32)
    for times, saved in ((1, 2), (2, 0)):  # The second one does not wait for the epoch to end.
        vae, options = make_vae(), dict(directory=tmp_path / str(times), every_seconds=1e9)
        with pytest.raises(KeyboardInterrupt) as stopped:
            train(vae, data, settings, callbacks=[Interrupts(times)], **options)
        assert isinstance(stopped.value, kvae.training.Interrupted)
        assert stopped.value.saved_epoch == saved and stopped.value.best_epoch >= 1
        assert stopped.value.at_once == (times == 2)
        assert "Stopping at the end of this epoch, in about" in capfd.readouterr().err
        assert train(make_vae(), data, settings, **options).epochs_run == 3 - saved
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_warm_up_keeps_the_rest_of_the_objective(make_vae, data, eagerly):
    settings = Settings(epochs=1, warmup_epochs=2, batch_size=32, monitor=None)
    vae = make_vae(objective=kvae.objectives.BetaTCVAE(beta=6.0, kl="monte_carlo"))
    logs = train(vae, data, settings).history
    # Two epochs of two steps, from 0 to the objective's own β.
    beta = vae.objective.scheduled()["beta"]
    assert [float(beta(step)) for step in (0, 2, 4, 9)] == [0.0, 3.0, 6.0, 6.0]
    assert logs["beta"] == [3.0]
    config = vae.objective.get_config()
    assert config["kl"] == "monte_carlo" and config["beta"]["config"]["end_learning_rate"] == 6.0
    with pytest.raises(ValueError, match="schedule of its own"):
        train(vae, data, settings)
    with pytest.raises(ValueError, match="WAE has no `beta`"):
        train(make_vae(objective="wae"), data, settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("warmup_epochs", 1.5),
        ("learning_rate", 0.0),
        ("final_rate", 1.5),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}`"):
        Settings(**{"epochs": 1, name: value})


class TestAveragedWeights:
    SETTINGS = Settings(epochs=3, batch_size=32, learning_rate=0.05, monitor=None, ema_momentum=0.6)

    def test_they_are_the_moving_average_of_those_of_every_step(self, make_vae, data, eagerly):
        seen = []

        class Steps(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                seen.append([np.array(weight) for weight in self.model.trainable_weights])

        vae = make_vae()
        train(vae, data, self.SETTINGS, callbacks=[Steps()])
        average = seen[0]
        for weights in seen[1:]:
            average = [0.6 * a + 0.4 * w for a, w in zip(average, weights, strict=True)]
        for have, want, last in zip(vae.trainable_weights, average, seen[-1], strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-6)
            assert np.abs(np.array(have) - last).max() > 1e-4

    def test_a_training_that_was_stopped_goes_on_from_adams_weights(
        self, make_vae, data, tmp_path, eagerly, capfd, heeded
    ):
        """`fit` has put the average into the model by the time that it ends."""

        class Stops(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    os.kill(os.getpid(), signal.SIGINT)

        whole, options = make_vae(), dict(directory=tmp_path / "run", every_seconds=1e9)
        train(whole, data, self.SETTINGS)
        with pytest.raises(kvae.training.Interrupted) as stopped:
            train(make_vae(), data, self.SETTINGS, callbacks=[Stops()], **options)
        assert (stopped.value.saved_epoch, stopped.value.epochs) == (2, 3)
        for left in (1, 0):  # It is finished, the second time.
            vae = make_vae()
            assert train(vae, data, self.SETTINGS, **options).epochs_run == left
            for have, want in zip(vae.weights, whole.weights, strict=True):
                np.testing.assert_array_equal(have, want)

    def test_settings_that_do_not_go_together_are_refused(self):
        for settings in (dict(ema_momentum=1.0, monitor=None), dict(ema_momentum=0.9)):
            with pytest.raises(ValueError, match="`ema_momentum` is less than 1 and needs"):
                Settings(epochs=1, **settings)
        with pytest.raises(ValueError, match="weight_decay"):
            Settings(epochs=1, weight_decay=-0.1)


def test_weight_decay_is_decoupled():
    """A weight without a gradient shrinks by the rate times the decay, in each of two steps."""
    weight = keras.Variable([1.0, -2.0])
    settings = Settings(epochs=1, learning_rate=0.1, final_rate=1.0, weight_decay=0.5)
    optimizer = settings.optimizer(2)
    for _ in range(2):
        optimizer.apply([keras.ops.zeros(2)], [weight])
    np.testing.assert_allclose(weight, np.array([1.0, -2.0]) * 0.95**2, rtol=1e-5)
