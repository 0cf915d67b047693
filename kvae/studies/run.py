"""A trained model of a study, with its measurements."""

import dataclasses
import functools
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from kvae import random
from kvae.evaluation import LogProb, importance_log_prob
from kvae.evaluation.latents.summary import LEAST_KL
from kvae.evaluation.terms import batch_terms
from kvae.utils import io

__all__ = ["Run"]


def few_samples_decide(estimate: LogProb) -> float:
    """Returns the share of the examples whose log p(x) rests on fewer than 5 effective samples."""
    return float(np.mean(estimate.effective_sample_size < 5.0))


class Run:
    """A trained model with its measurements, which are cached in its folder.

    Attributes:
        name: str. The model's name in tables and plots.
        binarize: str or `None`. How the data of its training was binarized.
        vae: `kvae.VAE` with the weights of the best epoch by validation loss.
        history: dict of lists, an entry for each epoch.
        seconds: float. Time of the training.
        may_collapse: bool. Whether a collapse is a result, and no fault of the training.
    """

    def __init__(
        self,
        lab: Any,
        name: str,
        folder: pathlib.Path,
        vae: Any,
        *,
        history: dict[str, list],
        seconds: float,
        binarize: str | None,
        may_collapse: bool = False,
    ):
        self.lab, self.name, self.folder, self.vae = lab, name, folder, vae
        self.history, self.seconds, self.binarize = history, seconds, binarize
        self.may_collapse = may_collapse

    def measured(
        self, name: str, function: Callable[[], Mapping[str, ArrayLike]]
    ) -> dict[str, np.ndarray]:
        """Returns `function()`, a dict of arrays, or the cached result of an earlier call."""
        path = self.folder / f"{name}.npz"
        if path.exists():
            try:
                with np.load(path, allow_pickle=False) as stored:
                    return dict(stored)
            except io.DAMAGED as error:
                raise ValueError(
                    f"{path} is damaged ({error}). Delete it, and it is measured again."
                ) from None
        values = {key: np.asarray(value) for key, value in function().items()}
        with io.atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **values)
        return values

    @functools.cached_property
    def log_prob(self) -> np.ndarray:
        """log p(x) of the test set's examples in nats, by importance sampling, `[n]`."""
        return self._importance().value

    @functools.cached_property
    def nll(self) -> dict[str, float]:
        """−log p(x) of the test set, as `LogProb.summary` has it."""
        return self._importance().summary()

    @functools.cached_property
    def dominated(self) -> float:
        """The share of the images whose log p(x) rests on fewer than 5 effective samples.

        Their estimates are too low, so those of the model are a lower bound.
        """
        return few_samples_decide(self._importance())

    @functools.cached_property
    def terms(self) -> dict[str, np.ndarray]:
        """The objective's terms on the test set in nats, `[n]` each, e.g. `elbo` and `kl`."""

        def measure():
            x = tf.constant(self.lab.test_images(self))
            seeds = {first: random.fold_in(self.lab.seed, first) for first in range(0, len(x), 500)}
            parts = [
                batch_terms(self.vae, x[first : first + 500], None, x[first : first + 500], seed)
                for first, seed in seeds.items()
            ]
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

        return self.measured("terms", measure)

    @functools.cached_property
    def fault(self) -> str:
        """Why nothing may be concluded from this run; empty where it may.

        A posterior has collapsed when its rate is below 0.1 nats. Its figures are those of a
        failed training, and not of what was to be compared. One that ignores x has no other rate,
        and a point has none.
        """
        posterior = self.vae.posterior
        if self.may_collapse or posterior.ignores_x or not posterior.has_density:
            return ""
        rate = float(self.terms["kl"].mean())
        if rate >= LEAST_KL:
            return ""
        return f"the posterior of {self.name} has collapsed (KL {rate:.2f} nats)"

    def estimate(self, vae: Any, x: np.ndarray, num_samples: int) -> LogProb:
        """Estimates log p(x) under a model of this run; where a few samples decide, it says so."""
        with warnings.catch_warnings():
            # A study has the numbers of samples that it has: no caller could give more.
            warnings.filterwarnings("ignore", message=".*a few samples decide")
            found = importance_log_prob(vae, x, num_samples=num_samples, seed=self.lab.seed)
        few = few_samples_decide(found)
        if few > 0.1:
            self.lab.say(f"{self.name}: a few samples decide log p(x) of {few:.0%} of the images")
        return found

    def _importance(self) -> LogProb:
        scale, limit = self.lab.scale, self.lab.likelihood_images
        name = f"importance_{scale.num_samples}"
        if limit is not None and limit < len(self.lab.data("test")):
            if not (self.folder / f"{name}.npz").exists():
                name = f"{name}_of_{limit}"
        else:
            limit = None

        def measure():
            x = self.lab.test_images(self)[:limit]
            start = time.monotonic()
            estimate = self.estimate(self.vae, x, scale.num_samples)
            self.lab.say(f"{self.name}: log p(x) in {time.monotonic() - start:.0f} s")
            found = dataclasses.asdict(estimate)
            return {key: value for key, value in found.items() if key != "num_samples"}

        found = self.measured(name, measure)
        return LogProb(
            **{key: value[:limit] for key, value in found.items()}, num_samples=scale.num_samples
        )
