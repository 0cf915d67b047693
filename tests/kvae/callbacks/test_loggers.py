"""Loggers of other packages, which keep blocks of steps where they log by the epoch."""

import sys
import types

import keras
import pytest

import kvae
from kvae.models.fit import plan
from kvae.utils import keras_internals


class MlflowCallback(keras.callbacks.Callback):
    """Has the hooks and the settings of that of MLflow 3.18."""

    def __init__(self, log_every_epoch=True, log_every_n_steps=None):
        super().__init__()
        self.log_every_epoch, self.log_every_n_steps = log_every_epoch, log_every_n_steps

    def on_batch_end(self, batch, logs=None):
        """Returns without a number of steps."""


class WandbMetricsLogger(keras.callbacks.Callback):
    """Has the hooks and the settings of that of Weights & Biases 0.31."""

    def __init__(self, log_freq="epoch"):
        super().__init__()
        self.logging_batch_wise = isinstance(log_freq, int)

    def on_batch_end(self, batch, logs=None):
        """Counts calls."""

    def on_train_batch_end(self, batch, logs=None):
        """Calls `on_batch_end`."""


class WandbModelCheckpoint(keras.callbacks.ModelCheckpoint):
    def on_train_batch_end(self, batch, logs=None):
        """Saves every `save_freq` steps."""


MODULES = {
    "mlflow.keras.callback": MlflowCallback,
    "wandb.integration.keras.callbacks.metrics_logger": WandbMetricsLogger,
    "wandb.integration.keras.callbacks.model_checkpoint": WandbModelCheckpoint,
}


@pytest.fixture(autouse=True)
def packages(monkeypatch):
    for name, kind in MODULES.items():
        module = types.ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(
    "epochs, steps, setting",
    [
        (MlflowCallback(), MlflowCallback(False, 10), "log_every_epoch=True"),
        (WandbMetricsLogger(), WandbMetricsLogger(5), 'log_freq="epoch"'),
        (
            WandbModelCheckpoint("m.keras"),
            WandbModelCheckpoint("m.keras", save_freq=2),
            'save_freq="epoch"',
        ),
        (
            keras.callbacks.TensorBoard(),
            keras.callbacks.TensorBoard(update_freq=1),
            'update_freq="epoch" and profile_batch=0',
        ),
    ],
    ids=["mlflow", "wandb", "wandb-checkpoint", "tensorboard"],
)
def test_blocks_stay_where_a_logger_logs_by_the_epoch(make_vae, digits, epochs, steps, setting):
    vae, data = make_vae(optimizer="sgd"), kvae.datasets.Dataset(digits)

    def planned(callback):
        return plan.plan_steps(vae, data, 16, 1000, None, [callback])

    assert keras_internals.steps_between(epochs) is None
    assert planned(epochs).steps == 4 and not planned(epochs).reason
    assert keras_internals.steps_between(steps) == 1
    told = f"the callback {type(steps).__name__} is called at every step, unless it has {setting}"
    assert planned(steps).steps == 1 and planned(steps).reason == told


def test_a_subclass_with_hooks_of_its_own_is_called_at_every_step():
    class Own(MlflowCallback):
        def on_train_batch_end(self, batch, logs=None):
            """Does something of its own."""

    assert keras_internals.steps_between(Own()) == 1


def test_a_class_that_only_has_the_name_is_a_callback_of_the_users_own(monkeypatch):
    monkeypatch.delitem(sys.modules, "mlflow.keras.callback")
    assert keras_internals.steps_between(MlflowCallback()) == 1
