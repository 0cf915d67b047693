"""Puts an annealed estimate of log p(x) on a card, beside that of its importance samples.

`python -m zoo.annealing NAME` measures the first test examples and writes the card.
"""

import argparse
import dataclasses
import math
import pathlib

import numpy as np

from kvae.evaluation import annealed_log_prob
from zoo import training
from zoo.building import RECIPES
from zoo.cards import Card, shipped, trained_name
from zoo.loading import load

__all__ = ["with_annealed"]

_FOLDER = pathlib.Path(__file__).parent / "cards"


def with_annealed(
    name: str, *, num_examples: int = 20, num_chains: int = 8, num_steps: int = 200
) -> Card:
    """Returns a card with the metric `annealed`, of the first test examples.

    Its NLL is also called `annealed`, and `importance` is that of the same examples by as many
    importance samples as the card states.

    Args:
        name: str. One of `zoo.list_models()`.
        num_examples: int. Defaults to `20`.
        num_chains, num_steps: int. As of `kvae.evaluation.annealed_log_prob`. Default to `8` and
            `200`.
    """
    card, model, seed = shipped(name), load(name), RECIPES[name].seed
    data = training.test_data(RECIPES[name])[:num_examples]
    counts = {"num_chains": num_chains, "num_steps": num_steps}
    annealed = annealed_log_prob(model, data, seed=seed, **counts)
    samples = card.metrics["nll"]["num_samples"]
    plain = model.log_prob(data, num_samples=samples, seed=seed)
    errors = annealed.monte_carlo_error
    found = {
        "annealed": -float(np.mean(annealed.value)),
        "monte_carlo_error": math.sqrt(float(np.sum(errors**2))) / len(errors),
        "importance": -float(np.mean(plain.value)),
        "num_examples": len(errors),
        **counts,
    }
    return dataclasses.replace(card, metrics={**card.metrics, "annealed": found})


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.annealing", description=__doc__)
    parser.add_argument("names", nargs="+", type=trained_name, metavar="NAME")
    parser.add_argument("--examples", type=int, default=20, help="test examples (default: 20)")
    arguments = parser.parse_args()
    for name in arguments.names:
        card = with_annealed(name, num_examples=arguments.examples)
        card.write(_FOLDER / f"{name}.json")
        print(f"{name}: {card.metrics['annealed']}", flush=True)


if __name__ == "__main__":
    _main()
