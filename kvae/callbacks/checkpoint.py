"""Checkpoints from which a training goes on as if it had never stopped."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras

from kvae import distributed
from kvae.callbacks.termination import Termination
from kvae.utils import io, keras_internals, locks, names, seals
from kvae.utils.differences import differences

__all__ = ["Checkpoint"]

_STATE = "state.json"
_UNREAD = object()


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimizer, noise stream, history and the best weights so far in a folder.

    Every file is written beside its place and renamed; `state.json` names the files that belong
    together and their SHA-256, and is replaced last. A process killed at any moment leaves the
    last checkpoint whole. With data whose order depends on the epoch (`kvae.datasets.Dataset`), a
    restored training repeats what the killed one would have done.

    While a model trains, the folder is locked (see `kvae.utils.locks.Lock`): a second training in
    it is refused and told who holds it. Other processes may read it meanwhile, by `restore`, and
    see one whole checkpoint.

    Several workers share the folder: the first one writes to it, and all of them read.

    After Ctrl-C, or a SIGTERM from a batch system or a cluster, the epoch ends, a checkpoint is
    saved, and then the signal has its effect: it raises `KeyboardInterrupt`, or ends the process. A
    second one has it at once, with the last checkpoint whole: one that is being written is
    finished.

    Args:
        directory: str or path. A folder for this training alone.
        fingerprint: str or dict. A name for the training, or facts of it that JSON can hold. A
            folder of another training is refused, with the facts that differ. Defaults to `""`.
        monitor: str. The logged quantity that chooses the best weights; without validation data it
            is that of the training. Defaults to `"val_loss"`.
        mode: str. `"min"` where the least value is the best, `"max"` where the largest is, e.g. for
            `"val_elbo"`. Defaults to `"min"`.
        every_seconds: float. The least time between two checkpoints. Defaults to `30.0`.

    Attributes:
        history: dict of lists. The logs by name, with a value for each finished epoch.
        seconds: float. The time of all finished epochs, of all runs together.
        best: float or `None`. The best value of `monitor`.
        best_epoch: int or `None`. The number of the best epoch, counted from 1.
        saved_epoch: int. The number of epochs that the last checkpoint holds.
        ended: bool. Whether the training ended after an epoch, all of which are saved then.

    Raises:
        ValueError: for an unknown `mode`.

    Example:

    ```python
    checkpoint = kvae.callbacks.Checkpoint("runs/mine")
    vae.fit(data, epochs=100, initial_epoch=checkpoint.restore(vae), callbacks=[checkpoint])
    checkpoint.load_best(vae)
    ```
    """

    def __init__(
        self,
        directory,
        fingerprint: str | Mapping[str, Any] = "",
        monitor: str = "val_loss",
        mode: str = "min",
        every_seconds: float = 30.0,
    ):
        super().__init__()
        self.directory = pathlib.Path(directory)
        # The folder's fingerprint has gone through JSON, so this one goes through it, too.
        self.fingerprint = json.loads(json.dumps(fingerprint))
        if mode not in ("min", "max"):
            raise names.unknown_name("mode", mode, ("min", "max"))
        self.monitor, self.mode = monitor, mode
        self.every_seconds = every_seconds
        self.history: dict[str, list[float]] = {}
        self.seconds = 0.0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.saved_epoch = 0
        self.ended = False
        self._best_weights = None
        self._last_saved = time.monotonic()
        self._epoch_start = time.monotonic()
        self._epoch_seconds: float | None = None
        self._pending: int | None = None
        self._termination = Termination(self._notice)
        self._lock = locks.Lock(self.directory, "a training")
        self._known = _UNREAD

    def restore(self, model) -> int:
        """Loads the last checkpoint into a compiled model.

        Another process may be training in the folder meanwhile: one whole checkpoint is loaded.

        Args:
            model: `kvae.VAE` or another `keras.Model`, built and compiled.

        Returns:
            int. The epoch to go on with, the `initial_epoch` of `fit`; 0 without a checkpoint.

        Raises:
            ValueError: when the folder belongs to another training, or a file was altered.
        """
        state = self._read()
        while state is not None:
            try:
                self._load(model, state)
            except (ValueError, OSError):
                # The training that writes here may have replaced the files in the meantime.
                now = self._read()
                if now == state:
                    raise
                state = now
            else:
                break
        self._known = None if state is None else state["files"]
        self.saved_epoch = 0 if state is None else state["epoch"]
        return self.saved_epoch

    def _read(self) -> dict | None:
        """Returns what `state.json` says, or `None` where there is none.

        Raises:
            ValueError: if it is damaged, or that of another training.
        """
        path = self.directory / _STATE
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise self._damaged() from None
        try:
            state = seals.unsealed(text)
            fingerprint = state["fingerprint"]
            whole = isinstance(state["files"], dict) and isinstance(state["epoch"], int)
        except (KeyError, ValueError):
            raise self._damaged() from None
        if not whole:
            raise self._damaged()
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.directory} holds another training{self._differing(fingerprint)}. Choose "
                "another folder or delete it."
            )
        return state

    def _differing(self, fingerprint) -> str:
        """Returns what distinguishes the training in the folder from this one, in words."""
        own = self.fingerprint
        if not (isinstance(fingerprint, dict) and isinstance(own, dict)):
            return f" ({fingerprint!r}, not {own!r})" if isinstance(own, str) else ""
        return f", with {'; '.join(differences(fingerprint, own))}"

    def _notice(self) -> str:
        """Returns what a training says that is asked to stop."""
        left = ""
        if self._epoch_seconds is not None:
            seconds = self._epoch_start + self._epoch_seconds - time.monotonic()
            left = f", in about {max(1, round(seconds))} s"
        return f"Stopping at the end of this epoch{left}. Once more (Ctrl-C) stops at once."

    def _damaged(self) -> ValueError:
        path = self.directory / _STATE
        return ValueError(f"{path} is damaged. Delete {self.directory} to start anew.")

    def _load(self, model, state: dict) -> None:
        try:
            files = {role: self._checked(entry) for role, entry in state["files"].items()}
            best, last = files["best"], files["last"]
            facts = [state[name] for name in ("history", "best", "best_epoch", "seconds")]
        except (AttributeError, KeyError, TypeError):
            raise self._damaged() from None
        model.load_weights(best)
        self._best_weights = model.get_weights()
        keras_internals.build_optimizer_for(model.optimizer, model.trainable_variables)
        model.load_weights(last)
        self.history, self.best, self.best_epoch, self.seconds = facts

    def load_best(self, model) -> None:
        """Sets the weights of a model to those of the best epoch, if there has been any.

        Args:
            model: the model that was trained or restored.
        """
        if self._best_weights is not None:
            model.set_weights(self._best_weights)

    def on_train_begin(self, logs=None):
        self.ended = False
        if distributed.is_chief(self.model.distribute_strategy):
            io.writable_folder(self.directory, "write checkpoints")
            self._lock.acquire()
            state = self._read()
            found = None if state is None else state["files"]
            if self._known not in (_UNREAD, found):
                raise ValueError(
                    f"Another training has written to {self.directory} since `restore` was called: "
                    "call it again, to go on from there."
                )
            self._known = found
        self._termination.watch()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self._epoch_seconds = time.monotonic() - self._epoch_start
        self.seconds += self._epoch_seconds
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        value = logs.get(self.monitor, logs.get(self.monitor.removeprefix("val_")))
        if value is None:
            raise names.unknown_name("monitor", self.monitor, logs)
        value = float(value)
        better = self.best is None or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if better:
            self.best, self.best_epoch = value, epoch + 1
            self._best_weights = self.model.get_weights()
        self._pending = epoch + 1
        # One worker's signal ends all of them: alone, they would wait for it.
        if distributed.agree(self.model.distribute_strategy, self._termination.requested):
            self._termination.requested = True
            self.model.stop_training = True
        # `fit` ends by putting averaged weights into the model, where there are any: a training
        # goes on from those that Adam made.
        ends = self.model.stop_training or epoch + 1 == (self.params or {}).get("epochs")
        if ends or time.monotonic() - self._last_saved >= self.every_seconds:
            self._save()

    def on_train_end(self, logs=None):
        if self._pending is not None:
            self._save()
        self.ended = True
        self._lock.release()
        self._termination.obey()

    def release(self) -> None:
        """Unlocks the folder and stops watching for signals.

        `kvae.VAE.fit` does it where a training fails.
        """
        self._lock.release()
        self._termination.release()

    def _save(self) -> None:
        # A second signal waits for the file, without which its epochs would be lost.
        with self._termination.finished():
            if distributed.is_chief(self.model.distribute_strategy):
                io.writable_folder(self.directory, "write checkpoints")
                with self._lock, io.disk_errors(self.directory, "the last checkpoint is as it was"):
                    self._write(self._pending)
            self.saved_epoch = self._pending
            self._last_saved, self._pending = time.monotonic(), None

    def _write(self, epoch: int) -> None:
        files = {"last": self._write_weights("last", epoch)}
        last = self.model.get_weights()
        try:
            self.model.set_weights(self._best_weights)
            files["best"] = self._write_weights("best", epoch)
        finally:  # A full disk must not leave the model with other weights than it trained.
            self.model.set_weights(last)
        state = {
            "fingerprint": self.fingerprint,
            "epoch": epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "history": self.history,
            "files": files,
        }
        with io.atomic_write(self.directory / _STATE) as temporary:
            temporary.write_text(seals.sealed(state))
        self._known = files
        kept = {entry["file"] for entry in files.values()}
        for path in self.directory.glob("*-*.weights.h5"):
            if path.name not in kept:
                path.unlink()

    def _write_weights(self, role: str, epoch: int) -> dict:
        name = f"{role}-{epoch:05d}.weights.h5"
        # No file that `state.json` names is overwritten: it must match until the next one is there.
        known = {} if self._known is _UNREAD else self._known or {}
        if name in (entry["file"] for entry in known.values()):
            name = f"{role}-{epoch:05d}-again.weights.h5"
        self.model.save_weights(self.directory / name)
        return {"file": name, "sha256": io.sha256_file(self.directory / name)}

    def _checked(self, entry) -> pathlib.Path:
        path = self.directory / entry["file"]
        if not path.exists() or io.sha256_file(path) != entry["sha256"]:
            raise ValueError(
                f"{path} is missing or was altered. Delete {self.directory} to start anew."
            )
        return path
