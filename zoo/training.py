"""Trains the models of the zoo: from a recipe to weights and a card."""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import platform
from collections.abc import Callable
from typing import Any

import kvae
from kvae.datasets.source import is_path
from kvae.evaluation import evaluate
from kvae.evaluation.disentanglement import SCORES, disentanglement
from kvae.utils import io
from zoo import weights
from zoo.building import ARCHITECTURES, RECIPES, build, list_recipes
from zoo.cards import Card, library_versions
from zoo.loading import load
from zoo.recipes import Recipe

__all__ = [
    "adapted",
    "announce",
    "copy_of",
    "data_of",
    "identity",
    "measure",
    "publish",
    "refitted",
    "start_from",
    "test_data",
    "train",
    "without_improper",
]

_LICENSE = "Apache-2.0"
_TEST = 10_000  # Examples of a stream that figures are measured on, in memory.
# The attributes of a recipe that, with its arguments and data, tell one training from another.
_IDENTITY = (
    "noise",
    "warmup_epochs",
    "initial_from_data",
    "initial_weights",
    "monitor",
    "seed",
)
# Attributes that few recipes have. Only the cards of those recipes show them.
_RARE = ("initial_from_data", "initial_weights", "sampler")


def data_of(recipe: Recipe, split: str):
    """Returns a split of the data of a recipe, `"train"`, `"validation"` or `"test"`."""
    options = {"binarize": recipe.binarize, "seed": recipe.seed}
    if is_path(recipe.dataset):
        shape = recipe.arguments["event_shape"]
        missing = recipe.arguments.get("missing") is not None
        data = kvae.datasets.from_path(
            recipe.dataset, split, shape, schema=recipe.schema, missing=missing, **options
        )
    else:
        data = kvae.datasets.load(recipe.dataset, split, **options)
    if isinstance(data, kvae.datasets.Dataset):
        likelihood = ARCHITECTURES[recipe.architecture].part("likelihood", recipe.arguments)
        whole = likelihood.whole_numbers
        data.intensities = not whole or recipe.binarize is not None
    data.noise = recipe.noise
    return data


def test_data(recipe: Recipe):
    """Returns the data that a card's metrics are measured on."""
    data = data_of(recipe, "test")
    return data.dataset(_TEST) if isinstance(data, kvae.datasets.Stream) else data


def adapted(recipe: Recipe, reproducible: bool = False, strategy=None) -> Recipe:
    """Returns the recipe, compiled as the place where it is to run allows.

    Without XLA several steps in each call do not give the same bits on every run; under a strategy
    there is neither XLA nor several steps.

    Args:
        recipe: `Recipe`.
        reproducible: bool. Whether every run has to give the same bits. Defaults to `False`.
        strategy: optional `tf.distribute.Strategy` that it is to train under.
    """
    options = dict(recipe.compile)
    if strategy is not None:
        options.pop("jit_compile", None)
    if (reproducible or strategy is not None) and not options.get("jit_compile"):
        options.pop("steps_per_execution", None)
    if reproducible:
        options["reproducible"] = True
    return dataclasses.replace(recipe, compile=options)


def train(
    recipe: Recipe,
    directory,
    *,
    verbose=2,
    callbacks=(),
    limit: int | None = None,
    strategy=None,
    every_seconds: float = 30.0,
    begin: Callable[[kvae.VAE, Any, Any], object] | None = None,
):
    """Trains a model by a recipe, or goes on with its training, in `directory`.

    More epochs than a finished training had extend it; see `kvae.training.train`.

    Args:
        recipe: `Recipe`.
        directory: path. Folder of the checkpoints.
        verbose: as of `fit`. Defaults to `2`.
        callbacks: sequence of further Keras callbacks.
        limit: optional int. Train on the first examples only, for a trial.
        strategy: optional `tf.distribute.Strategy` to train under.
        every_seconds: float. Least time between two checkpoints. Defaults to `30.0`.
        begin: optional callable. Gets the model, the training and the validation data before the
            training begins.

    Returns:
        `(model, trained)`: the model with the best weights, and its `kvae.training.Trained`.

    Raises:
        ValueError: if the folder holds weights that cannot go on: of another architecture, of
            another part, seed or start, or of other data. It says which of these differ.
    """
    data, validation = data_of(recipe, "train"), data_of(recipe, "validation")
    if limit is not None:
        data, validation = (
            part.dataset(limit) if isinstance(part, kvae.datasets.Stream) else part[:limit]
            for part in (data, validation)
        )
    settings = dict(recipe.arguments)
    if recipe.initial_from_data:
        settings["initial"] = data
    if recipe.sampler is not None:
        del settings["prior"]
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model = _built(recipe, settings)
        if recipe.initial_weights is not None:
            start_from(model, load(recipe.initial_weights))
    if begin is not None:
        begin(model, data, validation)
    trained = kvae.training.train(
        model,
        data,
        kvae.training.Settings(
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            final_rate=recipe.final_rate,
            warmup_epochs=recipe.warmup_epochs,
            monitor=recipe.monitor or "auto",
            compile=recipe.compile,
        ),
        validation_data=validation,
        directory=directory,
        fingerprint=identity(recipe, limit),
        every_seconds=every_seconds,
        callbacks=callbacks,
        verbose=verbose,
    )
    if recipe.sampler is not None:
        model = refitted(recipe, model, data)
    return model, trained


def refitted(recipe: Recipe, model: kvae.VAE, data) -> kvae.VAE:
    """Returns a trained model with the prior that the recipe's sampler fits to its codes of `data`.

    Samples are unlike the data where the aggregate posterior is unlike the prior, as it is after a
    long training on few images.
    """
    fitted = kvae.samplers.get(recipe.sampler).fit(model, data, seed=recipe.seed).model
    fitted.schema = model.schema
    return fitted


def _built(recipe: Recipe, settings: dict) -> kvae.VAE:
    """Returns the model of a recipe, which remembers what its data are."""
    model = build(recipe.architecture, seed=recipe.seed, **settings)
    known = recipe.schema or kvae.datasets.Schema(recipe.dataset)
    model.schema = dataclasses.replace(known, binarize=recipe.binarize, noise=recipe.noise)
    return model


def start_from(model: kvae.VAE, source: kvae.VAE) -> None:
    """Gives a model the weights of another that it extends, e.g. by a VampPrior on top.

    Weights that only the model has, such as pseudo-inputs, keep their own start.

    Args:
        model, source: built `kvae.VAE`s, whose common weights are in the same order.

    Raises:
        ValueError: if a weight of `source` has no place in the model.
    """
    rest = iter(model.weights)
    found = []
    for weight in source.weights:
        kind = weight.name, weight.shape
        place = next((own for own in rest if (own.name, own.shape) == kind), None)
        if place is None:
            raise ValueError(
                f"The weight {weight.path} {tuple(weight.shape)} of {source.name} has no place in "
                f"{model.name}. Start from a model with the same layers."
            )
        found.append((place, weight))
    for place, weight in found:
        place.assign(weight)


def identity(recipe: Recipe, limit: int | None) -> dict:
    """Returns what a training in a folder must have in common with that which goes on there.

    Epochs, batches and learning rates may change: weights go on from where they are.
    """
    return {
        "architecture": recipe.architecture,
        **recipe.arguments,
        "dataset": recipe.dataset,
        **({} if recipe.schema is None else {"data": recipe.schema.to_dict()}),
        "limit": limit,
        "binarization": recipe.binarize,
        **{name: getattr(recipe, name) for name in _IDENTITY},
    }


def without_improper(model: kvae.VAE, data, metrics: dict) -> dict:
    """Returns metrics without the log p(x) that grey pixels do not have under a Bernoulli.

    Its events are 0 and 1: for others there is only the bound that is trained.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset` that was measured.
        metrics: dict. As `kvae.evaluation.evaluate` returns it.
    """
    x = data.examples
    proper = not isinstance(model.likelihood, kvae.likelihoods.Bernoulli)
    if proper or bool(((x == 0) | (x == 1)).all()):
        return metrics
    return {name: value for name, value in metrics.items() if name != "nll"}


def measure(recipe: Recipe, model: kvae.VAE, **options) -> dict:
    """Evaluates a model on the recipe's test split; see `kvae.evaluation.evaluate`.

    For data whose factors are known, such as sprites, the scores of
    `kvae.evaluation.disentanglement` stand beside the others.

    Args:
        recipe: `Recipe`.
        model: `kvae.VAE`.
        **options: further arguments of `evaluate`.

    Returns:
        The card's `metrics`.
    """
    options = {"num_samples": recipe.num_samples, "seed": recipe.seed, **options}
    data = test_data(recipe)
    metrics = evaluate(model, data, **options).to_dict()
    metrics = without_improper(model, data, metrics)
    factors = None if is_path(recipe.dataset) else kvae.datasets.info(recipe.dataset).factors
    if factors is not None:
        found = disentanglement(model, factors(), seed=recipe.seed)
        metrics = {**metrics, **{name: found[name] for name in SCORES}}
    return metrics


def copy_of(recipe: Recipe, model: kvae.VAE) -> kvae.VAE:
    """Returns a new model with the same weights, which is not compiled and under no strategy."""
    copy = _built(recipe, dict(recipe.arguments))
    copy.set_weights(model.get_weights())
    return copy


def publish(
    recipe: Recipe, model: kvae.VAE, trained: kvae.training.Trained, metrics: dict, directory
) -> Card:
    """Writes `weights/NAME.weights.h5` and `cards/NAME.json` below `directory`.

    The card is written last, and names the weights by their hash.

    Args:
        recipe: `Recipe` that the model was trained by.
        model, trained: as `train` returns them.
        metrics: dict. As `measure` returns it.
        directory: path.

    Returns:
        `Card`.
    """
    directory = pathlib.Path(directory)
    path = directory / "weights" / f"{recipe.name}.weights.h5"
    bare = copy_of(recipe, model)  # The trained one would store its optimizer too.
    with io.atomic_write(path) as temporary:
        bare.save_weights(temporary)
    card = _untrained(recipe, model)
    card = dataclasses.replace(
        card,
        dataset={
            "name": recipe.dataset,
            "sha256": {
                split: kvae.datasets.load(recipe.dataset, split).sha256
                for split in kvae.datasets.SPLITS
            },
        },
        cost={
            "seconds": round(trained.seconds, 1),
            "machine": f"{_cores()}, {platform.machine()}, shared with other work",
            "parameters": model.count_params(),
        },
        recipe={**card.recipe, "best_epoch": trained.best_epoch},
        metrics=metrics,
        weights=weights.describe(path),
        versions=library_versions(),
    )
    card.write(directory / "cards" / f"{recipe.name}.json")
    return card


def announce(recipe: Recipe, directory) -> Card:
    """Writes the card of a recipe that has not been run: it has no weights and no figures.

    `python -m zoo.training NAME` does it for the zoo. `kvae train --recipe NAME` replaces the card
    by that of the trained model.
    """
    card = _untrained(recipe, build(recipe.architecture, seed=recipe.seed, **recipe.arguments))
    card.write(pathlib.Path(directory) / "cards" / f"{recipe.name}.json")
    return card


def _untrained(recipe: Recipe, model) -> Card:
    """Returns the card of a recipe and its model as they are before the training."""
    continuous = not isinstance(model.likelihood, kvae.likelihoods.Bernoulli)
    return Card(
        name=recipe.name,
        architecture=recipe.architecture,
        arguments={  # As JSON gives them back.
            key: list(value) if isinstance(value, tuple) else value
            for key, value in recipe.arguments.items()
        },
        preprocessing={
            "shape": list(model.event_shape),
            "range": None if continuous else [0.0, 1.0],
            "binarize": recipe.binarize,
        },
        dataset={"name": recipe.dataset, "sha256": {}},
        recipe={
            "command": recipe.command,
            "seed": recipe.seed,
            "epochs": recipe.epochs,
            "best_epoch": None,
            "batch_size": recipe.batch_size,
            "optimizer": "Adam",
            "learning_rate": recipe.learning_rate,
            "schedule": f"half cosine to {recipe.final_rate} of the start",
            "warmup_epochs": recipe.warmup_epochs,
            "noise": recipe.noise,
            **{name: getattr(recipe, name) for name in _RARE if getattr(recipe, name)},
        },
        cost={"parameters": model.count_params()},
        metrics={},
        published=None if recipe.published is None else dict(recipe.published),
        weights=None,
        license=_LICENSE,
        paper=recipe.paper,
        versions={},
    )


def _cores() -> str:
    known = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if known else os.cpu_count()
    return f"{count} CPU core{'' if count == 1 else 's'}"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.training", description=announce.__doc__)
    parser.add_argument("names", nargs="+", choices=list_recipes(), metavar="NAME")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    for name in arguments.names:
        announce(RECIPES[name], arguments.directory)
        print(f"wrote {arguments.directory / 'cards' / name}.json")


if __name__ == "__main__":
    _main()
