"""The data of commands: which they are, how they are read, and the names of their classes."""

import argparse
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from kvae.cli import checks, common
from kvae.cli.help import Unset

if TYPE_CHECKING:
    pass

__all__ = [
    "add_data",
    "add_image_reading",
    "add_sampler",
    "checked",
    "class_names",
    "incomplete",
    "load_data",
    "load_sampling_model",
    "path_of",
    "reading",
    "remember_card",
    "whole_data",
]


def add_data(parser, default: str = "the card's or the training's, or digits") -> None:
    """Adds `--dataset`, which names all that there are, `--data` and `--binarize`."""
    from kvae import datasets

    parser.add_argument(
        "--dataset",
        metavar="NAME",
        type=checks.dataset,
        default=Unset(default),
        help=f"Use this data set: {', '.join(datasets.names())}.",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=checks.data,
        default=Unset("the data set"),
        help="Use your own data: a folder of images (subfolders are their classes), a folder that "
        "kvae.datasets.write_shards wrote, or a .npy, .npz, .csv, .tsv or .parquet file. "
        "Subfolders or files named train, validation and test are the splits; else a tenth each "
        "is held out for validation and test, the same in every command.",
    )
    parser.add_argument(
        "--binarize",
        choices=("none", "static", "dynamic"),
        default=Unset("what suits the model"),
        help="Make pixels 0 or 1: once by chance (static), anew in each epoch (dynamic) or not at "
        "all (none).",
    )


def add_image_reading(parser) -> None:
    """Adds `--event-shape` and `--fit`, by which images of `--data` are read."""
    from kvae.datasets.decoding import FITS

    parser.add_argument(
        "--event-shape",
        nargs=3,
        type=common.positive,
        metavar=("HEIGHT", "WIDTH", "CHANNELS"),
        default=Unset("the shape that all of them have"),
        help="Bring the images of --data to this shape.",
    )
    parser.add_argument(
        "--fit",
        choices=FITS,
        default=Unset(FITS[0]),
        help="Bring images to that shape in this way; crop keeps their "
        "proportions and cuts off what sticks out.",
    )


def add_sampler(parser) -> None:
    """Adds `--sampler`."""
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        type=checks.named("sampler"),
        default=Unset("the model's prior"),
        help="Fit a density to the codes of the training data and sample from it instead of the "
        f"model's prior: {', '.join(checks.registered('sampler'))}.",
    )


def class_names(model) -> list[str]:
    """Returns the names of a conditional model's classes; their numbers where they have none."""
    known = _schema(model).class_names
    return list(known) if known else [str(i) for i in range(model.num_classes)]


def path_of(arguments) -> pathlib.Path | None:
    """Returns the path of `--data`, absolute; `None` where it is not given.

    Raises:
        ValueError: where a data set is named as well.
    """
    if arguments.data is None:
        return None
    if getattr(arguments, "dataset", None) is not None:
        raise ValueError("Give --dataset or --data, not both.")
    return pathlib.Path(arguments.data).expanduser().resolve()


def incomplete(model, name: str, path: pathlib.Path):
    """Reads a whole file of examples of which not all values were observed.

    Args:
        model: `kvae.VAE` with `missing`.
        name: str. What errors call it.
        path: path of a table or of arrays.

    Returns:
        The `kvae.datasets.tables.Cells` and the columns of x, both `None` for arrays; x
        `[n, *event]` with NaN; and labels `[n]` or `None`.

    Raises:
        ValueError: for a file that the model does not take.
    """
    from kvae.datasets import tables
    from kvae.datasets.schema import Column

    schema = _schema(model)
    if path.suffix.lower() not in tables.SUFFIXES:
        data = _source(model, path).everything()
        return None, None, data.examples, data.labels
    table = tables.Cells(path, missing=True, unlabelled=model.takes_unknown_labels)
    columns = schema.columns or tuple(Column(one, "gaussian") for one in table.cells)
    if model.event_shape != (len(columns),):
        raise ValueError(
            f"{name} takes events of shape {model.event_shape}, and {path} has {len(columns)} "
            "columns."
        )
    return table, columns, table.encoded(columns), table.told(schema)


def load_sampling_model(arguments):
    """Loads the model that is named, with a prior fitted to its codes where a sampler is named."""
    model = common.load_model(arguments.model)
    if arguments.sampler is None:
        return model
    from kvae import samplers

    sampler = samplers.get(arguments.sampler)
    train = load_data(model, arguments.model, arguments, "train")
    return sampler.fit(model, train, seed=arguments.seed or 0).model


def load_data(model, name: str, arguments, split: str = "test"):
    """Loads the data that goes with a model: its card's, unless the arguments say otherwise.

    Returns:
        `kvae.datasets.Dataset`, or a `Stream` of a folder that is too large for the memory.

    Raises:
        FileNotFoundError: if there is nothing at the path of `--data`.
        ValueError: for data that the model does not take.
    """
    from kvae import datasets

    known, path = reading(model, name, arguments), path_of(arguments)
    options = {"binarize": known.binarize, "seed": known.seed}
    if path is not None:
        data = _source(model, path).split(split, **options)
    else:
        data = datasets.load(known.dataset, split, **options)
    if isinstance(data, datasets.Dataset):
        data.intensities = not model.likelihood.whole_numbers or known.binarize is not None
    data.noise = known.noise
    return checked(model, name, data)


@dataclasses.dataclass(frozen=True)
class Reading:
    """The way in which the data of a model are read.

    Attributes:
        dataset: str or `None`. The name of a data set; `None` for data at a path.
        binarize: str or `None`.
        seed: int.
        noise: float.
        layout: tuple. The columns, the conditions and the classes that the numbers of data at a
            path stand for, and how images are brought to their size; empty where it is not known.
    """

    dataset: str | None
    binarize: str | None
    seed: int
    noise: float
    layout: tuple


def reading(model, name: str, arguments) -> Reading:
    """Returns how the data that go with a model are read; the arguments are those of `load_data`.

    Raises:
        ValueError: for a model of data that have no name, where nothing is said of the data.
    """
    from kvae import datasets

    schema, card = _schema(model), common.card_of(name)
    asked = getattr(arguments, "binarize", None)
    dataset, binarize = arguments.dataset, asked or schema.binarize
    seed, noise = 0, schema.noise
    if card is not None:
        dataset = dataset or card.dataset.get("name")
        binarize = asked or card.preprocessing.get("binarize")
        seed, noise = card.recipe.get("seed", 0), card.recipe.get("noise", 0.0)
    if arguments.data is not None:
        dataset = None
    else:
        dataset = dataset or schema.name or "digits"
        if arguments.dataset is None and dataset not in datasets.names():
            raise ValueError(f"{name} was trained on {dataset}: give --data the path of it.")
    columns, told = (
        tuple((column.name, column.categories) for column in some)
        for some in (schema.columns, schema.conditions)
    )
    classes = schema.class_names if model.conditional else ()
    layout = columns, told, classes, "" if model.schema is None else schema.fit
    return Reading(dataset, None if binarize == "none" else binarize, seed, noise, layout)


def remember_card(model, name: str) -> None:
    """Gives a model of the zoo the schema of its data, which a file of it would lack.

    Args:
        model: `kvae.VAE`.
        name: str. What it was loaded by.
    """
    from kvae.datasets import Schema

    card = common.card_of(name)
    if card is not None and model.schema is None:
        binarize, noise = card.preprocessing.get("binarize"), card.recipe.get("noise", 0.0)
        model.schema = Schema(card.dataset["name"], binarize=binarize, noise=noise)


def checked(model, name: str, data):
    """Returns data that a model takes.

    Raises:
        ValueError: for data of another shape, and without the labels of a conditional model.
    """
    if data.event_shape != model.event_shape:
        advice = "Give another --dataset, or your own --data."
        if model.modalities:
            known = ", ".join(map(repr, model.modalities))
            advice = (
                f"They are its modalities {known} beside one another: give --data a file that "
                "np.save wrote of vae.likelihood.record({…})."
            )
        raise ValueError(
            f"{name} takes events of shape {model.event_shape}, but {data.name} has "
            f"{data.event_shape}. {advice}"
        )
    if model.conditional and not data.has_labels and not model.takes_unknown_labels:
        raise ValueError(
            f"{name} is conditional, and {data.name} has no labels. Put images into a subfolder "
            "for each class; a table holds the labels in the column of the training."
        )
    return data


def whole_data(model, name: str, given: str, split: str):
    """Loads all data at a path in their order, or a split of a data set, as a model takes them.

    Args:
        model: `kvae.VAE`.
        name: str. What errors call it.
        given: str. A path, or the name of a data set.
        split: str. The split of a data set.

    Raises:
        FileNotFoundError: if there is nothing at the path.
        ValueError: for data that the model does not take.
    """
    path = pathlib.Path(given).expanduser()
    if not path.exists():
        return load_data(model, name, argparse.Namespace(dataset=given, data=None), split)
    return checked(model, name, _source(model, path.resolve()).everything())


def _source(model, path: pathlib.Path):
    """Returns the `kvae.datasets.Source` at a path, read as in the training of a model."""
    from kvae import datasets

    schema = _schema(model)
    known = schema.columns or schema.class_names or schema.conditions
    return datasets.Source(
        path,
        model.event_shape,
        fit=schema.fit,
        schema=schema if known else None,
        missing=model.missing is not None,
        unlabelled=model.takes_unknown_labels,
    )


def _schema(model):
    from kvae.datasets import Schema

    return model.schema or Schema()
