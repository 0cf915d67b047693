"""The facts of a card in Markdown, for the page of all models and for the Hugging Face Hub."""

from collections.abc import Mapping

from kvae.evaluation.disentanglement import SCORES
from kvae.utils.names import shown_names
from zoo.cards import Card

__all__ = ["duration", "facts", "overview_row", "source"]


def facts(card: Card) -> str:
    """Returns what a card says as a table; what it does not say is left out."""
    rows = [
        ("test figure", f"**{card.headline}**{_how(card.metrics)}"),
        ("published", _published(card)),
        ("also measured", _others(card.metrics)),
        ("data", _data(card)),
        ("training", _training(card)),
        ("size", _size(card)),
        (
            "retrain" if card.trained else "train",
            f"`{card.recipe['command']}`" if "command" in card.recipe else "",
        ),
        ("from", source(card.paper)),
        ("licence of the weights", card.license),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows if text)
    return f"| | |\n|---|---|\n{table}"


def overview_row(card: Card) -> str:
    """Returns a card as a row: name, test figure, published figure, parameters, training."""
    anchor = card.name.replace(".", "")  # As GitHub makes anchors of headings.
    published = "" if card.published is None else card.published["value"]
    cells = (
        f"[`{card.name}`](#{anchor})",
        card.headline,
        published,
        f"{card.cost['parameters']:,}",
        ", ".join(filter(None, (_time(card), _start(card)))),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _published(card: Card) -> str:
    if card.published is None:
        return ""
    return f"{card.published['value']}, {source(card.published['source'])}"


def _size(card: Card) -> str:
    weights = f", {card.weights['bytes'] / 1e6:.2f} MB" if card.trained else ""
    kept = card.recipe.get("mantissa_bits")
    rounded = f"; its weights keep {kept} of 23 bits of the mantissa" if kept else ""
    return f"{card.cost['parameters']:,} parameters{weights}{rounded}"


def _how(metrics: Mapping) -> str:
    nll = metrics.get("nll")
    if "factor_vae_score" in metrics:
        return ""
    if nll is None:
        error = metrics.get("bce_standard_error")
        return "" if error is None else f", ± {error:.4f}"
    effective = nll.get("median_effective_sample_size")
    how = "" if effective is None else f", of which {effective:.0f} are effective (median)"
    return f", {nll['num_samples']:,} importance samples{how}"


def _others(metrics: Mapping) -> str:
    """Returns what was measured beside the headline, e.g. `ELBO −92.11, KL 27.36`."""
    shown = []
    headline = ["nll"] if "nll" in metrics else ["bce_per_pixel", "bce_standard_error"]
    if "factor_vae_score" in metrics:
        headline = ["factor_vae_score", "mig"]
    for name, value in metrics.items():
        if name in headline or (name in ("elbo", "kl") and "nll" not in metrics):
            continue
        if name == "annealed":
            shown.append(
                f"of the first {value['num_examples']} test examples NLL {_number(value[name])} by "
                f"annealing and {_number(value['importance'])} by importance sampling"
            )
            continue
        if name == "table":
            found = ", ".join(f"{of.replace('_', ' ')} {_number(one)}" for of, one in value.items())
            shown.append(f"of drawn rows (`kvae evaluate --table`) {found}")
            continue
        label = name.upper() if len(name) <= 4 else name.replace("_", " ")
        label = SCORES.get(name, label)
        if isinstance(value, dict) and name in value:
            error = value.get("standard_error")
            text = _number(value[name]) + ("" if error is None else f" ± {_number(error)}")
            if samples := value.get("num_samples"):
                text += f" ({samples:,} importance samples)"
        elif isinstance(value, (int, float)):
            text = _number(value)
        else:
            continue
        shown.append(f"{label} {text}")
    return ", ".join(shown)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _data(card: Card) -> str:
    binarize = card.preprocessing.get("binarize")
    noise, normal = card.recipe.get("noise"), card.recipe.get("normal")
    said = (
        card.dataset.get("name"),
        f"{binarize} binarization" if binarize else "",
        f"noise of {noise:g} on the inputs" if noise else "",
        f"trained on the examples of class {', '.join(map(str, normal))} alone" if normal else "",
        f"events of {' × '.join(map(str, card.preprocessing['shape']))}",
        f"classes {shown_names(card.dataset['classes'])}" if card.dataset.get("classes") else "",
    )
    return ", ".join(filter(None, said))


def _training(card: Card) -> str:
    recipe, best = card.recipe, card.recipe.get("best_epoch")
    if "epochs" not in recipe:
        return ""
    return "".join(
        (
            f"{recipe['epochs']} epochs",
            f" (the best by validation is {best})" if best not in (None, recipe["epochs"]) else "",
            f" in batches of {recipe['batch_size']}, {recipe['optimizer']}",
            f" at {recipe['learning_rate']:g}",
            f", {_start(card)}" if card.starts_from else "",
            _finish(recipe),
            f", then the prior fitted to the codes (`{recipe['sampler']}`)"
            if "sampler" in recipe
            else "",
            f", {_time(card)} on {card.cost['machine']}" if card.trained else "",
        )
    )


def _finish(recipe: Mapping) -> str:
    """Returns the final phase of a training in words."""
    if "finish" not in recipe:
        return ""
    found = recipe["finish"]
    decay = f" with a weight decay of {found['weight_decay']:g}" if found["weight_decay"] else ""
    return (
        f", then {found['epochs']} on the {found['data']} data together at "
        f"{found['learning_rate']:g}{decay}, whose weights are averaged (momentum "
        f"{found['ema_momentum']:g})"
    )


def _start(card: Card) -> str:
    """Names the model that was trained before, whose time is not in the card's."""
    how = "upon the codes of" if "first" in card.arguments else "from the weights of"
    return f"{how} `{card.starts_from}`" if card.starts_from else ""


def _time(card: Card) -> str:
    seconds = card.cost.get("seconds")
    return "" if seconds is None else duration(seconds)


def duration(seconds: float) -> str:
    """Returns the time of a training in words, e.g. `"3.3 hours"`."""
    return f"{seconds / 3600:.1f} hours" if seconds > 2 * 3600 else f"{seconds / 60:.0f} min"


def source(text: str) -> str:
    """Returns `Authors Year, Title, https://…` as a link."""
    words, comma, address = text.rpartition(", ")
    return f"[{words}]({address})" if comma and address.startswith("http") else text
