"""The page of all models, `docs/MODELS.md`, made from the cards and the shipped weights.

`python -m zoo.models_page` writes the page, and draws the pictures of those models whose weights
are not the ones that their picture was drawn from.
"""

import argparse
import pathlib

from PIL import Image

from kvae.utils import io
from zoo import pictures, training
from zoo.building import ARCHITECTURES, RECIPES
from zoo.cards import Card, list_models, shipped
from zoo.loading import load
from zoo.markdown import facts, overview_row
from zoo.registry import Architecture

__all__ = ["draw", "drawn_from", "page", "write"]

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
compare. The published figures are those of the paper that a card names, see
[REPRODUCTION.md](REPRODUCTION.md). Burda et al. trained for about 10 million steps,
`dense_vae.mnist` for 193,500 and `dense_vae.mnist_long` for 430,000. A training that starts from
the weights of another model starts from those before its final phase, if it had one.

`zoo.build(ARCHITECTURE, …)` makes an untrained model of any of the architectures at the end of the
page, with networks for your own events.
"""
_ARCHITECTURES = """\
## Architectures

Each of them takes the parts of `kvae.VAE` (`posterior`, `prior`, `likelihood`, `objective`), `seed`
and, unless its row says otherwise, `num_classes` or `conditions`. The modules of
`zoo/architectures` explain the arguments.

| architecture | what it is | arguments and their defaults |
|---|---|---|
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
        lines += [overview_row(card) for card in members]
        lines.append("")
    for name, members in groups.items():
        lines += [f"## {name}", ""]
        for card in members:
            lines += [_section(card), ""]
    lines.append(_ARCHITECTURES + "\n".join(map(_architecture_row, ARCHITECTURES.values())))
    return "\n".join(lines) + "\n"


def _architecture_row(found: Architecture) -> str:
    summary = " ".join((found.__doc__ or "").partition("\n\n")[0].split())
    defaults = ", ".join(f"`{name}={value!r}`" for name, value in found.defaults.items())
    labels = "" if found.conditional else " It takes no labels."
    return f"| `{found.name}` | {summary}{labels} | {defaults} |"


def _models() -> list:
    return [shipped(name) for name in list_models(untrained=True)]


def _order(card) -> tuple:
    data = card.dataset["name"]
    return data != "mnist", data, card.name


def _section(card) -> str:
    picture, caption = "", _caption(card)
    if card.trained:
        picture = (
            f"![{card.name}: {caption}](models/{card.name}.png)\n\n*{caption.capitalize()}.*\n\n"
        )
    return f"### {card.name}\n\n{picture}{facts(card)}\n"


def _caption(card) -> str:
    if _samples(card):
        return "samples from the prior, the means of p(x|z)"
    noisy = "noisy " if card.recipe.get("noise") else ""
    return f"{noisy}test images above their reconstructions"


def _samples(card: Card) -> bool:
    """Checks whether the picture shows samples; without a prior there is nothing to draw from."""
    return ARCHITECTURES[card.architecture].part("prior", card.arguments) is not None


def draw(card, path) -> None:
    """Draws a model's samples, or an autoencoder's reconstructions, from the shipped weights.

    Args:
        card: `Card`.
        path: path of a `.png` file. It keeps the SHA-256 of the weights that it was drawn from.

    Raises:
        FileNotFoundError: where reconstructions need data that are not here.
    """
    vae = load(card.name)
    if _samples(card):
        data = None if vae.conditions is None else training.test_data(RECIPES[card.name])
        picture = pictures.samples(vae, data)
    else:
        picture = pictures.reconstructions(vae, training.test_data(RECIPES[card.name]))
    pictures.save(picture, path, weights=card.weights["sha256"])


def drawn_from(path) -> str | None:
    """Returns the SHA-256 of the weights that a picture was drawn from, or `None` without one."""
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
    parser = argparse.ArgumentParser(prog="python -m zoo.models_page", description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=_FOLDER)
    parser.add_argument("--redraw", action="store_true", help="draw all pictures anew")
    arguments = parser.parse_args()
    write(arguments.folder, redraw=arguments.redraw)


if __name__ == "__main__":
    _main()
