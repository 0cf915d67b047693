"""Architectures and recipes by name. Whoever looks one up finds all families registered here."""

from typing import Any

from kvae.models import VAE
from kvae.utils import forks
from kvae.utils.register import import_modules
from zoo.recipes import RECIPES, recipe
from zoo.registry import ARCHITECTURES

__all__ = [
    "ARCHITECTURES",
    "RECIPES",
    "build",
    "list_architectures",
    "list_recipes",
    "recipe",
    "with_beta",
]

import_modules("zoo.architectures")


def list_architectures() -> list[str]:
    """Returns the names that `build` takes, sorted."""
    return list(ARCHITECTURES)


def list_recipes() -> list[str]:
    """Returns the names that `kvae train --recipe` takes, sorted."""
    return list(RECIPES)


def build(architecture: str, **arguments) -> VAE:
    """Builds an untrained model.

    Args:
        architecture: str. One of `list_architectures()`.
        **arguments: arguments of the architecture, e.g. `event_shape`, `latent_dim`; and the parts
            of `kvae.VAE`: `posterior`, `prior`, `likelihood`, `objective`, `seed`, `num_classes` or
            `conditions` (a conditional model). A part replaces the architecture's own. The
            initial weights are those of `seed`, too: the same in every process. Without a `seed`
            they are those of 0, or of the program where it has called
            `keras.utils.set_random_seed` or is in a block of `kvae.random.initial_weights`.

    Returns:
        `kvae.VAE`, built and not compiled.

    Raises:
        ValueError: for an unknown architecture or argument, with the known ones; for a value of
            the wrong kind; for a part together with arguments that only the architecture's own
            part would use, e.g. `objective` and the `beta` of a `beta_vae`; and for parts that do
            not go together.

    Example:

    ```python
    vae = zoo.build("conv_vae", event_shape=(32, 32, 3), latent_dim=64, likelihood="gaussian")
    ```
    """
    forks.check()
    return ARCHITECTURES[architecture].build(**arguments)


def with_beta(architecture: str, arguments: dict[str, Any], change) -> dict[str, Any]:
    """Returns arguments of `build` for the same objective with another β.

    Args:
        architecture, arguments: as of `build`.
        change: callable. From the objective's own `beta` to a number or a schedule.

    Raises:
        ValueError: for an objective without a `beta`.
    """
    found = ARCHITECTURES[architecture]
    objective = found.part("objective", arguments)
    config = objective.get_config()
    if "beta" not in config:
        raise ValueError(
            f"The objective {type(objective).__name__} has no `beta`: leave out what sets it "
            "(--beta, warmup_epochs)."
        )
    # What the architecture makes its objective from is in the configuration now.
    makes = found.makers.get("objective", ())
    rest = {name: value for name, value in arguments.items() if name not in makes}
    changed = {**config, "beta": change(config["beta"])}
    return {**rest, "objective": type(objective).from_config(changed)}
