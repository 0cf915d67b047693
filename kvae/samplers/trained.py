"""The base of samplers that are trained by gradient descent."""

import math

import keras
import numpy as np
from keras import ops

from kvae import random
from kvae.datasets.dataset import Dataset
from kvae.samplers.sampler import Sampler
from kvae.training import Settings, train
from kvae.utils import arguments

__all__ = ["Likelihood", "TrainedSampler"]

# Steps between two looks at the held-out codes. Epochs would not do, for there may be few codes.
_EVERY = 100


class TrainedSampler(Sampler):
    """A sampler whose density is trained on codes by gradient descent.

    A tenth of the codes is held out, and looked at every hundred steps: the weights that give them
    the best likelihood are kept.

    Args:
        steps: int. Steps of the optimizer, Adam.
        batch_size: int.
        learning_rate: float. The rate at the first step, from which it falls to 0 by a half cosine.

    Raises:
        ValueError: for a number that is out of its range.
    """

    def __init__(self, steps: int, batch_size: int, learning_rate: float):
        super().__init__()
        self.steps = arguments.whole("steps", steps)
        looks = math.ceil(self.steps / _EVERY)
        self._settings = Settings(
            epochs=looks,
            batch_size=batch_size,
            learning_rate=learning_rate,
            global_clipnorm=10.0,
        )

    def train_density(self, model, codes: np.ndarray, seed: int) -> None:
        """Trains a Keras model whose data are batches of codes `[n, latent_dim]`.

        Raises:
            ValueError: for fewer than two codes, and where the training diverges.
        """
        if len(codes) < 2:
            raise ValueError(f"A density is trained on two codes at least, not {len(codes)}.")
        order = np.argsort(random.uniform([len(codes)], random.fold_in(seed, 1)), kind="stable")
        held_out = max(1, len(codes) // 10)
        size, looks = self._settings.batch_size, self._settings.epochs
        trained = train(
            model,
            Dataset(codes[order[held_out:]], seed=seed).batches(size, shuffle=True, repeat=True),
            self._settings,
            validation_data=Dataset(codes[order[:held_out]]).batches(size),
            steps_per_epoch=math.ceil(self.steps / looks),
        )
        if trained.best is None:
            raise ValueError(
                "The training on codes diverged: lower "
                f"learning_rate={self._settings.learning_rate:g}."
            )


class Likelihood(keras.Model):
    """A model whose loss is −log p(z) in nats, averaged over the batch."""

    def __init__(self, prior):
        super().__init__(name="likelihood_of_codes", dtype="float32")
        self.prior = prior

    def call(self, z):
        return -self.prior.log_prob(z)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)
