"""Checks that `kvae.VAE.fit` makes before a training begins."""

import functools

import keras
import numpy as np

from kvae import schedules
from kvae.datasets import Dataset
from kvae.utils import callers, keras_internals, masks, optional

__all__ = [
    "check_packages",
    "one_at_a_time",
    "refuse_class_weight",
    "refuse_unobserved",
    "warn_of_backups",
    "warn_of_monitors",
    "warn_of_no_labels",
    "warn_of_unseeded_weights",
]

_LOOKS = 50  # Points of a training at which schedules are looked at.


def check_packages(callbacks) -> None:
    """Refuses callbacks whose package is missing, which would show only after the first epoch.

    Raises:
        ModuleNotFoundError: for `keras.callbacks.TensorBoard` without the package `tensorboard`.
    """
    boards = [one for one in callbacks if isinstance(one, keras.callbacks.TensorBoard)]
    if boards:
        optional.require("tensorboard", purpose="keras.callbacks.TensorBoard")


def one_at_a_time(fit):
    """Decorates `fit`: a model that a thread trains is not trained by another one meanwhile.

    Raises:
        RuntimeError: in the other thread.
    """

    @functools.wraps(fit)
    def wrapper(self, *arguments, **options):
        if not self.training_lock.acquire(blocking=False):
            raise RuntimeError(
                f"{self.name} is being trained by another thread, and has one set of weights: wait "
                "until that training ends, or give each thread a model of its own."
            )
        try:
            return fit(self, *arguments, **options)
        finally:
            self.training_lock.release()

    return wrapper


def refuse_unobserved(vae, data) -> None:
    """Refuses data in memory of which no value was observed, as a wrong mask makes them.

    Raises:
        ValueError: for such data.
    """
    if vae.missing is None or not isinstance(data, Dataset):
        return
    x = data.x if data.target is None else data.target
    there = data.mask if data.mask is not None else masks.observed(x[:1])
    if there.any() or (data.mask is None and masks.observed(x).any()):
        return
    raise ValueError(
        f"No value of the {len(data)} examples was observed: all of them are NaN, or False in the "
        "mask, in which True stands for what was observed."
    )


def warn_of_no_labels(vae, data) -> None:
    """Warns that a model which guesses labels is given none, in data in memory.

    Its classifier then learns groups of its own, which stand for no classes.
    """
    if not vae.takes_unknown_labels or not isinstance(data, Dataset):
        return
    if not np.any(np.asarray(data.labels) >= 0):
        callers.warn(
            f"None of the {len(data)} examples has a label, so that the classes that {vae.name} "
            "finds will be groups of its own. Give the labels that are known, fit((x, labels)), "
            "with -1 for the others."
        )


def warn_of_unseeded_weights(vae) -> None:
    """Warns that a training will not repeat, because each process draws other initial weights.

    Weights that were loaded, or that have been trained, are known.
    """
    if vae.weights_are_known or int(vae.optimizer.iterations.numpy()):
        return
    unseeded = [layer.name for layer in keras_internals.unseeded_layers(vae)]
    if not unseeded:
        return
    vae.weights_are_known = True  # Once is enough.
    more = f" and of {len(unseeded) - 1} more layers" if len(unseeded) > 1 else ""
    callers.warn(
        "compile(reproducible=True) repeats a training from the same initial weights, and those "
        f"of {unseeded[0]}{more} were drawn without a seed, so that another process has others. "
        "Make the networks and the model in a block `with kvae.random.initial_weights(seed):`, or "
        "call keras.utils.set_random_seed before."
    )


def warn_of_backups(callbacks, x) -> None:
    """Warns of backups from which a training does not go on as if it had never stopped.

    Args:
        callbacks: list of those given to `fit`.
        x: what `fit` trains on, prepared.
    """
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.BackupAndRestore):
            continue
        if callback.save_freq != "epoch":
            why = f"with save_freq={callback.save_freq!r} it repeats steps of the broken epoch"
        elif isinstance(x, (np.ndarray, tuple)):
            why = "Keras shuffles these data, and its order does not depend on the epoch alone"
        else:
            continue
        callers.warn(
            f"A training that BackupAndRestore resumes ends with other weights: {why}. "
            "kvae.callbacks.Checkpoint with arrays or a kvae.datasets.Dataset resumes to the same "
            "bits."
        )


def warn_of_monitors(vae, callbacks, steps: int | None) -> None:
    """Warns of callbacks that compare losses of different objectives with each other.

    While β or a capacity changes, so does the loss, whatever the model does.

    Args:
        vae: `kvae.VAE`, compiled.
        callbacks: list of those given to `fit`.
        steps: int or `None`. Steps of the training, where they are known.
    """
    watching = [
        callback
        for callback in callbacks
        if getattr(callback, "monitor", None) in ("loss", "val_loss")
        and getattr(callback, "save_best_only", True)  # A ModelCheckpoint may keep all.
    ]
    if not watching:
        return
    first = int(vae.optimizer.iterations.numpy())
    looks = np.linspace(first, first + steps, _LOOKS) if steps else [first, schedules.LAST_STEP]
    changes = []
    for name, value in vae.objective.scheduled().items():
        if schedules.is_schedule(value):
            found = [float(value(int(step))) for step in looks]
            if max(found) - min(found) > 1e-6 * max(map(abs, found)):
                changes.append(f"`{name}` goes from {found[0]:.4g} to {found[-1]:.4g}")
    if not changes:
        return
    for callback in watching:
        kind = type(callback).__name__
        callers.warn(
            f"{kind} compares values of {callback.monitor!r}, whose meaning changes in this "
            f"training: {' and '.join(changes)}. Give it monitor='val_elbo' and mode='max' "
            "('elbo' without validation data)."
        )


def refuse_class_weight(class_weight) -> None:
    """Refuses weights of classes.

    Raises:
        ValueError: for anything but `None`.
    """
    if class_weight is not None:
        raise ValueError("A VAE has no classes: use `sample_weight` to weight examples.")
