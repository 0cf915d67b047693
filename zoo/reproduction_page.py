"""The page of published figures beside those of the zoo, `docs/REPRODUCTION.md`, from the cards.

`make reproduction` writes it.
"""

import argparse
import math
import pathlib
from collections.abc import Iterable

import kvae
from kvae.utils import io
from zoo.cards import Card, list_models, shipped
from zoo.markdown import duration, source
from zoo.reproducing import chain

__all__ = ["page", "write"]

_PATH = pathlib.Path(__file__).parents[1] / "docs" / "REPRODUCTION.md"
_INTRODUCTION = """\
# Published figures, and ours

Each row is a published figure beside that of the model of the zoo that follows it. `make
reproduction` writes this page from the cards, and a test holds it to them.
[MODELS.md](MODELS.md) shows the models themselves.

- **Difference** is ours minus the published one. Likelihoods (NLL, nats) and errors (BCE, nats per
  pixel) are better when they are lower, scores when they are higher. **Reached** says yes where
  ours is at least as good.
- **In standard errors** is the difference over the standard error of ours, which is what another
  test set of the same size would change. Papers average over several trainings; each of ours is one
  training with the seed 0, whose weights are shipped.
- **Time** is that of all trainings that the model needs, on the machine that its card names, which
  other work shared.
- `make reproduce CARD=NAME` trains a model again from scratch, those that it starts from included,
  and compares it with its card. With `ARGS=--quick` it tries the command in a minute: one epoch on
  256 examples.
- `make check-cards` recomputes the figures of all cards from the shipped weights, on the first
  1,000 test images.

"""
_ESTIMATES = """
## How far the likelihoods can be trusted

An importance-sampled NLL is too high in expectation, by less the more samples are effective. The
table shows the samples for each example; how many of them are effective (the median over the
examples); the share of the examples whose weights have a heavy tail (k̂ > 0.7), for which the
estimates of the error and of the bias are too small; the error that another seed would make in the
mean; and the bias that the jackknife finds. Where it was run, annealed importance sampling (AIS),
which owes little to the posterior, stands beside the importance-sampled figure of the same, the
first, examples.

| model | samples | effective | heavy tails | error | bias found | AIS |
|---|---|---|---|---|---|---|
"""
# Of the weights that are shipped: 280 is half of the 560 pixels.
_FACES = """
### The Frey Faces

The errors look large, ± 20 nats, and so does the distance between the two models.

- **The error is that of the images, and not of the samples.** One σ stands for all pixels of all
  images. `dense_vae.frey_faces` has learned σ = 0.040, and a face that it reconstructs with the
  root mean square error r costs 280 r²/σ² nats. A tenth of the 200 test images has an r of less
  than 0.026, another tenth one of more than 0.061, and 543 nats lie between these two.
- **σ fits the training images, but that costs little.** Their r is 0.039 on the whole, that of the
  test images 0.044, for which σ = 0.044 were the best: 5 nats. The networks know the training
  images better, too: the NLL of the first 200 of them is lower by 79 nats than that of the test
  images. Of `conv_vae.frey_faces` σ is 0.036, r is 0.032 of the training images and 0.038 of the
  test images, and the NLL of the first 200 training images is lower by 88 nats.
- **Few samples are effective**, 5 and 4 of 5,000. Annealing finds a lower NLL (the table above), so
  the cards' are too high, by more than their errors say: q(z|x) is far from the posterior that so
  small a σ has.
- **The convolutional model is ahead because it reconstructs better**, and because σ has had the
  time to follow: Adam brings log σ², which starts at that of 0.1, down by no more than about the
  learning rate in each step. After 300 epochs it was 0.077, where r was 0.050, and the NLL
  −791.89. From those weights 200 epochs more, tried on the training data alone (`python -m
  benchmarks.final_phase conv_vae.frey_faces --epochs 200 --batch-size 100 --learning-rate 1e-3
  --examples 200`), raised log p(x) of the validation images by 189 ± 8 nats, so that the recipe now
  trains for 600 epochs, as that of the dense model does.

```python
import kvae
import numpy as np
import zoo

for name, samples in (("dense_vae.frey_faces", 5000), ("conv_vae.frey_faces", 1000)):
    vae = zoo.load(name)
    print(name, "σ", np.exp(vae.likelihood.weights[0] / 2))
    for split in ("train", "test"):
        x = kvae.datasets.load("frey_faces", split).examples
        squares = np.mean((vae.reconstruct(x) - x) ** 2, axis=(1, 2, 3))
        tenths = np.quantile(np.sqrt(squares), [0.1, 0.9])
        print(split, "r", np.sqrt(np.mean(squares)), tenths)
        nll = -np.mean(vae.log_prob(x[:200], num_samples=samples, seed=0).value)
        print(split, "NLL", nll)
```
"""
_SHORT = """
## What falls short, and what was tried

Of the 60,000 training images of MNIST, the zoo's models learn from 55,000, and the other 5,000
choose the epoch. [Burda et al.](https://github.com/yburda/iwae/blob/master/datasets.py), whose
figures stand beside `dense_vae` and `iwae`, learn from 59,600, and
[Tomczak & Welling](https://github.com/jmtomczak/vae_vampprior/blob/master/utils/load_data.py),
whose models `gated_vae`, `vamp_vae` and `hvae` follow, from 50,000. So a final phase on all 60,000
is like the former, and has an advantage over the latter.

"""
# What was trained for a figure that is not reached, with what each training came to. The last
# attempt is the card's.
_TRIED = {
    "dense_vae.mnist": (
        "450 epochs at 0.001: 87.89. It stays as it is, since its weights bear 8 bits",
        "1,000 epochs at 0.002, as `dense_vae.mnist_long`: 86.82",
    ),
    "dense_vae.mnist_long": (
        "450 epochs at 0.001, as `dense_vae.mnist`: 87.89",
        "a final phase from the card's weights, 100 epochs on the training and validation data at "
        "0.001 with a weight decay of 0.01 and averaged weights: 87.19, worse. Its weights were "
        "smaller, the largest 5.8 in place of 7.0",
        "such a phase of 40 epochs in batches of 256 at 0.0005 without decay, tried on the "
        "training data alone (`python -m benchmarks.final_phase dense_vae.mnist_long --epochs 40 "
        "--batch-size 256 --learning-rate 5e-4`): the NLL of the first 1,000 validation images "
        "changes by −0.008 ± 0.009, the ELBO of the training images by +0.9 from the first "
        "epoch to the last",
        "the same phase on the training and validation data together: 86.79, by 0.02 lower",
        "1,000 epochs at 0.002: 86.82",
    ),
    "iwae.mnist_k5": ("60 epochs from the weights of `dense_vae.mnist_long`: 86.12",),
    "iwae.mnist_k50": ("40 epochs from the weights of `iwae.mnist_k5`: 85.58",),
    "gated_vae.mnist": ("320 epochs: 84.73",),
    "vamp_vae.mnist": ("200 epochs in batches of 200, pseudo-inputs from the data: 83.25",),
    "hvae.mnist": (
        "a final phase from the card's weights, 25 epochs at 0.0003 with averaged weights, tried "
        "on the training data alone (`python -m benchmarks.final_phase hvae.mnist --epochs 25 "
        "--learning-rate 3e-4 --examples 600 --samples 200`): the NLL of the first 600 validation "
        "images changes by +0.013 ± 0.016, the ELBO of the training images by +0.9 from the "
        "first epoch to the last. The same phase on both has been trained, and not yet been "
        "measured on the test images",
        "300 epochs: 82.42",
    ),
    "hvae.mnist_vamp": ("40 epochs from the weights of `hvae.mnist`: 81.64",),
    "m2_vae.mnist_100": (
        "20 epochs by `benchmarks/few_labels.py`, which repeats the labelled rows less often: 4.23",
        "6 epochs, which took 28 minutes on a busy machine: 6.39",
    ),
    "conv_vae.mnist_hierarchical": (
        "`conv_vae.mnist`, one group of latents: 86.07",
        "two groups of latents: 83.11",
    ),
}
_WITHOUT_CARD = """
Published figures whose model has no card yet, and what one would cost:

- MIWAE(8, 8) 84.97, CIWAE(64, β = 0.05) 84.57 and PIWAE(8, 8) 84.46
  ([Rainforth et al.](https://arxiv.org/abs/1802.04537)): not trained. By the 95 s that an epoch of
  50 samples takes on one core (the card of `iwae.mnist_k50`), 40 epochs of 64 samples take 1.3
  hours each. `python -m benchmarks.final_phase iwae.mnist_k50 --objective
  piwae:num_groups=8,num_samples=8 --epochs 40 --batch-size 256 --learning-rate 5e-4` tries one.
- `ladder_vae.mnist`: its training is under way.
"""


def page(models: Iterable[Card] | None = None) -> str:
    """Returns the page as Markdown.

    Args:
        models: optional cards. Defaults to all of the zoo's.
    """
    cards = [shipped(name) for name in list_models()] if models is None else list(models)
    compared = sorted((card for card in cards if card.published), key=_order)
    groups: dict[str, list[Card]] = {}
    for card in compared:
        groups.setdefault(_data(card), []).append(card)
    lines = [_INTRODUCTION]
    for name, members in groups.items():
        lines += [
            f"## {name}\n",
            "| model | figure | published | ours | difference | in standard errors | reached | "
            "time | again |",
            "|---" * 9 + "|",
            *map(_row, members),
            "",
            *(f"- `{card.name}`: {source(card.published['source'])}" for card in members),
            "",
        ]
    text = "\n".join(lines)
    # Scores are the figure of the others that have one.
    estimated = [card for card in cards if "nll" in card.metrics and not _scored(card)]
    text += _ESTIMATES + "\n".join(map(_estimate, sorted(estimated, key=_order))) + "\n"
    if any(card.dataset["name"] == "frey_faces" for card in estimated):
        text += _FACES
    short = [card for card in compared if not _reached(card)]
    if short:
        short += [card for card in cards if _scored(card) and not card.published]
        text += _SHORT + "\n".join(map(_attempts, short)) + "\n" + _WITHOUT_CARD
    return text


def _order(card: Card) -> tuple:
    return card.dataset["name"] != "mnist", _data(card), card.name


def _data(card: Card) -> str:
    """Returns what is compared with nothing else: the data and their binarization."""
    binarize = card.preprocessing["binarize"]
    return card.dataset["name"] + (f", {binarize} binarization" if binarize else "")


def _ours(card: Card) -> tuple[str, float, float | None]:
    """Returns the metric of the published figure, our value and its standard error."""
    metric, metrics = card.published["metric"], card.metrics
    if metric == "nll":
        return "NLL", metrics["nll"]["nll"], metrics["nll"]["standard_error"]
    if metric == "bce_per_pixel":
        return "BCE", metrics[metric], metrics["bce_standard_error"]
    if metric == "error":  # Percent; a share of so many examples.
        wrong, examples = 1 - metrics["accuracy"], kvae.datasets.info(card.dataset["name"]).test
        return "error, %", 100 * wrong, 100 * math.sqrt(wrong * (1 - wrong) / examples)
    return "FactorVAE score", metrics[metric], None


def _reached(card: Card) -> bool:
    _, value, error = _ours(card)
    better = value - card.published["value"]
    return better >= 0 if error is None else better <= 0


def _row(card: Card) -> str:
    metric, value, error = _ours(card)
    difference = value - card.published["value"]
    digits = 2 if metric in ("NLL", "error, %") else 4 if metric == "BCE" else 3
    sizes = f" ± {error:.{digits}f}" if error else ""
    cells = (
        f"[`{card.name}`](MODELS.md#{card.name.replace('.', '')})",
        metric,
        card.published["value"],
        f"{value:.{digits}f}{sizes}",
        _signed(difference, digits),
        _signed(difference / error, 1) if error else "",
        "yes" if _reached(card) else "no",
        _time(card),
        f"`make reproduce CARD={card.name}`",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _time(card: Card) -> str:
    names = chain(card.name)
    before = sum(_until_finish(shipped(name)) for name in names[:-1])
    return duration(before + card.cost["seconds"])


def _until_finish(card: Card) -> float:
    return card.cost["seconds"] - card.recipe.get("finish", {}).get("seconds", 0.0)


def _estimate(card: Card) -> str:
    nll = card.metrics["nll"]
    annealed = card.metrics.get("annealed")
    cells = (
        f"`{card.name}`",
        f"{nll['num_samples']:,}",
        f"{nll['median_effective_sample_size']:.0f}",
        "" if nll["heavy_tailed"] is None else f"{nll['heavy_tailed']:.0%}",  # Of few samples.
        f"{nll['monte_carlo_error']:.3f}",
        f"{nll['monte_carlo_bias']:.2f}",
        ""
        if annealed is None
        else f"{_plain(annealed['annealed'])} ± {annealed['monte_carlo_error']:.2f} and "
        f"{_plain(annealed['importance'])} on {annealed['num_examples']} examples",
    )
    return f"| {' | '.join(cells)} |"


def _scored(card: Card) -> bool:
    return "factor_vae_score" in card.metrics


def _attempts(card: Card) -> str:
    tried = _longer(card) if _scored(card) else "; ".join(_TRIED.get(card.name, ()))
    if card.published:
        metric, value, _ = _ours(card)
        found = f"{metric} {_signed(value - card.published['value'], 2)}"
    else:
        found = f"FactorVAE score {card.metrics['factor_vae_score']:.2f}, with no published one"
    return f"- `{card.name}` ({found}): {tried or 'one training, by its recipe'}."


def _longer(card: Card) -> str:
    """Returns how long a training of as many steps as the papers', or a third of them, would be."""
    rows, recipe = kvae.datasets.info(card.dataset["name"]).train, card.recipe
    steps = recipe["epochs"] * math.ceil(rows / recipe["batch_size"])
    seconds = card.cost["seconds"] / steps
    third, whole = (count * seconds / 3600 for count in (100_000, 300_000))
    return (
        f"one training of {steps:,} steps, where those of the papers have 300,000. At the "
        f"{seconds:.2f} s a step that its card states, 100,000 steps take {third:.1f} hours on "
        f"{card.cost['machine'].partition(',')[0]}, and 300,000 take {whole:.0f}"
    )


def write(path=_PATH) -> pathlib.Path:
    """Writes the page, and returns its path."""
    with io.atomic_write(path) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    return pathlib.Path(path)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.reproduction_page", description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=_PATH)
    print(f"wrote {write(parser.parse_args().output)}")


if __name__ == "__main__":
    _main()
