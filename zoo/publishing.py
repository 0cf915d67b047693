"""Writes the weights and the card of a model that has been trained by a recipe of the zoo."""

import argparse
import dataclasses
import os
import pathlib
import platform

import kvae
from zoo import packing, weights
from zoo.building import RECIPES, build, list_recipes
from zoo.cards import Card, library_versions
from zoo.recipes import Recipe
from zoo.training import copy_of

__all__ = ["announce", "publish"]

_LICENSE = "Apache-2.0"
# Attributes that few recipes have. Only the cards of those recipes show them.
_RARE = (
    *("labels_per_class", "normal", "code_draws"),
    *("initial_from_data", "initial_weights", "mantissa_bits", "sampler"),
)


def publish(
    recipe: Recipe,
    model: kvae.VAE,
    trained: kvae.training.Trained,
    metrics: dict,
    directory,
    *,
    before: kvae.VAE | None = None,
    ended: kvae.training.Trained | None = None,
) -> Card:
    """Writes `weights/NAME.weights.h5` and `cards/NAME.json` below `directory`.

    Of a model with a final phase it also writes `weights/before/NAME.weights.h5`. The card is
    written last, and names the weights by their hash.

    Args:
        recipe: `Recipe` that the model was trained by.
        model: the trained `kvae.VAE`.
        trained: as `train` returns it.
        metrics: dict. As `measure` returns it.
        directory: path.
        before, ended: the model that a final phase started from, and what `finish` returned.
            Default to `None`: there was none.

    Returns:
        `Card`.
    """
    directory = pathlib.Path(directory)
    described = _write(recipe, model, directory / "weights")
    facts, seconds = {"best_epoch": trained.best_epoch}, trained.seconds
    card = _untrained(recipe, model)
    if before is not None:
        seconds += ended.seconds
        started = _write(recipe, before, directory / "weights" / weights.BEFORE)
        facts["finish"] = {**card.recipe["finish"], "seconds": round(ended.seconds, 1)}
        facts["finish"]["before"] = started
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
            "seconds": round(seconds, 1),
            "machine": f"{_cores()}, {platform.machine()}, shared with other work",
            "parameters": model.count_params(),
        },
        recipe={**card.recipe, **facts},
        metrics=metrics,
        weights=described,
        versions=library_versions(),
    )
    card.write(directory / "cards" / f"{recipe.name}.json")
    return card


def _write(recipe: Recipe, model: kvae.VAE, folder: pathlib.Path) -> dict:
    """Writes the weights of a model, and returns what a card says of the file."""
    path = folder / f"{recipe.name}.weights.h5"
    bare = copy_of(recipe, model)  # The trained one would store its optimizer too.
    packing.save(bare, path)
    return weights.describe(path)


def announce(recipe: Recipe, directory) -> Card:
    """Writes the card of a recipe that has not been run: it has no weights and no figures.

    `python -m zoo.publishing NAME` does it for the zoo. `kvae train --recipe NAME` replaces the
    card by that of the trained model.
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
            **_finish(recipe),
        },
        cost={"parameters": model.count_params()},
        metrics={},
        published=None if recipe.published is None else dict(recipe.published),
        weights=None,
        license=_LICENSE,
        paper=recipe.paper,
        versions={},
    )


def _finish(recipe: Recipe) -> dict:
    if recipe.finish is None:
        return {}
    return {"finish": {"data": "training and validation", **dataclasses.asdict(recipe.finish)}}


def _cores() -> str:
    known = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if known else os.cpu_count()
    return f"{count} CPU core{'' if count == 1 else 's'}"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.publishing", description=announce.__doc__)
    parser.add_argument("names", nargs="+", choices=list_recipes(), metavar="NAME")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    for name in arguments.names:
        announce(RECIPES[name], arguments.directory)
        print(f"wrote {arguments.directory / 'cards' / name}.json")


if __name__ == "__main__":
    _main()
