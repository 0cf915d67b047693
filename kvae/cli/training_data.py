"""The data of a training on the command line: how they are read, and the facts about them."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kvae.cli import common
from kvae.cli.data import add_image_reading, path_of
from kvae.cli.help import Unset

if TYPE_CHECKING:
    from kvae.datasets import Schema

__all__ = ["TrainingData", "add_reading", "source_of", "training_data"]


def columns(text: str) -> tuple[str, str]:
    """An argument that says what a column holds."""
    name, equals, kind = text.rpartition("=")
    if not equals or not name:
        raise ValueError
    return name, kind


columns.__name__ = "NAME=KIND"  # What argparse calls it in its error.


def add_reading(parser) -> None:
    """Adds what says how the data of a training are read; its model remembers it."""
    from kvae.datasets.tables import KINDS

    add_image_reading(parser)
    parser.add_argument(
        "--columns",
        nargs="+",
        type=columns,
        metavar="NAME=KIND",
        default=Unset(
            "0 and 1 are bernoulli, texts and up to ten different whole numbers categorical, other "
            "numbers what suits them"
        ),
        help=f"Take these columns of a table as {', '.join(KINDS[:-1])} or {KINDS[-1]}. A model is "
        "told its conditions, in --label; arrays of a .npz file beside x may be conditions, too.",
    )
    parser.add_argument(
        "--conditional",
        action="store_true",
        help="Train a model of p(x|y), y being the labels: the subfolders of images, the label "
        "column of a table, or the classes of a data set.",
    )


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The facts about its data that a training needs before it reads them.

    Attributes:
        dataset: str. A data set's name, or an absolute path.
        name: str. What the data are called.
        event_shape: tuple of int.
        intensities: bool. Whether the data are bytes that stand for intensities.
        num_classes: int. 0 without labels.
        schema: `kvae.datasets.Schema` or `None`, for named data sets.
        sizes: dict. The number of examples of each split.
        conditions: mapping or `None`. The conditions that labels which are no classes have values
            of.
    """

    dataset: str
    name: str
    event_shape: tuple[int, ...]
    intensities: bool
    num_classes: int
    schema: "Schema | None"
    sizes: dict[str, int]
    conditions: Mapping | None = None

    def settings(self, architecture, likelihood: str | None) -> dict:
        """Returns the arguments of an architecture that follow from the data.

        Args:
            architecture: `zoo.registry.Architecture`.
            likelihood: str or `None`. That of `--likelihood`.
        """
        found = {"event_shape": self.event_shape}
        if self.schema is None or len(self.event_shape) > 1 or likelihood is not None:
            return found
        # Columns have units of their own.
        columns = [column.description for column in self.schema.columns]
        if "columns" in architecture.defaults:
            return {**found, "standardize": True, **({"columns": columns} if columns else {})}
        if not columns:
            return found
        from kvae.likelihoods import MixedTabular
        from zoo.recipes import config

        mixed = MixedTabular(columns, standardize=True, name="likelihood")
        return {**found, "likelihood": config(mixed)}


def source_of(arguments):
    """Returns the `kvae.datasets.Source` that `--data` and its options give; `None` without.

    Raises:
        FileNotFoundError: if there is nothing at the path of `--data`.
        ValueError: for options without `--data`, and data that cannot be read.
    """
    from kvae import datasets

    path = path_of(arguments)
    given = {
        option: value
        for option in ("event_shape", "fit", "columns")
        if (value := getattr(arguments, option, None)) is not None
    }
    if path is not None:
        return datasets.Source(
            path,
            given.get("event_shape"),
            fit=given.get("fit", "stretch"),
            columns=dict(given.get("columns", ())),
            missing=getattr(arguments, "missing", None) is not None,
            unlabelled=common.guesses(arguments),
        )
    if given:
        flag = next(iter(given)).replace("_", "-")
        raise ValueError(f"--{flag} says how --data is read: give that, too.")
    return None


def training_data(arguments) -> TrainingData:
    """Looks at the data that a training is asked to use.

    Raises:
        FileNotFoundError: if there is nothing at the path of `--data`.
        ValueError: for data that cannot be read, options that do not fit them, and `--conditional`
            without labels.
    """
    from kvae import datasets

    guesses = common.guesses(arguments)
    given = [name for name, kind in arguments.columns or () if kind == "condition"]
    if guesses and given:
        raise ValueError(
            f"--columns {given[0]}=condition: a model that learns classes takes one label, and no "
            f"conditions. Name the column of its classes, --columns {given[0]}=label, or leave "
            f"this one out, --columns {given[0]}=ignore."
        )
    source = source_of(arguments)
    if source is None:
        name = arguments.dataset or "digits"
        facts = datasets.info(name)
        found = TrainingData(
            name,
            name,
            facts.event_shape,
            facts.dtype == "uint8",
            facts.classes,
            None,
            facts.splits,
            facts.conditions,
        )
    else:
        found = TrainingData(
            str(source.path),
            source.schema.name,
            source.event_shape,
            source.intensities,
            len(source.schema.class_names),
            source.schema,
            source.sizes,
            source.schema.told or None,
        )
    told = found.conditions is not None and not guesses
    if (arguments.conditional or guesses) and not (found.num_classes or told):
        what = "--conditional" if arguments.conditional else "a model that learns classes"
        raise ValueError(
            f"{found.name} has no labels for {what}: put images into a subfolder for each "
            "class, or name the column of a table that holds them, --columns NAME=label."
        )
    return found
