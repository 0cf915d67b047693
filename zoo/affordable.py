"""Sizes an evaluation to the time that there is for it."""

import dataclasses
import time
import warnings

from kvae.evaluation.marginal_likelihood.importance import rows_at_once

__all__ = ["Affordable", "affordable"]

# Numbers of importance samples that are chosen from, and examples that are measured at least.
_SAMPLES = (1000, 500, 200, 100, 50)
_LEAST = 20
_BATCH = 100  # That of `kvae.evaluation.evaluate`.


@dataclasses.dataclass(frozen=True)
class Affordable:
    """The importance samples and the examples of an evaluation, and the time that it will take.

    Attributes:
        num_samples: int.
        num_examples: int.
        seconds: float. The time that log p(x) is expected to take.
    """

    num_samples: int
    num_examples: int
    seconds: float


def affordable(model, data, seconds: float) -> Affordable:
    """Returns with how many samples, and of how many examples, log p(x) is estimated in a time.

    A first batch is timed. All examples are taken, with up to 1,000 samples each; where fewer than
    50 would be left, fewer examples. It depends on the machine, and so do the figures.

    Args:
        model: `kvae.VAE`.
        data: `kvae.datasets.Dataset`.
        seconds: float. The time.
    """
    count = len(data)
    if model.posterior.deterministic:  # There is no log p(x), or none to estimate.
        return Affordable(1, count, 0.0)
    first = data[: min(count, _BATCH)]
    num = max(1, min(_SAMPLES[0], rows_at_once(model.event_shape) // _BATCH))
    cost = 0.0
    for _ in range(2):  # The first one makes the graphs.
        start = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of the few samples, whose figures nobody sees.
            model.log_prob(first, num_samples=num, max_rows=num * _BATCH)
        cost = (time.monotonic() - start) / (num * len(first))
    total = seconds / cost
    samples = next((size for size in _SAMPLES if size * count <= total), _SAMPLES[-1])
    examples = count if samples * count <= total else int(total / samples)
    examples = min(count, max(examples, _LEAST))
    return Affordable(samples, examples, samples * examples * cost)
