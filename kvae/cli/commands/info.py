"""`kvae info NAME`."""

from kvae.cli import common
from kvae.cli.command import command


def add_arguments(parser) -> None:
    parser.add_argument(
        "model",
        metavar="NAME",
        help="A name of `kvae list`, or hf://user/repo for a model on the Hugging Face Hub.",
    )
    common.add_json(parser)


def _flat(mapping, prefix: str = ""):
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, ""):
            yield f"{prefix}{key}", f"{value:.5g}" if isinstance(value, float) else str(value)


@command("info", add_arguments, "kvae info conv_vae.mnist", "kvae info conv_vae.mnist --json")
def run(arguments) -> int:
    """Shows the card of a pretrained model.

    A card says how the model was trained, on what data, what was measured, and under which license
    its weights are.
    """
    import zoo

    card = zoo.card(arguments.model)
    if arguments.json:
        common.print_json(card.to_dict())
        return 0
    rows = [(key, value) for key, value in _flat(card.to_dict()) if key != "name"]
    common.table(f"{card.name}: {card.headline}", ("field", "value"), rows)
    return 0
