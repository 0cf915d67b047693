"""The base class of the scikit-learn estimators: parameters, training, and log p of rows."""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

import zoo
from kvae.detection import Detector
from kvae.models import VAE
from kvae.parts import Part
from kvae.utils import arguments

__all__ = ["VAEEstimator", "beside_shared_parameters"]


class VAEEstimator(BaseEstimator):
    """The base of the estimators, with their parameters, which `VAETransformer` describes."""

    def __init__(
        self,
        *,
        architecture="dense_vae",
        latent_dim=2,
        hidden=(64,),
        likelihood="gaussian:learned",
        objective=None,
        missing=None,
        event_shape=None,
        architecture_params=None,
        epochs=100,
        batch_size=64,
        learning_rate=1e-3,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        num_samples=64,
        random_state=None,
        device=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.likelihood = likelihood
        self.objective = objective
        self.missing = missing
        self.event_shape = event_shape
        self.architecture_params = architecture_params
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.num_samples = num_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing is not None
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "vae_")  # A seed alone is left of a `fit` that failed.

    def fit(self, X, y=None):
        """Trains a model, which is `vae_` then.

        Args:
            X: array or frame `[n, columns]`.
            y: is not looked at.

        Returns:
            The estimator.

        Raises:
            ValueError: for rows and parameters that do not go together.
        """
        self._train(self._checked(X, reset=True))
        return self

    def score(self, X, y=None) -> float:
        """Returns the mean log p(x) of rows in nats, by which searches choose parameters.

        Args:
            X: array or frame `[n, columns]`.
            y: is not looked at.
        """
        return float(np.mean(self._log_prob(X)))

    def _log_prob(self, X) -> np.ndarray:
        """Returns log p(x) of rows, float64 `[n]`, each of which is independent of the others."""
        x = self._events_of_fitted(X)
        detector = Detector(self.vae_, "log_prob", num_samples=self.num_samples, seed=self.seed_)
        return -detector.score(x).astype(np.float64)

    def _checked(self, X, y="no_validation", reset: bool = False):
        """Returns rows `[n, columns]` of float32 or float64, checked as scikit-learn does; and y.

        With `reset`, which begins a training, the columns are those of X, and the seed is drawn.
        """
        if reset:
            self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        finite = "allow-nan" if self.missing is not None else True
        types = [np.float64, np.float32]
        return validate_data(self, X, y, reset=reset, dtype=types, ensure_all_finite=finite)

    def _events(self, rows: np.ndarray) -> np.ndarray:
        """Returns checked rows as the model takes them, float32 `[n, *event]`."""
        with np.errstate(over="ignore"):
            x = rows.astype(np.float32)
        if np.isinf(x).any():
            raise ValueError("X has values that are too large for float32, in which models run.")
        return x.reshape(len(x), *(self.event_shape or x.shape[1:]))

    def _events_of_fitted(self, X) -> np.ndarray:
        """Returns new rows as the model takes them."""
        check_is_fitted(self)
        return self._events(self._checked(X))

    def _train(self, rows: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Makes a model and trains it on checked rows, with labels if it is conditional."""
        options: dict[str, Any] = {"epochs": arguments.whole("epochs", self.epochs)}
        used = np.arange(len(rows))

        def data(chosen):
            x = self._events(rows[chosen])
            return x if labels is None else (x, labels[chosen])

        if self.early_stopping:
            used, held = self._split(len(rows), "validation_fraction")
            patience = arguments.whole("n_iter_no_change", self.n_iter_no_change)
            stopping = keras.callbacks.EarlyStopping(
                "val_elbo", mode="max", patience=patience, restore_best_weights=True
            )
            options |= {"validation_data": (data(held), None), "callbacks": [stopping]}
        with tf.device(self.device) if self.device else contextlib.nullcontext():
            self.vae_ = self._build(rows.shape[1:])
            self.vae_.compile(keras.optimizers.Adam(self.learning_rate))
            history = self.vae_.fit(
                data(used), batch_size=self.batch_size, verbose=int(self.verbose), **options
            )
        self.history_, self.n_iter_ = history.history, len(history.epoch)

    def _build(self, columns: tuple[int, ...], **parts) -> VAE:
        """Returns the untrained model of rows with these columns."""
        shape = tuple(self.event_shape or columns)
        if math.prod(shape) != columns[0]:
            raise ValueError(
                f"`event_shape` {shape} has {math.prod(shape)} values, and a row of X has "
                f"{columns[0]}."
            )
        names = ("hidden", "likelihood", "objective", "missing")
        own = {name: getattr(self, name) for name in names} | parts
        given = {name: value for name, value in own.items() if value is not None}
        given |= {"event_shape": shape, "latent_dim": self.latent_dim, "seed": self.seed_}
        given |= self.architecture_params or {}
        make: Callable[..., VAE] = (
            self.architecture
            if callable(self.architecture)
            else functools.partial(zoo.build, self.architecture)
        )
        return make(**{name: _fresh(value) for name, value in given.items()})

    def _split(self, count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns which rows to train on, and which to hold out, by the parameter `name`."""
        share = arguments.number(name, getattr(self, name), 0.0, 1.0)
        held = max(1, round(share * count))
        if held >= count:
            raise ValueError(f"`{name}`={share:g} of n_samples={count} leaves no row to train on.")
        order = np.random.default_rng(self.seed_).permutation(count)
        return order[held:], order[:held]


def _fresh(value):
    """Returns a part as it was configured: the next training begins with weights of its own."""
    return type(value).from_config(value.get_config()) if isinstance(value, Part) else value


def beside_shared_parameters(init):
    """Decorates a constructor that has parameters of its own, and `**shared` for the others.

    scikit-learn reads the names of all parameters from the signature.
    """
    own = inspect.signature(init).parameters
    named = [one for name, one in own.items() if name not in ("self", "shared")]
    shared = inspect.signature(VAEEstimator.__init__).parameters.values()
    kept = [one for one in shared if one.name not in own or one.name == "self"]
    init.__signature__ = inspect.Signature([*kept, *named])
    return init
