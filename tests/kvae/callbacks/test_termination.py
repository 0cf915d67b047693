"""SIGTERM in a training: the epoch ends, it is saved, and what follows is what would have been."""

import os
import signal

import keras
import numpy as np
import pytest

from kvae.callbacks import Checkpoint
from kvae.callbacks.termination import Termination


class Killed(Exception):
    pass


@pytest.fixture
def handler():
    """The process's own reaction to SIGTERM, in place of its end."""

    def die(number, frame):
        raise Killed

    before = signal.signal(signal.SIGTERM, die)
    yield die
    assert signal.getsignal(signal.SIGTERM) is die  # The training has put it back.
    signal.signal(signal.SIGTERM, before)


class Terminates(keras.callbacks.Callback):
    """Sends the process SIGTERM in the middle of an epoch."""

    def __init__(self, epoch, times=1):
        super().__init__()
        self.at, self.times = epoch, times

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (self.at, 0):
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGTERM)


def train(vae, digits, checkpoint, *more):
    vae.fit(
        digits,
        epochs=4,
        batch_size=64,
        verbose=0,
        initial_epoch=checkpoint.restore(vae),
        callbacks=[checkpoint, *more],
    )


def test_a_terminated_training_goes_on_to_the_same_weights(digits, make_vae, tmp_path, handler):
    whole = make_vae(optimizer="adam", eager=True)
    train(whole, digits, Checkpoint(tmp_path / "whole"))
    stopped = make_vae(optimizer="adam", eager=True)
    with pytest.raises(Killed):
        # Not a checkpoint in time: the one that is found was written because of the signal.
        train(stopped, digits, Checkpoint(tmp_path / "stopped", every_seconds=1e9), Terminates(1))
    again = make_vae(optimizer="adam", eager=True)
    checkpoint = Checkpoint(tmp_path / "stopped")
    assert checkpoint.restore(again) == 2
    train(again, digits, checkpoint)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_second_signal_does_not_wait(digits, make_vae, tmp_path, handler):
    vae = make_vae(optimizer="adam", eager=True)
    with pytest.raises(Killed):
        train(vae, digits, Checkpoint(tmp_path, every_seconds=1e9), Terminates(1, times=2))
    assert not (tmp_path / "state.json").exists()


def test_a_failed_training_gives_the_signal_back(digits, make_vae, tmp_path, handler):
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("no reason")

    vae = make_vae(optimizer="adam", eager=True)
    with pytest.raises(RuntimeError, match="no reason"):
        train(vae, digits, Checkpoint(tmp_path), Fails())
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_signal_lets_a_checkpoint_be_finished(handler):
    """Without the file that is being written, its epochs would be lost."""
    termination, done = Termination(lambda: "Stopping."), []
    termination.watch()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Killed), termination.finished():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("written")
    assert done == ["written"] and not termination.requested
    # Outside of it, the second one is obeyed at once.
    termination.watch()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Killed):
        os.kill(os.getpid(), signal.SIGTERM)
