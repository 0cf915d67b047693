"""Suggestions as something that can be tried: a changed model, and one to compare it with."""

import dataclasses
from collections.abc import Callable
from typing import Any

from kvae import random, samplers
from kvae.likelihoods.location_scale import LocationScale
from kvae.training import Settings, train

__all__ = ["Remedy", "fitted_prior", "learned_scale", "unit_beta", "warm_up"]


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A change of a model that a short training tries.

    Attributes:
        told: str. What is changed, in words.
        change: callable. Changes the copy of a model that is not compiled yet.
        afresh: bool. Whether training begins anew, because the fault came at its beginning; else
            it goes on with the weights that there are.
        warm: bool. Whether β rises over the first half of the training.
    """

    told: str
    change: Callable[[Any], dict]
    afresh: bool = False
    warm: bool = False
    trains = True

    def pair(self, model, data, *, epochs: int, batch_size: int, seed: int) -> tuple[Any, Any]:
        """Returns the changed model and the unchanged one, trained alike."""
        return tuple(
            self._trained(model, data, changed, epochs, batch_size, seed)
            for changed in (True, False)
        )

    def _trained(self, model, data, changed: bool, epochs: int, batch_size: int, seed: int):
        with random.initial_weights(seed):
            copy = _copied(model, self.change(model) if changed else {})
        if not self.afresh:
            for name in ("encoder", "decoder", "posterior", "prior"):
                part, own = getattr(copy, name), getattr(model, name)
                if part is not None:
                    part.set_weights(own.get_weights())
            if type(copy.likelihood) is type(model.likelihood):
                kept = {w.name: w for w in model.likelihood.weights}
                for weight in copy.likelihood.weights:
                    if weight.name in kept:
                        weight.assign(kept[weight.name])
        warm = max(1, epochs // 2) if changed and self.warm else 0
        settings = Settings(epochs=epochs, batch_size=batch_size, warmup_epochs=warm, monitor=None)
        train(copy, data, settings)
        return copy


@dataclasses.dataclass(frozen=True)
class FittedPrior:
    """A prior that is fitted to the codes, which takes no training."""

    told: str
    trains = False

    def sampler(self, n: int) -> samplers.GaussianMixture:
        """Returns the sampler for n codes: no more components than they can tell."""
        return samplers.GaussianMixture(
            num_components=max(1, min(10, n // 50)), covariance="diagonal"
        )

    def pair(self, model, data, *, epochs: int, batch_size: int, seed: int) -> tuple[Any, Any]:
        """Returns the model with the fitted prior, and the model."""
        return self.sampler(len(data)).fit(model, data, seed=seed).model, model


def fitted_prior(model) -> FittedPrior | None:
    """Returns the remedy of a prior that does not fit, where a mixture can be fitted."""
    real = model.posterior.has_density and model.posterior.space == "real"
    if model.prior is None or model.conditional or not real:
        return None
    return FittedPrior("a mixture of Gaussians fitted to the codes as the prior")


def warm_up(model) -> Remedy | None:
    """Returns the remedy of a collapse: a training with β that rises from 0 to 1."""
    if "beta" not in model.objective.scheduled():
        return None
    return Remedy("a training from the start whose beta rises from 0 to 1", _unit, True, True)


def unit_beta(model) -> Remedy | None:
    """Returns the remedy of a wrong weight of the KL: to go on with β = 1."""
    if "beta" not in model.objective.scheduled():
        return None
    return Remedy("to go on with beta = 1", _unit)


def learned_scale(model, factor: float) -> Remedy | None:
    """Returns the remedy of a wrong scale that is fixed: to learn it, from a better one on."""
    likelihood = model.likelihood
    if not isinstance(likelihood, LocationScale) or likelihood.variance != "fixed":
        return None

    def change(model) -> dict:
        config = model.likelihood.get_config()
        settings = {"variance": "global", "scale": model.likelihood.scale * factor}
        return {"likelihood": type(model.likelihood).from_config({**config, **settings})}

    return Remedy("to go on with a scale that is learned", change)


def _unit(model) -> dict:
    objective = type(model.objective).from_config(model.objective.get_config())
    objective.set_scheduled("beta", 1.0)
    return {"objective": objective}


def _copied(model, parts: dict):
    """Returns a model of the same configuration with other parts, and initial weights."""
    config = {**model.get_config(), **parts}
    config.pop("calibration", None)
    copy = type(model).from_config(config)
    if not copy.built:
        copy.build((None, *model.event_shape))
    return copy
