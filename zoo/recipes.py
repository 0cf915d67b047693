"""Recipes: how the pretrained models were trained, so that anyone can train them again.

Each recipe stands below its architecture, in `zoo/architectures`. What a training by it reached is
on the model's card, in `zoo/cards`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kvae.datasets import Schema
from kvae.utils.register import Register
from zoo.registry import ARCHITECTURES

__all__ = [
    "AEVB",
    "BLOG",
    "DIGITS",
    "EXEMPLAR",
    "FAST",
    "RECIPES",
    "VAMP",
    "Finish",
    "Recipe",
    "config",
    "recipe",
]

# Papers that more than one family cites.
AEVB = "Kingma & Welling 2014, Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114"
BLOG = (
    "Chollet 2016, Building Autoencoders in Keras, "
    "https://blog.keras.io/building-autoencoders-in-keras.html"
)
EXEMPLAR = "Norouzi et al. 2020, Exemplar VAE, table 2, https://arxiv.org/abs/2004.04795"
VAMP = "Tomczak & Welling 2018, VAE with a VampPrior, https://arxiv.org/abs/1705.07120"
# The same bits on every run, and a fifth faster than step by step where the networks are dense.
FAST: dict[str, Any] = {"jit_compile": True, "steps_per_execution": 25}
# The small digits of scikit-learn, on which a model trains in a minute.
DIGITS: dict[str, Any] = dict(dataset="digits", batch_size=64, learning_rate=2e-3)


@dataclasses.dataclass(frozen=True)
class Finish:
    """A final phase, on the training and the validation data together.

    It goes on from the epoch that the validation data have chosen. None are left to choose another
    one, so its length is fixed in advance, and the model gets the average of its last weights.

    Attributes:
        epochs, batch_size, learning_rate, final_rate: as of `Recipe`.
        ema_momentum: float. The momentum of the average of the weights (Keras's own).
        weight_decay: float. As in Keras.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    ema_momentum: float = 0.999
    weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training that anyone can run with `kvae train --recipe NAME`.

    Attributes:
        name: str. `architecture.tag`.
        dataset: str. Name for `kvae.datasets.load`, or a path for `kvae.datasets.from_path`.
        arguments: mapping. Arguments of the architecture that differ from its defaults.
        binarize: str or `None`. Binarization of the data.
        noise: float. Noise on the inputs (denoising).
        epochs, batch_size, learning_rate: as in Keras.
        final_rate: float. The share of the learning rate that is left in the end; it falls by a
            half cosine.
        labels_per_class: int or `None`. How many labels of each class the training knows, for an
            objective that guesses the others (`kvae.datasets.few_labels`, drawn by `seed`). The
            validation knows none.
        normal: sequence of int or `None`. The classes that a detector is trained on; the validation
            and the figures of its bound have the same, and all other classes of the test data are
            what it is to find. `None`: there is no such difference.
        code_draws: int or `None`. Of a model that is stacked upon the argument `first`: how many
            draws of the code of each example an epoch has.
        warmup_epochs: int. Epochs over which the objective's `beta`, the weight of the KL, rises
            from 0 to its own value, e.g. 1.
        initial_from_data: bool. Whether the pseudo-inputs of a VampPrior start as training images.
        monitor: str or `None`. The figure of the validation, less is better, that chooses the best
            weights; `None` is the ELBO of a VAE, whatever its loss weights, and else the loss.
        initial_weights: str or `None`. The card whose weights the training starts from, those
            before its final phase where it had one; weights that only the new model has keep their
            own start.
        finish: optional `Finish`. The final phase of the training.
        mantissa_bits: int or `None`. How many bits of the mantissa the weights keep when all of the
            training has ended, of the 23 of float32 (`zoo.packing.rounded`), so that their file is
            smaller. Figures are those of the rounded weights. `None`: all.
        sampler: str or `None`. The sampler of `kvae.samplers` that fits the prior of `arguments` to
            the codes of the training data, once the training, with the prior that the architecture
            has by default, has ended.
        compile: mapping. Further arguments of `compile`: XLA and several steps in each call.
        seed: int. Seeds the initial weights, the order of the data and all noise.
        num_samples: int. Importance samples of the card's NLL.
        paper: str. Where the model comes from.
        published: mapping. The published figure: `metric`, `value`, `source`.
        schema: optional `kvae.datasets.Schema`. That of data at a path.
    """

    name: str
    dataset: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    binarize: str | None = None
    noise: float = 0.0
    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    labels_per_class: int | None = None
    normal: Sequence[int] | None = None
    code_draws: int | None = None
    warmup_epochs: int = 0
    initial_from_data: bool = False
    monitor: str | None = None
    initial_weights: str | None = None
    finish: Finish | None = None
    mantissa_bits: int | None = None
    sampler: str | None = None
    compile: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    num_samples: int = 1000
    paper: str = ""
    published: Mapping[str, Any] | None = None
    schema: Schema | None = None

    def __post_init__(self):
        if self.mantissa_bits is not None and not 1 <= self.mantissa_bits <= 23:
            raise ValueError(
                f"{self.name}: mantissa_bits is from 1 to 23, not {self.mantissa_bits}."
            )
        if self.finish is not None and self.sampler is not None:
            raise ValueError(f"{self.name}: give a recipe a `finish` or a `sampler`, not both.")

    @property
    def architecture(self) -> str:
        """The name of the architecture, which the recipe's own name begins with."""
        return self.name.partition(".")[0]

    @property
    def starts_from(self) -> str | None:
        """The model whose weights its training takes, to start from or to stack a model upon."""
        return self.initial_weights or self.arguments.get("first")

    @property
    def command(self) -> str:
        """The command that runs the recipe."""
        return f"kvae train --recipe {self.name}"


RECIPES: Register = Register("recipe", group="zoo.architectures")


def recipe(name: str, dataset: str, arguments: Mapping[str, Any] | None = None, **settings) -> None:
    """Registers a recipe for `kvae train --recipe NAME`.

    Args:
        name: str. `architecture.tag`, of an architecture that is registered.
        dataset: str. Name for `kvae.datasets.load`.
        arguments: optional mapping. Arguments of the architecture that differ from its defaults.
        **settings: the other attributes of `Recipe`.

    Raises:
        ValueError: for an architecture that is not registered, for arguments that it does not take,
            for a name that another recipe has, and for a `sampler` and a `finish` together.

    Example:

    ```python
    zoo.recipe("dense_vae.small", "digits", {"event_shape": (8, 8, 1)}, epochs=20)
    ```
    """
    found = Recipe(name, dataset, dict(arguments or {}), **settings)
    ARCHITECTURES[found.architecture].checked(found.arguments)
    RECIPES.add(name, found)


def config(part) -> dict[str, Any]:
    """Returns the configuration of a part as JSON gives it back, so that cards can hold it."""
    return json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
