"""Callbacks of other packages that log trainings, and which of them act at every step.

They are known by the names of their classes, and no package is imported for them.
"""

import sys
from collections.abc import Callable

__all__ = ["advice", "at_steps"]

# By module and class: the setting with which it acts at the ends of epochs alone, and whether
# it acts at steps as it is set up; `None` where `keras_internals` tells that.
_KNOWN: dict[tuple[str, str], tuple[str, Callable | None]] = {
    ("keras.callbacks", "TensorBoard"): ('update_freq="epoch" and profile_batch=0', None),
    ("mlflow.keras.callback", "MlflowCallback"): (
        "log_every_epoch=True",
        lambda callback: callback.log_every_n_steps is not None,
    ),
    ("mlflow.tensorflow.callback", "MlflowCallback"): (
        "log_every_epoch=True",
        lambda callback: callback.log_every_n_steps is not None,
    ),
    ("mlflow.tensorflow.callback", "MlflowModelCheckpointCallback"): (
        'save_freq="epoch"',
        lambda callback: callback.save_freq != "epoch",
    ),
    ("wandb.integration.keras.callbacks.metrics_logger", "WandbMetricsLogger"): (
        'log_freq="epoch"',
        lambda callback: callback.logging_batch_wise,
    ),
    ("wandb.integration.keras.callbacks.model_checkpoint", "WandbModelCheckpoint"): (
        'save_freq="epoch"',
        lambda callback: callback.save_freq != "epoch",
    ),
}


def at_steps() -> dict[type, Callable]:
    """Returns functions that tell whether a logger acts at steps, by the classes that are there.

    Those of Keras itself are not among them.
    """
    return {kind: works for kind, (_, works) in _present().items() if works is not None}


def advice(callback) -> str:
    """Returns the setting with which a logger acts at the ends of epochs; empty for others."""
    for kind, (setting, _) in _present().items():
        if isinstance(callback, kind):
            return setting
    return ""


def _present() -> dict[type, tuple[str, Callable | None]]:
    found = {}
    for (module, name), known in _KNOWN.items():
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type):
            found[kind] = known
    return found
