"""Tries a final phase of training on a model of the zoo, and judges it by the validation data.

    python -m benchmarks.final_phase hvae.mnist --epochs 25 --learning-rate 3e-4

A recipe's `finish` trains on the training and the validation data together, so that no data are
left to choose its settings. Here the same phase, from the same shipped weights (those before a
final phase, where a model had one), sees the training data alone. `kvae.evaluation.compare` then
says what it has changed in log p(x) of the first validation examples. The test data are not read.

`--objective` has the phase minimize another objective than the model's:

    python -m benchmarks.final_phase iwae.mnist_k50 --objective piwae:num_groups=8,num_samples=8 \
        --epochs 1 --batch-size 256 --learning-rate 3e-4

A training that was stopped goes on in its folder.
"""

import argparse
import dataclasses
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kvae
from zoo import training
from zoo.building import ARCHITECTURES, RECIPES
from zoo.cards import trained_name
from zoo.loading import load_before_finish
from zoo.recipes import Finish


def tried(
    name: str,
    finish: Finish,
    directory,
    *,
    examples: int,
    samples: int,
    objective: str | None = None,
    verbose=2,
):
    """Returns the `Comparison` of a model after the phase with the shipped one.

    Args:
        name: str. One of `zoo.list_models()`.
        finish: `Finish`.
        directory: path. Folder of the checkpoints.
        examples, samples: int. Validation examples, and importance samples for each.
        objective: optional str, as for `kvae.VAE`. Defaults to `None`: the model's own.
        verbose: as of `fit`. Defaults to `2`.
    """
    recipe, before = RECIPES[name], load_before_finish(name)
    if objective is not None:
        own = ARCHITECTURES[recipe.architecture].makers.get("objective", ())
        rest = {key: value for key, value in recipe.arguments.items() if key not in own}
        recipe = dataclasses.replace(recipe, arguments={**rest, "objective": objective})
    after = training.copy_of(recipe, before)
    kvae.training.train(
        after,
        training.data_of(recipe, "train"),
        kvae.training.Settings(**dataclasses.asdict(finish), monitor=None, compile=recipe.compile),
        directory=directory,
        fingerprint={"card": name, "objective": objective, **dataclasses.asdict(finish)},
        verbose=verbose,
    )
    return kvae.evaluation.compare(
        after,
        before,
        training.data_of(recipe, "validation")[:examples],
        num_samples=samples,
        seed=recipe.seed,
        names=("after the phase", "shipped"),
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.final_phase", description=__doc__)
    parser.add_argument("name", type=trained_name, metavar="NAME")
    for field in dataclasses.fields(Finish):
        flag = f"--{field.name.replace('_', '-')}"
        kind = int if field.name in ("epochs", "batch_size") else float
        required = field.default is dataclasses.MISSING
        default = None if required else field.default
        parser.add_argument(flag, type=kind, default=default, required=required)
    parser.add_argument("--examples", type=int, default=1000, help="validation examples (1000)")
    parser.add_argument("--samples", type=int, default=1000, help="importance samples (1000)")
    parser.add_argument("--objective", help="another one than the model's, e.g. iwae:num_samples=5")
    parser.add_argument("--directory", type=pathlib.Path, default=pathlib.Path("runs/final_phase"))
    values = vars(parser.parse_args())
    finish = Finish(**{field.name: values[field.name] for field in dataclasses.fields(Finish)})
    name = values["name"]
    folder = values["directory"] / name
    rest = {key: values[key] for key in ("examples", "samples", "objective")}
    print(tried(name, finish, folder, **rest))


if __name__ == "__main__":
    _main()
