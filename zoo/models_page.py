"""The page of all models, `docs/MODELS.md`, made from the cards and the shipped weights.

`python -m zoo.models_page` writes the page, and draws the pictures of those models whose weights
are not the ones that their picture was drawn from.
"""

import pathlib

from kvae.evaluation.disentanglement import SCORES
from kvae.utils import io
from zoo import cards

__all__ = ["draw", "drawn_from", "facts", "page", "write"]

_FOLDER = pathlib.Path(__file__).parents[1] / "docs"
_INTRODUCTION = """\
# Models

Every model of the zoo: its picture, its figures on the test split and what it cost. `make models`
writes this page from the cards (`zoo/cards`) and draws the pictures with the shipped weights.

```python
import zoo

vae = zoo.load("conv_vae.mnist")
```

NLL is −log p(x) in nats per example, estimated by importance sampling, ± its standard error over
the test examples. BCE is the binary cross-entropy of the reconstruction in nats per pixel, ± its
standard error likewise. Figures of data that are binarized differently, or not at all, do not
compare.
"""


def page(models=None) -> str:
    """Returns the page as Markdown.

    Args:
        models: optional list of `Card`. Defaults to all of the zoo's.
    """
    models = _models() if models is None else models
    groups: dict[str, list] = {}
    # MNIST first: it is what papers give figures for.
    for card in sorted(models, key=_order):
        groups.setdefault(card.dataset["name"], []).append(card)
    lines = [_INTRODUCTION]
    for name, members in groups.items():
        lines += [f"| {name} | test figure | published | parameters | training |", "|---" * 5 + "|"]
        lines += [_overview_row(card) for card in members]
        lines.append("")
    for name, members in groups.items():
        lines += [f"## {name}", ""]
        for card in members:
            lines += [_section(card), ""]
    return "\n".join(lines)


def _models() -> list:
    return [cards.card(name) for name in cards.list_models(untrained=True)]


def _order(card) -> tuple:
    data = card.dataset["name"]
    return data != "mnist", data, card.name


def _overview_row(card) -> str:
    # As GitHub makes anchors of headings.
    anchor = card.name.replace(".", "")
    published = "" if card.published is None else card.published["value"]
    cells = (
        f"[`{card.name}`](#{anchor})",
        card.headline,
        published,
        f"{card.cost['parameters']:,}",
        ", ".join(filter(None, (_time(card), _start(card)))),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _section(card) -> str:
    picture, caption = "", _caption(card)
    if card.trained:
        picture = (
            f"![{card.name}: {caption}](models/{card.name}.png)\n\n*{caption.capitalize()}.*\n\n"
        )
    return f"### {card.name}\n\n{picture}{facts(card)}\n"


def facts(card) -> str:
    """Returns what a card says as a table in Markdown; what it does not say is left out."""
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
        ("from", _link(card.paper)),
        ("licence of the weights", card.license),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows if text)
    return f"| | |\n|---|---|\n{table}"


def _published(card) -> str:
    if card.published is None:
        return ""
    return f"{card.published['value']}, {_link(card.published['source'])}"


def _size(card) -> str:
    weights = f", {card.weights['bytes'] / 1e6:.2f} MB" if card.trained else ""
    return f"{card.cost['parameters']:,} parameters{weights}"


def _how(metrics) -> str:
    nll = metrics.get("nll")
    if "factor_vae_score" in metrics:
        return ""
    if nll is None:
        error = metrics.get("bce_standard_error")
        return "" if error is None else f", ± {error:.4f}"
    return f", {nll['num_samples']:,} importance samples"


def _others(metrics) -> str:
    """What was measured beside the headline, e.g. `ELBO −92.11, KL 27.36`."""
    shown = []
    headline = ["nll"] if "nll" in metrics else ["bce_per_pixel", "bce_standard_error"]
    if "factor_vae_score" in metrics:
        headline = ["factor_vae_score", "mig"]
    for name, value in metrics.items():
        if name in headline or (name in ("elbo", "kl") and "nll" not in metrics):
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


def _data(card) -> str:
    binarize = card.preprocessing.get("binarize")
    noise = card.recipe.get("noise")
    said = (
        card.dataset.get("name"),
        f"{binarize} binarization" if binarize else "",
        f"noise of {noise:g} on the inputs" if noise else "",
        f"events of {' × '.join(map(str, card.preprocessing['shape']))}",
    )
    return ", ".join(filter(None, said))


def _training(card) -> str:
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
            f", {_time(card)} on {card.cost['machine']}" if card.trained else "",
        )
    )


def _start(card) -> str:
    """What was trained before, whose time is not in the card's."""
    return f"from the weights of `{card.starts_from}`" if card.starts_from else ""


def _time(card) -> str:
    seconds = card.cost.get("seconds")
    if seconds is None:
        return ""
    return f"{seconds / 3600:.1f} hours" if seconds > 2 * 3600 else f"{seconds / 60:.0f} min"


def _link(source: str) -> str:
    """`Authors Year, Title, https://…` as a link."""
    text, comma, address = source.rpartition(", ")
    return f"[{text}]({address})" if comma and address.startswith("http") else source


def _caption(card) -> str:
    if _samples(card):
        return "samples from the prior, the means of p(x|z)"
    noisy = "noisy " if card.recipe.get("noise") else ""
    return f"{noisy}test images above their reconstructions"


def _samples(card) -> bool:
    """Whether the picture shows samples: only an autoencoder has nothing to draw them from."""
    return not card.architecture.endswith("autoencoder")


def draw(card, path) -> None:
    """Draws a model's samples, or an autoencoder's reconstructions, from the shipped weights.

    Args:
        card: `Card`.
        path: path of a `.png` file. It keeps the SHA-256 of the weights that it was drawn from.

    Raises:
        FileNotFoundError: where reconstructions need data that are not here.
    """
    import zoo
    from zoo import pictures, recipes, training

    vae = zoo.load(card.name)
    if _samples(card):
        picture = pictures.samples(vae)
    else:
        picture = pictures.reconstructions(vae, training.test_data(recipes.get(card.name)))
    pictures.save(picture, path, weights=card.weights["sha256"])


def drawn_from(path) -> str | None:
    """Returns the SHA-256 of the weights that a picture was drawn from, or `None` without one."""
    from PIL import Image

    if not pathlib.Path(path).exists():
        return None
    with Image.open(path) as picture:
        return picture.text.get("weights")


def write(folder=_FOLDER, *, redraw: bool = False, say=print) -> pathlib.Path:
    """Writes `MODELS.md` and the pictures below `folder`, and removes those of no model.

    Args:
        folder: path. Defaults to the `docs` of the checkout.
        redraw: bool. Draw all pictures, not only those whose weights have changed.
        say: callable that is told what is drawn.

    Returns:
        The path of the page.
    """
    folder = pathlib.Path(folder)
    models = _models()
    trained = [card for card in models if card.trained]
    for card in trained:
        path = folder / "models" / f"{card.name}.png"
        if redraw or drawn_from(path) != card.weights["sha256"]:
            draw(card, path)
            say(f"drew {path}")
    known = {card.name for card in trained}
    for path in (folder / "models").glob("*.png"):
        if path.stem not in known:
            path.unlink()
            say(f"removed {path}")
    path = folder / "MODELS.md"
    with io.atomic_write(path) as temporary:
        temporary.write_text(page(models), encoding="utf-8")
    say(f"wrote {path}")
    return path


def _main() -> None:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m zoo.models_page", description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=_FOLDER)
    parser.add_argument("--redraw", action="store_true", help="draw all pictures anew")
    arguments = parser.parse_args()
    write(arguments.folder, redraw=arguments.redraw)


if __name__ == "__main__":
    _main()
