"""Trainings on several workers of one machine, and on paper on many machines."""

import pathlib
import statistics
import time

from benchmarks.bars import rates
from benchmarks.cases import ALL_REDUCE, CASES, ONE_WORKER, PLACES, TWO_WORKERS
from benchmarks.runner import Turns

__all__ = ["efficiency", "least_batch", "measure", "ring", "sizes", "step_model", "steps", "sums"]

_IMAGES = {"dense": 24_576, "conv": 6144}  # Of a turn of four workers.
_SIZES = (4, 1 << 20, 16 << 20)  # Bytes that are summed.
_SUMS = 50  # Of a turn.
# Sums of a few numbers at each step: whether a worker has a batch, whether all batches fit, the
# number of examples, and the two by which Keras takes the means of the logs.
_SMALL_SUMS = 5


def measure(images: pathlib.Path, cases, batches, rounds: int, say, until: float) -> list[dict]:
    """Measures trainings in each of `PLACES`, and sums over the workers by their size.

    Args:
        images: path of the uint8 images, an `.npy` file.
        cases: list of str, of `"dense"`, `"conv"` and `ALL_REDUCE`.
        batches: list of int. Images of a step for each core.
        rounds: int.
        say: callable. Is told what begins.
        until: float. After two rounds no other begins when `time.monotonic()` is past it.

    Returns:
        list of dict, each as `measure` of the benchmarks has them.
    """
    found = []
    tasks = [(case, batch) for case in cases for batch in batches if case != ALL_REDUCE]
    for number, (name, batch) in enumerate(tasks):
        case = next(case for case in CASES if case.name == name)
        say(f"{name}, {batch} images for each core")
        steps = max(4, _IMAGES[name] // (4 * batch))
        counts = {place.name: steps * batch * place.parts for place in PLACES}
        left = (until - time.monotonic()) / (len(tasks) - number + 1)
        facts = _turns(name, batch, counts, images, rounds, time.monotonic() + left)
        found.append({"case": name, "batch": batch, "flops": case.flops(batch), **facts})
    for size in _SIZES if ALL_REDUCE in cases else ():
        say(f"sums of {size:,} bytes")
        facts = _turns(ALL_REDUCE, size, {TWO_WORKERS: _SUMS}, images, rounds, until)
        found.append({"case": ALL_REDUCE, "batch": size, **facts})
    return found


def _turns(name, batch, counts, images, rounds: int, until: float) -> dict:
    turns = Turns("workers", name, batch, counts, images)
    try:
        measured = turns.run(rounds, until)
    finally:
        turns.stop()
    return {"measured": measured, "failures": turns.failures}


# On paper.


def ring(machines: int, size: float, gigabits: float, latency: float) -> float:
    """Returns the seconds of a ring all-reduce.

    Args:
        machines: int.
        size: float. Bytes that are summed.
        gigabits: float. Of a second, in either direction.
        latency: float. Seconds of a message.
    """
    hops = 2 * (machines - 1)
    return hops / machines * size * 8 / (gigabits * 1e9) + hops * latency


def sums(machines: int, size: float, gigabits: float, latency: float) -> float:
    """Returns the seconds of all sums of a step: the gradients of `size` bytes, and small ones."""
    small = _SMALL_SUMS * ring(machines, 4, gigabits, latency)
    return ring(machines, size, gigabits, latency) + small


def efficiency(step: float, communication: float) -> float:
    """Returns the share of the machines' rate that is left where nothing overlaps."""
    return step / (step + communication)


def step_model(seconds: dict[int, float]) -> tuple[float, float]:
    """Returns the fixed seconds of a step, and those of an image, from two or more batch sizes."""
    xs, ys = list(seconds), list(seconds.values())
    slope, fixed = statistics.linear_regression(xs, ys)
    return max(0.0, fixed), slope


def least_batch(communication: float, fixed: float, image: float, wanted: float = 0.8) -> int:
    """Returns the least batch of a machine with which the efficiency is `wanted`."""
    step = communication * wanted / (1 - wanted)
    return max(1, -int(-(step - fixed) // image))


def steps(found: list[dict], clock: str = "seconds") -> dict[str, dict[int, float]]:
    """Returns the seconds of a step of one worker under the strategy, by case and batch."""
    seconds: dict[str, dict[int, float]] = {}
    for facts in found:
        measured = facts["measured"].get(ONE_WORKER)
        if facts["case"] != ALL_REDUCE and measured is not None:
            rate = statistics.median(rates(measured, clock))
            seconds.setdefault(facts["case"], {})[facts["batch"]] = facts["batch"] / rate
    return seconds


def sizes(found: list[dict]) -> dict[str, int]:
    """Returns the bytes of the gradients, which are summed at each step, by case."""
    return {
        facts["case"]: facts["measured"][ONE_WORKER]["bytes"]
        for facts in found
        if facts["case"] != ALL_REDUCE and ONE_WORKER in facts["measured"]
    }
