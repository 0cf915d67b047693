"""Trains and measures the models of the zoo by their recipes."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

import kvae
from kvae.datasets.source import is_path
from kvae.evaluation import evaluate
from kvae.evaluation.disentanglement import SCORES, disentanglement
from kvae.evaluation.marginal_likelihood.cache import weights_fingerprint
from zoo import packing
from zoo.building import ARCHITECTURES, build
from zoo.figures import auroc, without_improper
from zoo.loading import load_before_finish
from zoo.recipes import Recipe

__all__ = [
    "adapted",
    "copy_of",
    "data_of",
    "finish",
    "identity",
    "measure",
    "refitted",
    "start_from",
    "test_data",
    "train",
]

_LEARNED_FROM = ("train", "validation")
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


def data_of(recipe: Recipe, split: str):
    """Returns a split of the data of a recipe, `"train"`, `"validation"` or `"test"`."""
    options = {"binarize": recipe.binarize, "seed": recipe.seed}
    if is_path(recipe.dataset):
        shape = recipe.arguments["event_shape"]
        missing = recipe.arguments.get("missing") is not None
        data = kvae.datasets.from_path(
            *(recipe.dataset, split, shape),
            schema=recipe.schema,
            missing=missing,
            unlabelled=_guesses(recipe),
            **options,
        )
    else:
        data = kvae.datasets.load(recipe.dataset, split, **options)
    if isinstance(data, kvae.datasets.Dataset):
        likelihood = ARCHITECTURES[recipe.architecture].part("likelihood", recipe.arguments)
        whole = likelihood.whole_numbers
        data.intensities = not whole or recipe.binarize is not None
    data.noise = recipe.noise
    if recipe.normal is not None:
        data = data.take(np.isin(data.labels, recipe.normal).nonzero()[0])
    if recipe.labels_per_class is not None and split == "train":
        data = kvae.datasets.few_labels(
            data, recipe.labels_per_class, seed=recipe.seed, repeat=None
        )
    elif recipe.labels_per_class is not None and split == "validation":
        data = data.labelled(np.full(len(data), -1))  # Epochs are chosen without more labels.
    return data


def _guesses(recipe: Recipe) -> bool:
    """Checks whether the model of a recipe guesses labels that are not known."""
    objective = ARCHITECTURES[recipe.architecture].part("objective", recipe.arguments)
    return objective.takes_unknown_labels


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
    start: kvae.VAE | None = None,
):
    """Trains a model by a recipe, or goes on with its training, in `directory`.

    A final phase is left to `finish`. More epochs than a finished training had extend it; see
    `kvae.training.train`.

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
        start: optional `kvae.VAE`. A model to start from, or to stack upon, in place of the shipped
            one that the recipe names.

    Returns:
        `(model, trained)`: the model with the best weights, and its `kvae.training.Trained`.

    Raises:
        ValueError: if the folder holds weights that cannot go on: of another architecture, of
            another part, seed or start, or of other data. It says which of these differ.
    """
    data, validation = (_limited(data_of(recipe, split), limit) for split in _LEARNED_FROM)
    first, trains = None, recipe
    if "first" in recipe.arguments:
        first = start or load_before_finish(recipe.starts_from)
        trains, data, validation = _upon(first, recipe, data, validation)
    settings = dict(trains.arguments)
    if recipe.initial_from_data:
        settings["initial"] = data
    if recipe.sampler is not None:
        del settings["prior"]
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model = _built(trains, settings)
        if recipe.initial_weights is not None:
            start_from(model, start or load_before_finish(recipe.initial_weights))
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
    if first is not None:
        model = copy_of(recipe, model, first)
    if recipe.finish is None:
        packing.rounded(model, recipe.mantissa_bits)
    return model, trained


def finish(
    recipe: Recipe,
    model: kvae.VAE,
    directory,
    *,
    verbose=2,
    callbacks=(),
    limit: int | None = None,
    strategy=None,
    every_seconds: float = 30.0,
    begin: Callable[[kvae.VAE, Any, Any], object] | None = None,
):
    """Runs the final phase of a recipe from a model's weights, or goes on with it, in `directory`.

    It trains on the training and the validation data together. The model stays as it is.

    Args:
        recipe: `Recipe` with a `finish`.
        model: `kvae.VAE` that `train` has returned.
        directory: path. Folder of the checkpoints, another one than that of `train`.
        verbose, callbacks, limit, strategy, every_seconds, begin: as of `train`; there are no
            validation data (`None`).

    Returns:
        `(model, trained)` as of `train`; no epoch is chosen.

    Raises:
        ValueError: if the folder holds a final phase from other weights or by other settings, and
            for data that are not in memory.
    """
    data, rest = (_limited(data_of(recipe, split), limit) for split in _LEARNED_FROM)
    if not isinstance(data, kvae.datasets.Dataset):
        raise ValueError(f"The final phase of {recipe.name} needs data that fit into the memory.")
    data = data.joined(rest, split=" and ".join(_LEARNED_FROM))
    settings = recipe.finish
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        last = copy_of(recipe, model)
    if begin is not None:
        begin(last, data, None)
    facts = {"finish": dataclasses.asdict(settings), "start": weights_fingerprint(model)}
    trained = kvae.training.train(
        last,
        data,
        kvae.training.Settings(
            **dataclasses.asdict(settings), monitor=None, compile=recipe.compile
        ),
        directory=directory,
        fingerprint={**identity(recipe, limit), **facts},
        every_seconds=every_seconds,
        callbacks=callbacks,
        verbose=verbose,
    )
    packing.rounded(last, recipe.mantissa_bits)
    return last, trained


def _upon(first: kvae.VAE, recipe: Recipe, data, validation):
    """Returns the recipe and the data of a model of the codes of another one.

    It learns from draws of q(z|x), several of each example, and is validated on their means.
    """
    seen, validated = first.encode_data(data.examples)[0], first.encode_data(validation.examples)[0]
    draws = recipe.code_draws or 1
    codes = first.posterior.sample(seen, draws, seed=kvae.random.as_seed(recipe.seed))
    weights = None if data.weights is None else np.tile(data.weights, draws)
    codes = np.reshape(codes, (-1, first.latent_dim))
    drawn = kvae.datasets.Dataset(codes, np.tile(data.labels, draws), weights=weights)
    means = np.asarray(first.posterior.mean(validated))
    rest = {name: value for name, value in recipe.arguments.items() if name != "first"}
    likelihood = ARCHITECTURES[recipe.architecture].part("likelihood", recipe.arguments)
    rest.update(event_shape=(first.latent_dim,), likelihood=likelihood)
    validation = kvae.datasets.Dataset(means, validation.labels)
    return dataclasses.replace(recipe, arguments=rest), drawn, validation


def _limited(data, limit: int | None):
    """Returns the first examples alone, for a trial."""
    if limit is None:
        return data
    return data.dataset(limit) if isinstance(data, kvae.datasets.Stream) else data[:limit]


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
        **(
            {} if recipe.labels_per_class is None else {"labels_per_class": recipe.labels_per_class}
        ),
        **{name: getattr(recipe, name) for name in _IDENTITY},
    }


def measure(recipe: Recipe, model: kvae.VAE, **options) -> dict:
    """Evaluates a model on the recipe's test split; see `kvae.evaluation.evaluate`.

    For data whose factors are known, such as sprites, the scores of
    `kvae.evaluation.disentanglement` stand beside the others, unless the model is told the factors;
    for tables the figures of `kvae.tables.report`, under `table`; for detectors the `auroc`.

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
    if factors is not None and not model.conditional:  # Its codes hold only what it is not told.
        found = disentanglement(model, factors(), seed=recipe.seed)
        metrics = {**metrics, **{name: found[name] for name in SCORES}}
    if recipe.normal is not None:
        metrics |= {
            "auroc": auroc(recipe, model, test_data(dataclasses.replace(recipe, normal=None)))
        }
    if data.schema is not None and data.schema.columns:
        metrics = {**metrics, "table": _of_drawn_rows(recipe, model, data)}
    return metrics


def _of_drawn_rows(recipe: Recipe, model: kvae.VAE, test) -> dict:
    """Returns what `kvae.tables.report` says of as many rows as there are to train on."""
    train = data_of(recipe, "train")
    drawn = model.sample(len(train), seed=recipe.seed, output="sample")
    found = kvae.tables.report(test.schema, train.x, drawn, test.x, seed=recipe.seed)
    return {name: value for name, value in found.to_dict().items() if isinstance(value, float)}


def copy_of(recipe: Recipe, model: kvae.VAE, first: kvae.VAE | None = None) -> kvae.VAE:
    """Returns a new model with the same weights, which is not compiled and under no strategy.

    A model that was trained to be stacked upon another one is stacked upon `first`, or upon the
    shipped one.
    """
    copy = _built(recipe, dict(recipe.arguments))
    if model.event_shape != copy.event_shape:
        model = kvae.stacked(first or load_before_finish(recipe.starts_from), model)
    copy.set_weights(model.get_weights())
    return copy
