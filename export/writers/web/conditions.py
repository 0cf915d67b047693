"""The facts on labels and conditions that the page needs to offer a control for each."""

from collections.abc import Mapping

import numpy as np

__all__ = ["classes", "facts", "told"]

_KINDS = ("Categorical", "MultiLabel", "Periodic", "Real")  # As conditions.js has them.


def told(model, data) -> np.ndarray | None:
    """Returns what a conditional model is told of data: labels `[n]`, or a record of conditions.

    Raises:
        ValueError: for data without conditions.
    """
    if not model.conditional or data is None:
        return None
    if model.conditions is None:
        return data.labels
    if data.labels is None:
        raise ValueError(
            f"{model.name!r} has conditions, and the data have none: give them as labels, "
            "kvae.datasets.from_array(x, {…}), or leave the data out."
        )
    return model.conditions.record(data.labels, len(data)).numpy()


def classes(model, data, record) -> tuple[np.ndarray | None, list[str] | None]:
    """Returns the class of each example that the page shows, and the names of the classes.

    With conditions it is the first one that is a class, if that is known of every example.
    """
    from kvae.conditions import Categorical  # It imports TensorFlow.

    if model.conditions is None:
        known = [source.schema for source in (data, model) if source is not None]
        named = [list(schema.class_names) for schema in known if schema and schema.class_names]
        labels = None if data is None or isinstance(data.labels, Mapping) else data.labels
        return labels, named[0] if named else None
    for name, kind in model.conditions.kinds.items():
        if isinstance(kind, Categorical) and record is not None:
            labels = model.conditions.split(record)[name]
            if (labels >= 0).all():
                return labels.astype(int), list(kind.texts()) or None
    return None, None


def facts(model, record) -> dict | None:
    """Returns the facts of a model's conditions, with where their controls start and end.

    They start with the values of the first example; without examples nothing is known at first.

    Args:
        model: `kvae.VAE`.
        record: array `[n, columns]` of the data, or `None`.

    Raises:
        ValueError: for a kind of condition that the page has no control for.
    """
    if model.conditions is None:
        return None
    found = model.conditions.facts()
    values = model.conditions.unknown_record(1).numpy() if record is None else record
    for name, column in model.conditions.split(values).items():
        own = found[name]
        if own["kind"] not in _KINDS:
            raise ValueError(
                f"The page has no control for the condition {name!r} of {model.name!r}, a "
                f"{own['kind']}: export a TFLite file, which takes what the networks see of it."
            )
        first = [None if np.isnan(v) else float(v) for v in np.atleast_1d(column[0])]
        if own["kind"] == "Categorical":
            first = [int(v) if v >= 0 else None for v in first]
        elif own["kind"] == "Periodic":
            own |= {"least": 0.0, "most": own["period"]}
        elif own["kind"] == "Real":
            known = column[~np.isnan(column)]
            reach = own["mean"] - 3 * own["scale"], own["mean"] + 3 * own["scale"]
            least, most = (known.min(), known.max()) if known.size > 1 else reach
            least, most = (least, most) if least < most else reach
            own |= {"least": float(least), "most": float(most)}
        own["start"] = first if own["kind"] == "MultiLabel" else first[0]
    return found
