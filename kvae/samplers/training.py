"""What the samplers that are trained have in common."""

import math

import keras
import numpy as np

from kvae import random
from kvae.datasets.dataset import Dataset
from kvae.utils import arguments

__all__ = ["Training"]

_EVERY = 100


class Training:
    """How a density is trained on codes: Adam, a half cosine to 0, and the best weights are kept.

    A tenth of the codes is held out, and looked at every hundred steps: the weights that give them
    the best likelihood are those that stay. Steps and not epochs, for there may be few codes.

    Args:
        steps, batch_size: int.
        learning_rate: float.
    """

    def __init__(self, steps: int, batch_size: int, learning_rate: float):
        self.steps = arguments.whole("steps", steps)
        self.batch_size = arguments.whole("batch_size", batch_size)
        if not learning_rate > 0:
            raise ValueError(f"`learning_rate` is more than 0, not {learning_rate!r}.")
        self.learning_rate = learning_rate

    def run(self, model, codes: np.ndarray, seed: int, monitor: str, mode: str) -> None:
        """Trains a Keras model whose data are batches of codes; `monitor` is the figure to keep.

        Raises:
            ValueError: for fewer than two codes, and where training diverges.
        """
        if len(codes) < 2:
            raise ValueError(f"A density is trained on two codes at least, not {len(codes)}.")
        order = np.argsort(random.uniform([len(codes)], random.fold_in(seed, 1)), kind="stable")
        held_out = max(1, len(codes) // 10)
        train = Dataset(codes[order[held_out:]], seed=seed)
        validation = Dataset(codes[order[:held_out]])
        looks = math.ceil(self.steps / _EVERY)
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.steps)
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=10.0))
        best = keras.callbacks.EarlyStopping(
            monitor, mode=mode, patience=looks, restore_best_weights=True
        )
        history = model.fit(
            train.batches(self.batch_size, shuffle=True, repeat=True),
            validation_data=validation.batches(self.batch_size),
            steps_per_epoch=math.ceil(self.steps / looks),
            epochs=looks,
            verbose=0,
            shuffle=False,  # By Keras; the batches are in an order of each epoch already.
            callbacks=[best],
        )
        if not np.isfinite(history.history[monitor]).any():
            raise ValueError(
                f"The training on codes diverged: lower learning_rate={self.learning_rate:g}."
            )
