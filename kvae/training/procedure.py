"""The training procedure: Adam on a half cosine, a warm-up of β, checkpoints, the best weights."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras.optimizers import schedules

from kvae.callbacks import Checkpoint
from kvae.datasets.batches import BaseDataset
from kvae.schedules import is_schedule
from kvae.utils import arguments, keras_internals

__all__ = ["Interrupted", "Settings", "Trained", "train"]

# The figures of which more is better.
_MAXIMIZED = ("elbo", "val_elbo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a training.

    Attributes:
        epochs: int. The number of epochs in total, those of earlier runs in the same folder
            included.
        batch_size: int. Defaults to `128`.
        learning_rate: float. The learning rate of Adam at the first step. Defaults to `1e-3`.
        final_rate: float from 0 to 1. The share of the learning rate that is left at the last step.
            The rate falls to it by a half cosine over all epochs, and stays constant for `1.0`.
            Defaults to `0.0`.
        warmup_epochs: int. Epochs over which the objective's `beta`, the weight of the KL
            divergence, rises in a straight line from 0 to its own value. Defaults to `0`.
        global_clipnorm: float or `None`. The norm that all gradients together are clipped to.
            Defaults to `None`.
        weight_decay: float. The share of a weight, times the learning rate, that each step takes
            away (AdamW). Defaults to `0.0`.
        monitor: str or `None`. The figure that chooses the epoch whose weights are kept, e.g.
            `"val_loss"`. `"auto"` is the ELBO of the validation data, which has the weight 1 for
            the KL divergence whatever the loss has, and for an autoencoder their loss. `None` keeps
            the weights of the last epoch. Defaults to `"auto"`.
        ema_momentum: float below 1, or `None`. The momentum of an exponential moving average of the
            weights (Keras's own), which the model has in the end: 0.999 averages over about the
            last 1,000 steps. It replaces the choice of an epoch, so `monitor` has to be `None`.
            Defaults to `None`: the weights are what Adam made them.
        compile: mapping. Further arguments of `compile`. Defaults to none.

    Raises:
        ValueError: for a number that is out of its range.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    final_rate: float = 0.0
    warmup_epochs: int = 0
    global_clipnorm: float | None = None
    weight_decay: float = 0.0
    monitor: str | None = "auto"
    ema_momentum: float | None = None
    compile: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0)):
            arguments.whole(name, getattr(self, name), least)
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` is more than 0, not {self.learning_rate!r}.")
        arguments.number("final_rate", self.final_rate, 0.0, 1.0)
        arguments.number("weight_decay", self.weight_decay, 0.0)
        if self.ema_momentum is not None:
            arguments.number("ema_momentum", self.ema_momentum, 0.0, 1.0)
            if self.ema_momentum == 1 or self.monitor is not None:
                raise ValueError(
                    "`ema_momentum` is less than 1 and needs `monitor=None`: the average of the "
                    "weights is taken in the end, and no epoch is chosen."
                )

    def optimizer(self, steps: int) -> keras.optimizers.Adam:
        """Returns Adam with its learning rate for a training of so many steps."""
        rate = self.learning_rate
        if self.final_rate < 1:
            rate = schedules.CosineDecay(rate, steps, alpha=self.final_rate)
        options = {"weight_decay": self.weight_decay} if self.weight_decay else {}
        if self.ema_momentum is not None:
            options |= {"use_ema": True, "ema_momentum": self.ema_momentum}
        return keras.optimizers.Adam(rate, global_clipnorm=self.global_clipnorm, **options)


class Interrupted(KeyboardInterrupt):
    """A training that Ctrl-C has ended, or a signal whose handler raises `KeyboardInterrupt`.

    The model has the best weights so far. The same call goes on with the training where its
    checkpoints are in a folder.

    Attributes:
        best_epoch: int or `None`. The epoch of these weights, counted from 1; `None` where no epoch
            was finished, and the model has no weights to use.
        saved_epoch: int. The number of epochs that the folder holds, after which it goes on.
        epochs: int. The number of epochs that the training was to have.
        at_once: bool. Whether it ended within an epoch, as a second Ctrl-C makes it do. What came
            after the last checkpoint has to be trained again then.
    """

    def __init__(
        self, best_epoch: int | None, saved_epoch: int, epochs: int, at_once: bool = False
    ):
        super().__init__("the training was interrupted")
        self.best_epoch, self.saved_epoch, self.epochs = best_epoch, saved_epoch, epochs
        self.at_once = at_once


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training: its history, its best epoch and its time.

    Attributes:
        history: dict of lists. The logs by name, with a value for each epoch.
        best: float or `None`. The value of the monitored figure in the epoch that was kept, where
            one was chosen.
        best_epoch: int or `None`. The number of that epoch, counted from 1.
        seconds: float. The time of all epochs, of all runs of a resumed training together.
        epochs_run: int. The number of epochs that were not done before.
    """

    history: dict[str, list[float]]
    best: float | None
    best_epoch: int | None
    seconds: float
    epochs_run: int


def train(
    model: keras.Model,
    data,
    settings: Settings,
    *,
    validation_data=None,
    steps_per_epoch: int | None = None,
    directory=None,
    fingerprint: str | Mapping[str, Any] = "",
    every_seconds: float = 30.0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> Trained:
    """Trains a model, or goes on with a training, and leaves the best weights in the model.

    Make the model in a block of `kvae.random.initial_weights(seed)`, or by `zoo.build(…, seed=…)`:
    its initial weights then depend on the seed alone. A model that was made in the scope of a
    distribution strategy is trained under it.

    With more `epochs` than before, a finished training in a folder goes on. Its learning rate then
    is what it would be at this point of a training of so many epochs: it rises again from where it
    had fallen to, and falls over the epochs that are left.

    Args:
        model: `kvae.VAE` or another `keras.Model`, built. It is compiled here.
        data: `kvae.datasets.Dataset` or `Stream`, or other data that the model's `fit` takes.
        settings: `Settings`.
        validation_data: what `fit` takes. Defaults to `None`: the figures that choose the best
            epoch are those of the training data.
        steps_per_epoch: int. The steps of an epoch, for data that do not know their number.
            Defaults to `None`.
        directory: path or `None`. The folder for checkpoints, from which a training that was
            interrupted goes on. Defaults to `None`: nothing is written.
        fingerprint, every_seconds: as in `kvae.callbacks.Checkpoint`.
        callbacks: sequence of further Keras callbacks.
        verbose: as in `fit`. Defaults to `0`.

    Returns:
        `Trained`.

    Raises:
        BlockingIOError: if another training holds the folder.
        Interrupted: a `KeyboardInterrupt`, when Ctrl-C ends a training in a folder. The first one
            lets the epoch end and saves it.
        FloatingPointError: if the loss of a `kvae.VAE` is no longer finite.
        ValueError: for `warmup_epochs` with an objective that has no β, or a schedule of its own
            for it; if the folder holds another training; and where `fit` refuses the data.

    Example:

    ```python
    digits, validation = (kvae.datasets.load("digits", split) for split in ("train", "validation"))
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), seed=1)
    settings = kvae.training.Settings(epochs=50, batch_size=64, final_rate=0.02)
    kvae.training.train(vae, digits, settings, validation_data=validation, directory="runs/mine")
    ```
    """
    examples = isinstance(data, BaseDataset)  # Other data come in batches, and in their own order.
    steps = data.steps(settings.batch_size) if steps_per_epoch is None else steps_per_epoch
    if settings.warmup_epochs:
        _warm_up(model, settings.warmup_epochs * steps)
    with model.distribute_strategy.scope():
        optimizer = settings.optimizer(settings.epochs * steps)
        model.compile(optimizer, **settings.compile)
    monitor = _monitor(model, settings, validation_data is not None)
    mode = "max" if monitor in _MAXIMIZED else "min"
    checkpoint, first, keeping = None, 0, []
    if directory is not None:
        checkpoint = Checkpoint(
            directory, fingerprint, monitor or "loss", mode, every_seconds=every_seconds
        )
        first = checkpoint.restore(model)
        _fit_schedule(optimizer, model, (settings.epochs - first) * steps)
        keeping = [checkpoint]
    elif monitor is not None:
        keeping = [
            keras.callbacks.EarlyStopping(
                monitor, mode=mode, patience=settings.epochs, restore_best_weights=True
            )
        ]
    history, start = {}, time.monotonic()
    left = max(0, settings.epochs - first)
    if left:
        try:
            history = model.fit(
                data,
                validation_data=validation_data,
                epochs=settings.epochs,
                batch_size=settings.batch_size if examples else None,
                steps_per_epoch=steps_per_epoch,
                initial_epoch=first,
                shuffle=examples,
                verbose=verbose,
                callbacks=[*keeping, *callbacks],
            ).history
        except KeyboardInterrupt as interrupt:
            if checkpoint is None:
                raise
            checkpoint.load_best(model)
            facts = (
                checkpoint.best_epoch,
                checkpoint.saved_epoch,
                settings.epochs,
                not checkpoint.ended,
            )
            raise Interrupted(*facts) from interrupt
    elif settings.ema_momentum is not None:
        optimizer.finalize_variable_values(model.trainable_variables)  # As `fit` does in the end.
    seconds = time.monotonic() - start
    if checkpoint is None:
        return Trained(history, *_best(keeping), seconds, left)
    history, seconds = checkpoint.history, checkpoint.seconds
    if monitor is None:
        return Trained(history, None, None, seconds, left)
    checkpoint.load_best(model)
    return Trained(history, checkpoint.best, checkpoint.best_epoch, seconds, left)


def _fit_schedule(optimizer, model, left: int) -> None:
    """Lets the learning rate fall until the last step, where earlier epochs had more steps."""
    rate = keras_internals.learning_rate_schedule(optimizer)
    if isinstance(rate, schedules.CosineDecay):
        rate.decay_steps = max(rate.decay_steps, int(model.optimizer.iterations.numpy()) + left)


def _warm_up(model, steps: int) -> None:
    """Gives the objective's β a schedule that rises from 0 to its own value."""
    objective = getattr(model, "objective", None)
    scheduled = {} if objective is None else objective.scheduled()
    if "beta" not in scheduled:
        raise ValueError(
            f"The objective {type(objective).__name__} has no `beta`: leave out `warmup_epochs`."
        )
    if is_schedule(scheduled["beta"]):
        raise ValueError(
            f"{model.name}: `warmup_epochs` lets β rise, and the objective has a schedule of its "
            "own for it. Leave one of them out."
        )
    objective.set_scheduled("beta", schedules.PolynomialDecay(0.0, steps, scheduled["beta"]))


def _monitor(model, settings: Settings, validated: bool) -> str | None:
    """Returns the figure that chooses the best epoch, of the training data without others."""
    monitor = settings.monitor
    if monitor == "auto":
        posterior = getattr(model, "posterior", None)
        monitor = "val_loss" if posterior is None or not posterior.has_density else "val_elbo"
    return monitor if monitor is None or validated else monitor.removeprefix("val_")


def _best(keeping: list) -> tuple[float | None, int | None]:
    """Returns the best value that Keras's callback has seen, and the number of its epoch."""
    if not keeping or keeping[0].best is None:
        return None, None
    return float(keeping[0].best), keeping[0].best_epoch + 1
