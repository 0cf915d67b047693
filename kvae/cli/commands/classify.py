"""`kvae classify MODEL`."""

from kvae.cli import common, files
from kvae.cli import data as own
from kvae.cli.command import command
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    common.add_model(parser)
    files.add_whole_data(
        parser,
        "Classify all of these data, with labels or without: what `kvae train --data` takes, "
        "or the test split of a data set by its name.",
    )
    files.add_output(
        parser,
        "Write the class of every row, and the probabilities of all classes, into this .csv file.",
    )
    common.add_json(parser)


@command(
    "classify",
    add_arguments,
    "kvae classify runs/people/model.keras --data new.csv --output classes.csv",
    "kvae classify m2.keras --data digits --json",
)
def run(arguments) -> int:
    """Finds the classes of data by a model that has learned them from few labels.

    The model has been trained with the objective semi_supervised, e.g. as the architecture m2_vae.
    Where the data have labels, the share of the rows whose label is found is the accuracy.
    """
    import numpy as np

    from kvae.datasets import Dataset

    files.check_endings(arguments, output=".csv")
    path = arguments.output
    model = common.load_model(arguments.model)
    model.check_classifier()
    data = own.whole_data(model, arguments.model, arguments.data, "test")
    data = data if isinstance(data, Dataset) else data.dataset()
    probabilities = np.asarray(model.predict_proba(data))
    found = probabilities.argmax(axis=1)
    names = own.class_names(model)
    known = np.asarray(data.labels) if data.has_labels else np.full(len(found), -1)
    facts = {
        "rows": len(found),
        "classes": {name: int(np.sum(found == i)) for i, name in enumerate(names)},
        "labelled": int(np.sum(known >= 0)),
        "accuracy": float(np.mean((found == known)[known >= 0])) if (known >= 0).any() else None,
        "paths": [] if path is None else [path],
    }
    if path is not None:
        _write(path, names, found, probabilities)
    if arguments.json:
        common.print_json(facts)
        return 0
    common.table("Classes", ("class", "rows"), list(facts["classes"].items()))
    if facts["accuracy"] is not None:
        say(f"accuracy: {facts['accuracy']:.4f} of {facts['labelled']} rows with a label")
    for one in facts["paths"]:
        say(f"wrote {one}")
    return 0


def _write(path, names, found, probabilities) -> None:
    from kvae.utils.csv_files import write_csv

    rows = (
        (row, names[one], *(f"{value:.6g}" for value in values))
        for row, (one, values) in enumerate(zip(found, probabilities, strict=True))
    )
    write_csv(path, [("row", "class", *(f"p({name})" for name in names)), *rows])
