"""The option `--label`: a class of a conditional model, or the values of its conditions."""

from kvae.cli.help import Unset

__all__ = ["add_label", "label_missing", "label_of"]


def add_label(parser, default: str, text: str) -> None:
    """Adds `--label`, a class by its name or number, or the values of conditions."""
    parser.add_argument(
        "--label",
        metavar="CLASS|NAME=VALUE,...",
        default=Unset(default),
        help=f"{text} Of a model with several conditions this gives some of them, e.g. "
        "shape=heart,scale=0.8; those that are left out are unknown.",
    )


def label_of(model, text: str | None, name: str):
    """Returns the label that `--label` gives of a conditional model; `None` where it is not given.

    It is a class number, or a dict of conditions.

    Raises:
        ValueError: for a model without labels, and a class or condition that there is not.
    """
    if text is None:
        return None
    if not model.conditional:
        raise ValueError(
            f"{name} is not conditional and takes no labels: leave --label out, or train a "
            "conditional model (kvae train --conditional)."
        )
    if model.conditions is not None:
        return model.conditions.parse(text)
    from kvae.datasets import Schema

    return (model.schema or Schema()).class_number(text, model.num_classes)


def label_missing(model, name: str) -> ValueError:
    """The error of a command that draws one class of a conditional model, and was given none."""
    if model.conditions is not None:
        known = ", ".join(model.conditions.kinds)
        return ValueError(f"{name} is conditional: give --label NAME=VALUE,... of {known}.")
    from kvae.datasets import Schema

    names = ", ".join((model.schema or Schema()).class_names)
    known = f"one of {names}" if names else f"from 0 to {model.num_classes - 1}"
    return ValueError(f"{name} is conditional: give --label, {known}.")
