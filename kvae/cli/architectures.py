"""The options that say of which networks and parts a model is made."""

import dataclasses
import math

from kvae.cli import checks, common
from kvae.cli.help import Unset
from kvae.cli.training_data import training_data

__all__ = ["PARTS", "SIZES", "add_networks", "recipe_of", "sizes"]

PARTS = ("posterior", "prior", "likelihood")
SIZES = ("filters", "hidden")


def add_networks(parser) -> None:
    """Adds the options of the networks' sizes and of the parts."""
    parser.add_argument(
        "--filters",
        nargs="+",
        type=common.positive,
        metavar="N",
        default=Unset("as many as the size of the images asks for"),
        help="Use convolutions of stride 2 with these numbers of channels.",
    )
    parser.add_argument(
        "--hidden",
        nargs="+",
        type=common.from_0,
        metavar="N",
        default=Unset("the architecture's"),
        help="Use dense layers of these widths; one, or 0 for none, beside convolutions.",
    )
    parser.add_argument(
        "--posterior",
        metavar="NAME[:ARGUMENT,...]",
        type=checks.named("posterior"),
        default=Unset("the architecture's"),
        help="Use this q(z|x), e.g. iaf or student_t:df=3. Arguments are those of the class, in "
        "their order or as KEY=VALUE.",
    )
    parser.add_argument(
        "--prior",
        metavar="NAME[:ARGUMENT,...]",
        type=checks.named("prior"),
        default=Unset("the architecture's"),
        help="Use this p(z), e.g. vamp or vamp:200.",
    )
    parser.add_argument(
        "--likelihood",
        metavar="NAME[:ARGUMENT,...]",
        type=checks.named("likelihood"),
        default=Unset(
            "gaussian:learned for photos, signals and arrays, mixed_tabular for tables, the "
            "architecture's for images of black and white"
        ),
        help="Use this p(x|z), e.g. gaussian:learned, whose σ follows the data, or "
        "gaussian:scale=0.1.",
    )


def recipe_of(arguments, finished, changes: dict):
    """Returns the recipe of an architecture, in which the data choose what is open.

    Args:
        arguments: `argparse.Namespace` with the options of `add_networks` and of the data.
        finished: function from the arguments of `zoo.build` to those with what else the command
            sets.
        changes: dict. Other attributes of the recipe.

    Raises:
        ValueError: for unknown names, and for sizes that the architecture does not have.
    """
    from kvae import fills, likelihoods, posteriors, priors
    from zoo import training
    from zoo.building import ARCHITECTURES
    from zoo.defaults import suited
    from zoo.recipes import Recipe

    architecture = ARCHITECTURES[arguments.architecture]
    given = sizes(arguments, architecture, *SIZES)
    homes = {"posterior": posteriors, "prior": priors, "likelihood": likelihoods}
    for part, home in homes.items():
        name = getattr(arguments, part)
        if name is not None:
            home.get(name)  # An unknown name is refused here.
            given[part] = name
    data = training_data(arguments)
    settings = {**data.settings(architecture, arguments.likelihood), **given}
    if data.conditions is not None and (arguments.conditional or data.schema is not None):
        settings["conditions"] = dict(data.conditions)
    elif arguments.conditional or common.guesses(arguments):
        settings["num_classes"] = data.num_classes
    if getattr(arguments, "missing", None) is not None:
        fills.get(arguments.missing)  # Refuses an unknown argument.
        settings["missing"] = arguments.missing
    settings = finished(settings)
    architecture.checked(settings)
    recipe = Recipe(
        f"{arguments.architecture}.{data.name}",
        data.dataset,
        settings,
        schema=data.schema,
        binarize=None if arguments.binarize == "none" else arguments.binarize,
        noise=architecture.noise,
        **changes,
    )
    return suited(
        recipe,
        min(data.sizes["train"], arguments.limit or math.inf),
        # The examples as they are.
        lambda: training.data_of(dataclasses.replace(recipe, binarize=None), "train"),
        intensities=data.intensities,
        likelihood=arguments.likelihood is None,
        binarize=arguments.binarize is None,
        batch_size=arguments.batch_size is None,
    )


def sizes(arguments, architecture, *names: str) -> dict:
    """Returns the sizes of the networks that the options give, of these names.

    Raises:
        ValueError: for one that the architecture does not have.
    """
    found = {}
    for name in names:
        value = getattr(arguments, name)
        if value is None:
            continue
        if name not in architecture.defaults:
            every = ("latent_dim", "latent_shape", *SIZES)
            known = [one for one in every if one in architecture.defaults]
            raise ValueError(
                f"{_option(name)} does not apply to {architecture.name}, which has no `{name}`. "
                f"What applies: {', '.join(map(_option, known)) or 'none of the sizes'}."
            )
        if name == "hidden" and isinstance(architecture.defaults[name], int):
            if len(value) > 1:
                raise ValueError(
                    f"--hidden of {architecture.name} is the width of one layer, not of "
                    f"{len(value)}."
                )
            value = value[0]
        found[name] = value
    return found


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
