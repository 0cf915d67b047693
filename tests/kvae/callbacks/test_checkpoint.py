"""kvae.callbacks.Checkpoint: an interrupted training ends with the bits of an uninterrupted one."""

import errno
import json
import os
import pathlib
import signal
from concurrent import futures

import keras
import numpy as np
import pytest

import kvae
from kvae.callbacks import Checkpoint

EPOCHS = 3

# Run here, and in a process that is killed.
_TRAINING = """
import keras, kvae
from keras import layers

def train(directory, epochs, callbacks=(), **options):
    keras.utils.set_random_seed(1)
    digits = kvae.datasets.load("digits", "train", binarize="dynamic")
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8, "relu"), layers.Dropout(0.2)]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), layers.Dense(64), layers.Reshape((8, 8, 1))]
    )
    vae = kvae.VAE(encoder, decoder, 2)
    # Eagerly: to trace the steps would take longer than they do. test_resuming.py has graphs.
    vae.compile(keras.optimizers.SGD(0.001, momentum=0.9), run_eagerly=True)
    # The largest loss is the first: best is not last, and tests can tell them apart.
    options = {"mode": "max", "every_seconds": 0.0, **options}
    checkpoint = kvae.callbacks.Checkpoint(directory, "test", **options)
    first = checkpoint.restore(vae)
    if first < epochs:
        vae.fit(
            digits[:40],
            validation_data=digits[40:60],
            batch_size=20,
            epochs=epochs,
            initial_epoch=first,
            callbacks=[checkpoint, *callbacks],
            verbose=0,
        )
    return vae, checkpoint, first
"""
exec(_TRAINING)
train = globals()["train"]


def bits(vae):
    arrays = [np.asarray(value) for value in (*vae.variables, *vae.optimizer.variables)]
    return b"".join(array.tobytes() for array in arrays)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted."""
    return train(tmp_path_factory.mktemp("whole"), EPOCHS)


def assert_same_training(result, whole, first):
    (vae, checkpoint, started), (reference, expected, _) = result, whole
    assert started == first
    assert bits(vae) == bits(reference)
    assert checkpoint.history == expected.history
    assert (checkpoint.best, checkpoint.best_epoch) == (expected.best, expected.best_epoch)
    checkpoint.load_best(vae)
    for a, b in zip(vae.get_weights(), expected._best_weights, strict=True):
        np.testing.assert_array_equal(a, b)


class Interruption(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Raises in the middle of an epoch, when its first batch is done."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise Interruption


@pytest.mark.filterwarnings("error::UserWarning")
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path, whole):
    with pytest.raises(Interruption):
        train(tmp_path, EPOCHS, [Interrupt(epoch=2)])
    assert_same_training(train(tmp_path, EPOCHS), whole, first=2)
    assert len(whole[1].history["val_loss"]) == EPOCHS
    assert names(tmp_path) == [
        f"best-{EPOCHS:05d}.weights.h5",
        f"last-{EPOCHS:05d}.weights.h5",
        "state.json",
    ]


@pytest.mark.slow  # Three trainings; one that resumes is above.
def test_a_training_of_several_parts(tmp_path, whole):
    # Saved at its end only, because the epochs are quicker than `every_seconds`.
    train(tmp_path, 1, every_seconds=3600.0)
    assert_same_training(train(tmp_path, EPOCHS, every_seconds=3600.0), whole, first=1)
    vae, _, first = train(tmp_path, EPOCHS)  # Nothing is left to do.
    assert first == EPOCHS and bits(vae) == bits(whole[0])


# The process writes half of the third checkpoint's weights, and dies.
_KILLED = """
import os, pathlib, signal, sys

class Die(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            def save_weights(path):
                pathlib.Path(path).write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            self.model.save_weights = save_weights

train(sys.argv[1], 4, [Die()])
"""


def test_a_process_killed_while_it_saves(tmp_path, whole, run_forked):
    killed = run_forked(_TRAINING + _KILLED, tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "state.json").read_text())["epoch"] == 2
    assert_same_training(train(tmp_path, EPOCHS), whole, first=2)


def test_best_is_not_last(whole):
    _, checkpoint, _ = whole
    losses = checkpoint.history["val_loss"]
    assert checkpoint.best == max(losses) and checkpoint.best_epoch == 1 + int(np.argmax(losses))
    assert losses[-1] < checkpoint.best


# Two trainings, and readers, in one folder.


class Meanwhile(keras.callbacks.Callback):
    """Does something in the middle of a training, in a thread of its own."""

    def __init__(self, act):
        super().__init__()
        self.act, self.result = act, None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            with futures.ThreadPoolExecutor(1) as pool:
                self.result = pool.submit(self.act).result(120)


def test_a_second_training_in_the_folder_is_refused_and_reading_is_not(saved, other, tmp_path):
    vae, first = saved

    def second():
        checkpoint = Checkpoint(tmp_path, "mine")
        epoch = checkpoint.restore(other)
        checkpoint.set_model(other)
        with pytest.raises(BlockingIOError) as caught:
            checkpoint.on_train_begin()
        return caught.value, epoch

    first.on_train_begin()
    with futures.ThreadPoolExecutor(1) as pool:
        error, epoch = pool.submit(second).result(120)
    assert f"{tmp_path} is in use by a training in process {os.getpid()} on " in str(error)
    assert epoch == 2 and bits(other) == bits(vae)
    first.on_epoch_end(2, {"loss": 1.0, "val_loss": 1.0})
    first.on_train_end()
    assert Checkpoint(tmp_path, "mine").restore(other) == 3 and ".lock" not in names(tmp_path)


@pytest.mark.slow  # Two trainings; without them it is tested above.
def test_a_second_fit_in_the_folder_is_refused_and_the_first_goes_on(tmp_path, whole):
    def second():
        with pytest.raises(BlockingIOError) as caught:
            train(tmp_path, EPOCHS)
        return caught.value, Checkpoint(tmp_path, "test").restore(train(tmp_path, 0)[0])

    meanwhile = Meanwhile(second)
    assert_same_training(train(tmp_path, EPOCHS, [meanwhile]), whole, first=0)
    error, epoch = meanwhile.result
    assert f"{tmp_path} is in use by a training in process {os.getpid()} on " in str(error)
    assert epoch == 1
    # A training that failed holds the folder no longer, and neither does one that ended.
    assert ".lock" not in names(tmp_path)


def test_a_checkpoint_that_another_training_has_replaced_is_not_overwritten(saved, tmp_path):
    vae, first = saved
    second = Checkpoint(tmp_path, "mine")
    assert second.restore(vae) == 2
    first.on_epoch_end(2, {"loss": 1.0, "val_loss": 1.0})
    second.set_model(vae)
    with pytest.raises(ValueError, match="Another training has written to .* since `restore`"):
        second.on_train_begin()
    second.release()
    assert second.restore(vae) == 3
    second.on_train_begin()
    assert ".lock" in names(tmp_path)
    second.release()
    assert ".lock" not in names(tmp_path)


def test_no_file_that_the_state_names_is_overwritten(saved, tmp_path):
    vae, checkpoint = saved
    seen = []
    replace = os.replace

    def watched(source, target):
        state = json.loads((tmp_path / "state.json").read_text())
        named = {entry["file"] for entry in state["files"].values()}
        seen.append(pathlib.Path(target).name)
        assert seen[-1] not in named
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watched)
        for _ in range(3):  # The same epoch again, as after a `fit` that starts anew.
            checkpoint.on_epoch_end(1, {"loss": 2.0, "val_loss": 2.5})
    assert seen[0] == "last-00002-again.weights.h5" and seen[3] == "last-00002.weights.h5"
    assert Checkpoint(tmp_path, "mine").restore(vae) == 2 and len(names(tmp_path)) == 3


def test_a_reader_sees_one_checkpoint_however_often_it_is_replaced(saved, other, tmp_path):
    vae, checkpoint = saved
    checked = Checkpoint._checked
    left = [3, 4, 5]

    def replaced(self, entry):
        if left:  # The writer is quicker than the reader, three times.
            vae.set_weights([weight + 1.0 for weight in vae.get_weights()])
            checkpoint.on_epoch_end(left.pop(0) - 1, {"loss": 1.0, "val_loss": 1.0})
        return checked(self, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "_checked", replaced)
        assert Checkpoint(tmp_path, "mine").restore(other) == 5
    assert left == [] and bits(other) == bits(vae)


# Without a training: what the callback does with what it is told.


@pytest.fixture(scope="module")
def model(make_vae):
    """A model and its first weights; its optimizer takes no step."""
    vae = make_vae(optimizer="adam")
    return vae, vae.get_weights()


@pytest.fixture(scope="module")
def other(make_vae):
    """Another model, into which checkpoints are loaded."""
    return make_vae(optimizer="adam")


@pytest.fixture
def saved(model, tmp_path):
    """A model, and a folder with the checkpoint of its second epoch."""
    vae, weights = model
    vae.set_weights(weights)
    checkpoint = Checkpoint(tmp_path, "mine", every_seconds=0.0)
    checkpoint.set_model(vae)
    checkpoint.on_epoch_end(0, {"loss": 3.0, "val_loss": 2.0})
    vae.set_weights([weight + 1.0 for weight in vae.get_weights()])
    checkpoint.on_epoch_end(1, {"loss": 2.0, "val_loss": 2.5})
    return vae, checkpoint


@pytest.mark.default("state")
@pytest.mark.parametrize("failing", ["last", "best", "state"])
def test_a_full_disk_keeps_the_old_checkpoint(saved, other, tmp_path, monkeypatch, failing):
    vae, checkpoint = saved
    before = bits(vae)
    save_weights = vae.save_weights

    def full(path, *arguments, **options):
        if failing in str(path):
            with open(path, "wb") as stream:
                stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_weights(path, *arguments, **options)

    trained = [weight + 1.0 for weight in vae.get_weights()]
    vae.set_weights(trained)
    with monkeypatch.context() as patch:
        if failing == "state":
            patch.setattr(
                "pathlib.Path.write_text",
                lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")),
            )
        else:
            patch.setattr(vae, "save_weights", full)
        with pytest.raises(OSError, match="is full .*, and the last checkpoint is as it was"):
            checkpoint.on_epoch_end(2, {"loss": 1.0, "val_loss": 3.0})
    for a, b in zip(vae.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(a, b)  # The model has what it trained.
    assert Checkpoint(tmp_path, "mine").restore(other) == 2
    assert bits(other) == before
    # With space again, the next checkpoint is complete and clears away what was left.
    checkpoint.on_epoch_end(3, {"loss": 1.0, "val_loss": 3.0})
    assert Checkpoint(tmp_path, "mine").restore(other) == 4
    assert bits(other) == bits(vae)
    assert names(tmp_path) == ["best-00004.weights.h5", "last-00004.weights.h5", "state.json"]


def test_a_new_folder_starts_at_the_beginning(other, tmp_path):
    assert Checkpoint(tmp_path / "new").restore(other) == 0
    assert not (tmp_path / "new").exists()


def test_folders_whose_names_are_no_text(model, other, tmp_path, eagerly):
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    vae, _ = model
    checkpoint = Checkpoint(folder, "mine", every_seconds=0.0)
    checkpoint.set_model(vae)
    checkpoint.on_train_begin()
    checkpoint.on_epoch_end(0, {"loss": 3.0, "val_loss": 2.0})
    checkpoint.on_train_end()
    assert Checkpoint(folder, "mine").restore(other) == 1
    vae.save(folder / os.fsdecode(b"\xe9.keras"))
    assert bits(kvae.load_model(folder / os.fsdecode(b"\xe9.keras"))) == bits(vae)
    x = np.zeros((2, 8, 8, 1), "float32")
    for _ in range(2):
        vae.log_prob(x, num_samples=2, cache=folder / os.fsdecode(b"\xe9.npz"))
    assert len(names(folder)) == 5


def test_another_training_is_refused(saved, tmp_path):
    with pytest.raises(ValueError, match="another training .'mine', not 'other'"):
        Checkpoint(tmp_path, "other").restore(saved[0])


@pytest.mark.default(cover=1)
@pytest.mark.parametrize("role", ["best", "last"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_an_altered_file_is_refused(saved, tmp_path, role, damage):
    path = tmp_path / f"{role}-00002.weights.h5"
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    vae = saved[0]
    before = bits(vae)
    with pytest.raises(ValueError, match=f"{path.name} is missing or was altered"):
        Checkpoint(tmp_path, "mine").restore(vae)
    assert bits(vae) == before


def test_a_damaged_state_is_refused(saved, tmp_path):
    for content in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b'{"fingerprint": "mine", "files": []}',
    ):
        (tmp_path / "state.json").write_bytes(content)
        with pytest.raises(ValueError, match="state.json is damaged. Delete"):
            Checkpoint(tmp_path, "mine").restore(saved[0])


@pytest.mark.parametrize(
    "monitor, mode, logs, best, epoch",
    [
        ("val_loss", "min", [{"val_loss": 3}, {"val_loss": 1}, {"val_loss": 2}], 1, 2),
        ("val_elbo", "max", [{"val_elbo": -3}, {"val_elbo": -1}, {"val_elbo": -2}], -1, 2),
        ("val_loss", "min", [{"loss": 3}, {"loss": 2}, {"loss": 2}], 2, 2),
    ],
)
def test_the_best_epoch(model, tmp_path, monitor, mode, logs, best, epoch):
    checkpoint = Checkpoint(tmp_path, monitor=monitor, mode=mode, every_seconds=3600.0)
    vae, _ = model
    checkpoint.set_model(vae)
    weights = []
    for index, values in enumerate(logs):
        vae.set_weights([weight + 1.0 for weight in vae.get_weights()])
        weights.append(vae.get_weights())
        checkpoint.on_epoch_end(index, values)
    assert (checkpoint.best, checkpoint.best_epoch) == (best, epoch)
    assert not list(tmp_path.iterdir())  # The time between two checkpoints has not passed.
    checkpoint.load_best(vae)
    np.testing.assert_array_equal(vae.get_weights()[0], weights[epoch - 1][0])


def test_an_unknown_monitor_or_mode_is_named(other, tmp_path):
    checkpoint = Checkpoint(tmp_path, monitor="val_los")
    checkpoint.set_model(other)
    with pytest.raises(ValueError, match="Unknown monitor 'val_los'.*'val_loss'"):
        checkpoint.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    with pytest.raises(ValueError, match="Unknown mode 'mim'.*'min'"):
        Checkpoint(tmp_path, mode="mim")
