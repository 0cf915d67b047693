"""`kvae impute MODEL`."""

import pathlib

from kvae.cli import checks, common, files
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.cli.help import Unset
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    files.add_whole_data(
        parser,
        "Fill the gaps of this .csv, .tsv or .parquet table, whose empty cells (and NA, NaN, "
        "null, None and ?) were not observed, or of this .npy or .npz array, where NaN says so.",
        checks.data,
    )
    parser.add_argument(
        "--samples",
        type=common.positive,
        default=100,
        help="Use this many importance samples for each example.",
    )
    parser.add_argument(
        "--imputations",
        metavar="N",
        type=common.positive,
        default=Unset("one, with the expected values"),
        help="Draw this many imputations, each into a file (or an entry of the first axis of an "
        "array) of its own.",
    )
    common.add_seed(parser, default=0)
    files.add_output(
        parser,
        "Write the filled table as a .csv or .tsv file, or the filled array as .npy.",
        "imputed.csv for tables, imputed.npy for arrays",
    )
    common.add_json(parser)


@command(
    "impute",
    add_arguments,
    "kvae impute runs/people/model.keras --data people.csv --output filled.csv",
    "kvae impute runs/people/model.keras --data people.csv --imputations 5 --samples 1000",
)
def run(arguments) -> int:
    """Fills the gaps of a table or an array with what a model expects there.

    The model has been trained with --missing. All cells that were observed stay as they are, and so
    do the columns that the model does not know. The effective sample size says how many importance
    samples decide the values of a row: where it is near 1, give more --samples.
    """
    import numpy as np

    from kvae.datasets.tables import SUFFIXES
    from kvae.utils import io

    path = own.path_of(arguments)
    table = path.suffix.lower() in SUFFIXES
    output = pathlib.Path(arguments.output or ("imputed.csv" if table else "imputed.npy"))
    endings = (".csv", ".tsv") if table else (".npy",)
    if output.suffix not in endings:
        raise ValueError(f"--output ends in {' or '.join(endings)} here, not {output.name!r}.")
    model = common.load_model(arguments.model)
    if model.missing is None:
        raise ValueError(
            f"{arguments.model} takes no missing values. Train one with kvae train --missing mean."
        )
    cells, columns, x, labels = own.incomplete(model, arguments.model, path)
    if model.conditional and labels is None:
        raise ValueError(f"{arguments.model} is conditional, and {path} has no labels.")
    found = model.impute(
        x,
        num_samples=arguments.samples,
        num_imputations=arguments.imputations,
        seed=arguments.seed,
        label=labels if model.conditional else None,
    )
    written = [output]
    if cells is None:
        with io.atomic_write(output) as temporary, open(temporary, "wb") as file:
            np.save(file, found.value, allow_pickle=False)
    elif arguments.imputations is None:
        cells.write(output, columns, found.value, found.observed)
    else:
        numbers = range(1, arguments.imputations + 1)
        written = [output.with_name(f"{output.stem}.{n}{output.suffix}") for n in numbers]
        for one, value in zip(written, found.value, strict=True):
            cells.write(one, columns, value, found.observed)
    gaps = ~found.observed.reshape(len(found.observed), -1)
    size = found.effective_sample_size[gaps.any(axis=1)]
    facts = {
        "paths": [str(one) for one in written],
        "filled": int(gaps.sum()),
        "values": gaps.size,
        "examples": len(size),
        "num_samples": arguments.samples,
        "seed": arguments.seed,
        "effective_sample_size": {
            "median": float(np.median(size)) if len(size) else None,
            "least": float(size.min()) if len(size) else None,
        },
    }
    if arguments.json:
        common.print_json(facts)
        return 0
    for one in written:
        say(f"wrote {one}")
    say(f"filled {facts['filled']} of {gaps.size} values, in {len(size)} of {len(gaps)} examples")
    if len(size):
        say(
            f"effective sample size: {np.median(size):.1f} of {arguments.samples} at the median, "
            f"{size.min():.1f} at the least"
        )
    return 0
