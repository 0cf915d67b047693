"""Everything in `kvae.VAE` that has to do with training, in one class."""

from kvae.models.fit.compile import Compile
from kvae.models.fit.evaluate import Evaluate
from kvae.models.fit.fit import Fit
from kvae.models.fit.train_step import TrainStep
from kvae.utils.keras_internals import KerasHooks

__all__ = ["Trainer"]


class Trainer(Compile, Fit, Evaluate, TrainStep, KerasHooks):
    """The methods of `kvae.VAE` that Keras compiles, trains, tests and predicts with."""
