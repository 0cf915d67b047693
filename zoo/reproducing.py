"""Trains a model of the zoo again, from scratch, and compares it with its card.

`make reproduce CARD=NAME` does so. A model that starts from the weights of another one has that one
trained first. A run that was stopped goes on when it is started again.
"""

import argparse
import dataclasses
import pathlib

from zoo import publishing, training
from zoo.building import RECIPES
from zoo.cards import Card, shipped, trained_name
from zoo.checking import figure_of
from zoo.recipes import Recipe

__all__ = ["chain", "reproduce"]

_FOLDER = pathlib.Path("runs/reproduced")
_QUICK = 256  # Examples of a trial.


def chain(name: str) -> list[str]:
    """Returns the models that are trained one after the other for a model, itself the last."""
    start = RECIPES[name].starts_from
    return [name] if start is None else [*chain(start), name]


def reproduce(name: str, directory=_FOLDER, *, quick: bool = False, verbose=2, say=print) -> Card:
    """Trains a model from scratch, measures it, and writes its weights and its card.

    Models that others start from are trained as far as these need them: up to their final phase.

    Args:
        name: str. One of `zoo.list_models()`.
        directory: path. Each model of the chain has its folder in it.
        quick: bool. Whether to run every phase for one epoch on 256 examples, and measure with 5
            importance samples: a trial of the command, with figures that mean nothing.
        verbose: as of `fit`. Defaults to `2`.
        say: callable that is told what is done.

    Returns:
        The card of the new model.

    Raises:
        FileNotFoundError: when the data are not there.
        Interrupted: by Ctrl-C. The same call goes on with the training.
    """
    directory = pathlib.Path(directory, *(["trial"] if quick else []))
    names = chain(name)
    model, options = None, {"verbose": verbose, "limit": _QUICK if quick else None}
    for each in names:
        recipe = _short(RECIPES[each]) if quick else RECIPES[each]
        say(f"training {each}: {recipe.epochs} epochs, in {directory / each}")
        model, trained = training.train(recipe, directory / each, start=model, **options)
    final = {}
    if recipe.finish is not None:
        say(f"the final phase of {name}: {recipe.finish.epochs} epochs")
        last, ended = training.finish(recipe, model, directory / name / "final", **options)
        final, model = {"before": model, "ended": ended}, last
    say(f"measuring {name} with {recipe.num_samples:,} importance samples")
    metrics = training.measure(recipe, model, cache=directory / name / "log_prob.npz")
    card = publishing.publish(recipe, model, trained, metrics, directory / name, **final)
    say(compared(card, shipped(name)))
    return card


def compared(new: Card, known: Card) -> str:
    """Returns the figures of a new training and of the card in a line."""
    figure, stated = figure_of(known)
    text = f"{new.name}: {figure} {figure_of(new)[1]:.4f}, card {stated:.4f}"
    same = new.dataset["sha256"] == known.dataset["sha256"]
    return text if same else f"{text} (of other data: the SHA-256 of the examples differ)"


def _short(recipe: Recipe) -> Recipe:
    finish = recipe.finish and dataclasses.replace(recipe.finish, epochs=1)
    return dataclasses.replace(recipe, epochs=1, warmup_epochs=0, finish=finish, num_samples=5)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.reproducing", description=__doc__)
    parser.add_argument("name", type=trained_name, metavar="NAME")
    parser.add_argument("--directory", type=pathlib.Path, default=_FOLDER)
    parser.add_argument(
        "--quick", action="store_true", help="one epoch of each phase on 256 examples: a trial"
    )
    arguments = parser.parse_args()
    try:
        reproduce(arguments.name, arguments.directory, quick=arguments.quick)
    except FileNotFoundError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, "stopped; the same command goes on\n")


if __name__ == "__main__":
    _main()
