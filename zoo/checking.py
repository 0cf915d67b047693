"""Recomputes the figures of cards from the shipped weights, on the first test images.

`make check-cards` checks all cards; `make check-cards ARGS="NAME …"` some of them. What is finished
stays in a folder, so that a run that was stopped goes on.
"""

import argparse
import dataclasses
import math
import pathlib
import time

import numpy as np

import kvae
from kvae.evaluation import evaluate
from kvae.evaluation.disentanglement import disentanglement
from kvae.evaluation.terms import batch_terms
from kvae.random import fold_in
from kvae.utils import io, seals
from zoo import training
from zoo.building import RECIPES
from zoo.cards import Card, list_models, shipped, trained_name
from zoo.figures import auroc
from zoo.loading import load

__all__ = ["Check", "check", "figure_of"]

_FOLDER = pathlib.Path("build/check-cards")
# The first images are a sample of the test split: so many standard errors may lie between the two.
_ERRORS = 3.0
# What other processors and libraries may change in a mean over the same images.
_ROUNDING = {"bce_per_pixel": 1e-4, "accuracy": 1e-3}
_ROUNDING_OF_OTHERS = 0.02


@dataclasses.dataclass(frozen=True)
class Check:
    """A figure of a card beside the same one of the first test images.

    Attributes:
        name: str. The model.
        weights: str. The SHA-256 of the weights that were measured.
        figure: str. The metric, e.g. `"nll"`.
        card, found: float. Its value on the card, and that of the first images.
        allowed: float. The largest difference that is within its error.
        examples: int. The number of images.
        seconds: float. What it took.
    """

    name: str
    weights: str
    figure: str
    card: float
    found: float
    allowed: float
    examples: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the two agree within the error."""
        return abs(self.found - self.card) <= self.allowed

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "OFF"
        return (
            f"{verdict:3} {self.name}: {self.figure} {self.found:.4f} on {self.examples:,} images, "
            f"card {self.card:.4f}, difference {self.found - self.card:+.4f}, allowed "
            f"±{self.allowed:.4f} ({self.seconds:.0f} s)"
        )


def figure_of(card: Card) -> tuple[str, float]:
    """Returns the name and the value of a card's main figure."""
    metrics = card.metrics
    if "factor_vae_score" in metrics:
        return "factor_vae_score", metrics["factor_vae_score"]
    if "accuracy" in metrics:
        return "accuracy", metrics["accuracy"]
    if "auroc" in metrics:
        return "auroc", metrics["auroc"]
    if "nll" in metrics:
        return "nll", metrics["nll"]["nll"]
    name = next(name for name in ("bce_per_pixel", "elbo", "reconstruction") if name in metrics)
    return name, metrics[name]


def check(name: str, examples: int = 1000, folder=_FOLDER) -> Check:
    """Recomputes the figure of a card with as many importance samples, on the first test images.

    The difference may be three standard errors, as a mean over so many of the card's examples has
    them. Over all examples the two agree but for what another machine rounds. Scores of
    disentanglement are recomputed whole.

    Args:
        name: str. One of `zoo.list_models()`.
        examples: int. Defaults to `1000`.
        folder: path. Keeps what is finished, by the SHA-256 of the weights.

    Raises:
        FileNotFoundError: when the data are not there.
    """
    card, recipe = shipped(name), RECIPES[name]
    figure, stated = figure_of(card)
    folder = io.writable_folder(pathlib.Path(folder), "keep what is finished")
    path = folder / f"{name}-{examples}-{card.weights['sha256'][:12]}.json"
    if path.exists():
        return Check(**seals.unsealed(path.read_text("utf-8")))
    start, model, seed = time.monotonic(), load(name), recipe.seed
    data = training.test_data(recipe)
    whole, data = len(data), data[:examples]
    if figure == "factor_vae_score":
        factors = kvae.datasets.info(recipe.dataset).factors
        found, spread = disentanglement(model, factors(), seed=seed)[figure], 0.0
    elif figure == "accuracy":
        hits = np.float64(model.classify(data.examples) == np.asarray(data.labels))
        found, spread = float(np.mean(hits)), float(np.std(hits, ddof=1))
    elif figure == "auroc":
        data = training.test_data(dataclasses.replace(recipe, normal=None))
        whole, data = len(data), data[:examples]
        found = auroc(recipe, model, data)
        normal = np.isin(data.labels, recipe.normal).mean()
        # At most: the variance of so many pairs, as if of the smaller group alone.
        spread = math.sqrt(found * (1 - found) / min(normal, 1 - normal))
    elif figure == "nll":
        samples = card.metrics["nll"]["num_samples"]
        cache = path.with_suffix(".npz")
        values = model.log_prob(data, num_samples=samples, seed=seed, cache=cache).value
        found, spread = -float(np.mean(values)), float(np.std(values, ddof=1))
    elif figure == "bce_per_pixel":
        metrics = evaluate(model, data, num_samples=1, seed=seed)
        found = metrics[figure]
        spread = metrics["bce_standard_error"] * math.sqrt(len(data))
    else:
        values = _terms(model, data, figure, seed)
        found, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    error = spread * math.sqrt(max(0.0, 1 / len(data) - 1 / whole))
    allowed = _ERRORS * error + _ROUNDING.get(figure, _ROUNDING_OF_OTHERS)
    seconds = time.monotonic() - start
    result = Check(name, card.weights["sha256"], figure, stated, found, allowed, len(data), seconds)
    with io.atomic_write(path) as temporary:
        temporary.write_text(seals.sealed(dataclasses.asdict(result)), "utf-8")
    path.with_suffix(".npz").unlink(missing_ok=True)
    return result


def _terms(model, data, figure: str, seed: int) -> np.ndarray:
    """Returns a term of the objective of each example, as `mean_terms` averages them."""
    found = []
    for index, batch in enumerate(data.batches(100)):
        x, target = batch if isinstance(batch, tuple) else (batch, batch)
        terms = batch_terms(model, x, None, target, fold_in(seed, index))
        found.append(np.asarray(terms[figure], np.float64))
    return np.concatenate(found)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m zoo.checking", description=__doc__)
    text = "models; all without a name"
    parser.add_argument("names", nargs="*", type=trained_name, metavar="NAME", help=text)
    parser.add_argument("--examples", type=int, default=1000, help="test images (default: 1000)")
    parser.add_argument("--folder", type=pathlib.Path, default=_FOLDER)
    arguments = parser.parse_args()
    if arguments.examples < 2:
        parser.error(f"--examples is at least 2, not {arguments.examples}")
    off = []
    for name in arguments.names or list_models():
        try:
            found = check(name, arguments.examples, arguments.folder)
        except FileNotFoundError as error:
            print(f"--  {name}: not checked, {error}", flush=True)
            continue
        print(found, flush=True)
        off += [] if found.ok else [name]
    if off:
        print(f"off: {', '.join(off)}")
    return 1 if off else 0


if __name__ == "__main__":
    raise SystemExit(_main())
