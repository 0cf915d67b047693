"""Every callback of Keras, one step in each call and in blocks of steps."""

import collections
import csv
import http.server
import json
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import callbacks

import kvae
from kvae.models.fit import cache, plan
from kvae.utils import keras_internals

EPOCHS, STEPS, BATCH = 3, 4, 8

# `blocks`: the steps of a call in a long training.
Case = collections.namedtuple("Case", "make blocks check", defaults=(STEPS, None))


class Server:
    """Listens where `RemoteMonitor` sends to, and keeps what it is sent."""

    def __init__(self):
        found = self.found = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


class Run:
    """A training with one callback, for the checks to look at."""

    def __init__(self, vae, folder, server):
        self.vae, self.folder, self.server = vae, folder, server
        self.seen = []  # What functions given to a callback were told.
        self.callback = self.history = None
        self.weights = []  # After each epoch: an average of weights replaces the last at the end.

    def tags(self) -> set:
        """The names of all that TensorBoard was given."""
        files = list((self.folder / "tb").rglob("events*"))
        return {
            value.tag
            for path in files
            for event in tf.compat.v1.train.summary_iterator(str(path))
            for value in event.summary.value
        }


def tensorboard(**settings):
    return lambda run: callbacks.TensorBoard(str(run.folder / "tb"), **settings)


def wrote(*names):
    def check(run):
        tags = run.tags()
        assert {"epoch_loss", "epoch_elbo", *names} <= tags

    return check


def files(pattern, count):
    def check(run):
        assert len(list(run.folder.glob(pattern))) == count

    return check


def checkpoint(name, **settings):
    return lambda run: callbacks.ModelCheckpoint(run.folder / name, **settings)


def check_saved(run):
    """Saved every two steps, each with the weights of its step."""
    names = {f"{epoch}-{step}.keras" for epoch in (1, 2, 3) for step in (2, 4)}
    assert {path.name for path in run.folder.glob("*.keras")} == names
    loaded = kvae.load_model(run.folder / "2-2.keras")  # The sixth of twelve steps.
    assert int(loaded.optimizer.iterations) == int(run.vae.optimizer.iterations) - 6


def check_loads(run):
    loaded = kvae.load_model(run.folder / "m.keras")
    assert int(loaded.optimizer.iterations) == int(run.vae.optimizer.iterations)
    for a, b in zip(loaded.get_weights(), run.weights[-1], strict=True):
        np.testing.assert_array_equal(a, b)


def backup(**settings):
    return lambda run: callbacks.BackupAndRestore(
        str(run.folder / "backup"), delete_checkpoint=False, **settings
    )


def check_backup(run):
    assert json.loads((run.folder / "backup/training_metadata.json").read_text())["epoch"] >= 2
    run.vae.load_weights(run.folder / "backup/latest.weights.h5")


def check_csv(run):
    rows = list(csv.DictReader((run.folder / "log.csv").open()))
    assert [float(row["val_elbo"]) for row in rows] == pytest.approx(run.history["val_elbo"])


def check_stopped(run):
    assert len(run.history["loss"]) == 2


def check_rate(expected):
    def check(run):
        assert float(run.vae.optimizer.learning_rate) == pytest.approx(expected)

    return check


def orbax(run):
    pytest.importorskip("orbax.checkpoint")
    return callbacks.OrbaxCheckpoint(str(run.folder / "orbax"), save_on_background=False)


def remote(run):
    pytest.importorskip("requests")
    run.server.found.clear()
    return callbacks.RemoteMonitor(run.server.address, send_as_json=True)


def check_remote(run):
    assert [row["epoch"] for row in run.server.found] == list(range(EPOCHS))
    assert [row["loss"] for row in run.server.found] == pytest.approx(run.history["loss"])


def told(hook):
    return lambda run: callbacks.LambdaCallback(
        **{hook: lambda number, logs=None: run.seen.append(number)}
    )


def check_told(expected):
    def check(run):
        assert run.seen == expected

    return check


def check_swapped(run):
    averages = [v for v in run.vae.optimizer.variables if v.path.endswith("_average")]
    assert len(averages) == len(run.vae.trainable_variables) > 0
    for average, weight in zip(averages, run.vae.trainable_variables, strict=True):
        np.testing.assert_array_equal(average, weight)


def check_history(run):
    assert set(run.callback.history) == set(run.history) and len(run.callback.epoch) == EPOCHS


class OwnCheckpoint(callbacks.ModelCheckpoint):
    """A class of Keras's that a user has given a hook for each step."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.batches = [*getattr(self, "batches", []), batch]


def check_own(run):
    assert run.callback.batches == list(range(STEPS)) * EPOCHS


class OwnTensorBoard(callbacks.TensorBoard):
    def on_batch_end(self, batch, logs=None):
        """An older name of `on_train_batch_end`, which TensorBoard does not call."""


CASES = {
    "BackupAndRestore": Case(backup(), check=check_backup),
    "BackupAndRestore-2": Case(backup(save_freq=2), 2, check_backup),
    "BackupAndRestore-double": Case(backup(double_checkpoint=True), check=files("backup/*", 4)),
    "CSVLogger": Case(lambda run: callbacks.CSVLogger(run.folder / "log.csv"), check=check_csv),
    "EarlyStopping": Case(
        lambda run: callbacks.EarlyStopping(
            "val_elbo", mode="max", min_delta=1e9, patience=0, restore_best_weights=True
        ),
        check=check_stopped,
    ),
    "History": Case(lambda run: callbacks.History(), check=check_history),
    "LambdaCallback": Case(told("on_epoch_end"), check=check_told([0, 1, 2])),
    "LambdaCallback-batch": Case(
        told("on_train_batch_end"), 1, check_told(list(range(STEPS)) * EPOCHS)
    ),
    "LambdaCallback-on_batch_begin": Case(
        told("on_batch_begin"), 1, check_told(list(range(STEPS)) * EPOCHS)
    ),
    "LearningRateScheduler": Case(
        lambda run: callbacks.LearningRateScheduler(lambda epoch, rate: 0.5**epoch),
        check=check_rate(0.25),
    ),
    "ModelCheckpoint": Case(checkpoint("m.keras"), check=check_loads),
    "ModelCheckpoint-names": Case(
        checkpoint("{epoch}-{val_elbo:.2f}.weights.h5", save_weights_only=True),
        check=files("?-*.weights.h5", EPOCHS),
    ),
    "ModelCheckpoint-best": Case(
        checkpoint("m.keras", monitor="val_elbo", mode="max", save_best_only=True),
        check=files("m.keras", 1),
    ),
    "ModelCheckpoint-2": Case(
        checkpoint("{epoch}-{batch}.keras", save_freq=2),
        2,
        check_saved,
    ),
    "OrbaxCheckpoint": Case(orbax, check=files("orbax/*", 1)),
    "ProgbarLogger": Case(lambda run: callbacks.ProgbarLogger()),
    "ReduceLROnPlateau": Case(
        lambda run: callbacks.ReduceLROnPlateau(
            "elbo", mode="max", factor=0.5, patience=1, min_delta=1e9
        ),
        check=check_rate(0.01 * 0.5**2),
    ),
    "RemoteMonitor": Case(remote, check=check_remote),
    "SwapEMAWeights": Case(lambda run: callbacks.SwapEMAWeights()),
    "SwapEMAWeights-epoch": Case(
        lambda run: callbacks.SwapEMAWeights(swap_on_epoch=True), check=check_swapped
    ),
    "TensorBoard": Case(tensorboard(), check=wrote("epoch_learning_rate")),
    "TensorBoard-histograms": Case(
        tensorboard(histogram_freq=1, write_images=True, write_graph=False), check=wrote()
    ),
    "TensorBoard-seconds": Case(
        tensorboard(write_steps_per_second=True), check=wrote("epoch_steps_per_second")
    ),
    "TensorBoard-batch": Case(tensorboard(update_freq="batch"), 1, wrote("batch_loss", "batch_kl")),
    "TensorBoard-2": Case(tensorboard(update_freq=2), 1, wrote("batch_loss")),
    "TensorBoard-profile": Case(tensorboard(profile_batch=2), 1, wrote()),
    "TensorBoard-embeddings": Case(
        tensorboard(embeddings_freq=1), check=files("tb/train/keras_embedding*", EPOCHS)
    ),
    "TerminateOnNaN": Case(lambda run: callbacks.TerminateOnNaN(), 1),
    "of-the-user": Case(lambda run: OwnCheckpoint(run.folder / "m.keras"), 1, check_own),
    "of-the-user-TensorBoard": Case(lambda run: OwnTensorBoard(str(run.folder)), 1),
}


# A few that change a training or save its state, and one of every step.
CHOSEN = (
    "BackupAndRestore-blocks",
    "EarlyStopping-blocks",
    "LambdaCallback-batch-blocks",
    "ReduceLROnPlateau-blocks",
    "SwapEMAWeights-epoch-blocks",
)


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae(optimizer=keras.optimizers.Adam(0.01, use_ema=True))


def test_every_class_of_keras_has_a_case():
    kinds = {
        name
        for name, kind in vars(callbacks).items()
        if isinstance(kind, type) and issubclass(kind, callbacks.Callback)
    }
    cases = {name.split("-")[0] for name in CASES}
    assert kinds - {"Callback", "CallbackList", "MonitorCallback"} <= cases


@pytest.mark.filterwarnings("ignore:The model does not have any")
@pytest.mark.default(*CHOSEN)
@pytest.mark.parametrize(
    "name, regime",
    [
        (name, regime)
        for name, case in CASES.items()
        for regime in ("steps", "blocks")
        if case.blocks > 1 or regime == "blocks"
    ],
)
def test_a_callback(vae, digits, server, tmp_path, monkeypatch, capsys, name, regime):
    case = CASES[name]
    if regime == "blocks":  # As in a long training.
        monkeypatch.setattr(plan, "LEAST_STEPS", 1)
    if name.startswith("OrbaxCheckpoint") and not hasattr(callbacks, "OrbaxCheckpoint"):
        pytest.skip("younger than this Keras")
    begun, begin = [], cache.Cache.begin

    def spy(cache, vae, data, batch_size, plan, *order):
        begun.append(plan.steps)
        return begin(cache, vae, data, batch_size, plan, *order)

    monkeypatch.setattr(cache.Cache, "begin", spy)
    vae.optimizer.learning_rate = 0.01
    run = Run(vae, tmp_path, server)
    run.callback = case.make(run)
    between = keras_internals.steps_between(run.callback)
    assert between == (None if case.blocks == STEPS else case.blocks)
    x = digits[: BATCH * STEPS]
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: run.weights.append(vae.get_weights())
    )
    run.history = vae.fit(
        x,
        validation_data=x[:BATCH],
        batch_size=BATCH,
        epochs=EPOCHS,
        callbacks=[run.callback, keep],
    ).history
    assert begun == [case.blocks if regime == "blocks" else 1]
    reason = f"the callback {type(run.callback).__name__} is called at every step"
    printed = capsys.readouterr().out
    assert (reason in printed) is (regime == "blocks" and case.blocks == 1)
    assert len(run.history["loss"]) in (2, EPOCHS) and np.isfinite(run.history["val_loss"]).all()
    if case.check is not None:
        case.check(run)
