"""Rows of tables that commands draw and write, and the values that they are to have."""

import argparse
import pathlib

__all__ = ["values", "write_given", "write_rows"]


def values(text: str) -> dict[str, str]:
    """An argument that gives values of columns; a part without `=` belongs to the one before."""
    found: dict[str, str] = {}
    name = ""
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals and key.strip():
            name = key.strip()
            if name in found:
                raise argparse.ArgumentTypeError(f"{name} has two values in {text!r}: give one")
            found[name] = value.strip()
        elif name:
            found[name] += f",{part}"
        else:
            raise ValueError
    return found


values.__name__ = "NAME=VALUE"


def write_rows(model, path: pathlib.Path, n: int, kind: str, options: dict) -> None:
    """Writes sampled rows as a CSV file, with the names of the columns and of the categories.

    Args:
        model: `kvae.VAE` of a table.
        path: path.
        n: int. The number of rows.
        kind: str. `"sample"`, `"mean"` or `"mode"`.
        options: dict. Further arguments of `kvae.VAE.sample`; without a label a conditional model
            draws its classes in turn.

    Raises:
        ValueError: for the means of categories.
    """
    import numpy as np

    from kvae.datasets import Schema

    schema = model.schema or Schema()
    category = next((column.name for column in schema.columns if column.categories), None)
    if kind == "mean" and category is not None:
        raise ValueError(
            f"Categories, such as those of {category!r}, have no mean: give --mode or --draw, or "
            "write the numbers to a .npy file."
        )
    labels = None
    if model.conditions is not None:
        labels = model.conditions.record(options.get("label", {}), n).numpy()
        options = {**options, "label": labels}
    elif model.conditional:
        labels = np.resize(options.get("label", np.arange(model.num_classes)), n)
        options = {**options, "label": labels}
    _write(model, path, np.asarray(model.sample(n, output=kind, **options)), labels)


def write_given(model, path: pathlib.Path, arguments, options: dict) -> float:
    """Writes rows with the values of `--given` as a CSV file; returns the effective sample size."""
    import numpy as np

    from kvae.tables import given

    found = given(
        model,
        {name: value for part in arguments.given for name, value in part.items()},
        arguments.n,
        num_samples=arguments.samples or 10_000,
        **options,
    )
    labels = options.get("label")
    if labels is not None and model.conditions is not None:
        labels = model.conditions.record(labels, arguments.n).numpy()
    elif labels is not None:
        labels = np.full(arguments.n, labels)
    _write(model, path, found.value, labels)
    return found.effective_sample_size


def _write(model, path: pathlib.Path, x, labels) -> None:
    """Writes rows `[n, columns]` with the names of the columns, and with classes or conditions."""
    from kvae.datasets import Schema
    from kvae.utils.csv_files import write_csv

    schema = model.schema or Schema()
    names = [column.name for column in schema.all_columns]
    names = names or [f"column_{i}" for i in range(1, model.event_shape[0] + 1)]
    rows = schema.rows(x)
    if labels is not None and model.conditions is not None:
        names = [*names, *model.conditions.kinds]
        told = map(model.conditions.cells, labels)
        rows = [[*row, *own] for row, own in zip(rows, told, strict=True)]
    elif labels is not None:
        known = schema.class_names or [str(i) for i in range(model.num_classes)]
        names = [*names, schema.label_column or "class"]
        rows = [[*row, known[label]] for row, label in zip(rows, labels, strict=True)]
    write_csv(path, [names, *rows])
