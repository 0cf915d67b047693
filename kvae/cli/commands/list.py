"""`kvae list`."""

from kvae.cli import common
from kvae.cli.command import command
from kvae.utils.terminal import say


def add_arguments(parser) -> None:
    parser.add_argument(
        "pattern",
        nargs="?",
        help="Show only names that match, e.g. '*.mnist', or that contain a word, e.g. conv.",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="Print a Markdown table, as in the README."
    )
    common.add_json(parser)


def published(card) -> str:
    """The figure to compare a card's with, e.g. `86.76`; empty where there is none."""
    return "" if card.published is None else str(card.published["value"])


@command("list", add_arguments, "kvae list", "kvae list '*.mnist'")
def run(arguments) -> int:
    """Lists the pretrained models."""
    import zoo

    names = zoo.list_models(arguments.pattern, untrained=True)
    if not names:
        raise ValueError(f"No model matches {arguments.pattern!r}. `kvae list` shows all.")
    cards = [zoo.card(name) for name in names]
    if arguments.json:
        common.print_json([card.to_dict() for card in cards])
        return 0
    if arguments.markdown:
        say("| model | test figure | published | parameters | training |\n|---|---|---|---|---|")
        for card in (card for card in cards if card.trained):  # What can be loaded.
            epochs = card.recipe["epochs"] + card.recipe.get("finish", {}).get("epochs", 0)
            cost = f"{epochs} epochs, {card.cost['seconds'] / 60:.0f} min"
            if card.starts_from:
                cost += f", from the weights of `{card.starts_from}`"
            cells = (f"`{card.name}`", card.headline, published(card))
            say(f"| {' | '.join(cells)} | {card.cost['parameters']:,} | {cost} |")
        return 0
    rows = [
        (
            card.name,
            card.headline,
            card.cost["parameters"],
            f"{card.weights['bytes'] / 1e6:.2f} MB" if card.trained else "",
        )
        for card in cards
    ]
    common.table("Models of the zoo", ("name", "test figure", "parameters", "weights"), rows)
    return 0
