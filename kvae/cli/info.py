"""`kvae info NAME`."""

from kvae.cli import common


def add_arguments(parser) -> None:
    parser.add_argument(
        "model", metavar="NAME", help="a zoo name (see `kvae list`) or hf://user/repo"
    )
    common.add_json(parser)


def _flat(mapping, prefix: str = ""):
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in (None, ""):
            yield f"{prefix}{key}", f"{value:.5g}" if isinstance(value, float) else str(value)


def run(arguments) -> int:
    import zoo

    card = zoo.card(arguments.model)
    if arguments.json:
        common.print_json(card.to_dict())
        return 0
    rows = [(key, value) for key, value in _flat(card.to_dict()) if key != "name"]
    common.table(f"{card.name}: {card.headline}", ("field", "value"), rows)
    return 0
