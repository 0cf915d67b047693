"""The bars: what each case is to reach. A new case adds its bars to `BARS`, and to nothing else."""

import dataclasses
import statistics

from benchmarks.cases import (
    FIRST_SAMPLE,
    FLASK,
    GRADIENTS,
    IN_MEMORY,
    INFERENCE,
    NETWORKS,
    SIGNATURES,
    SOURCES,
    STEADY,
)

__all__ = ["BARS", "MILLISECONDS", "SGEMM", "Bar", "Found", "found", "peak", "rates", "ratios",
           "share"]  # fmt: skip

SGEMM = "sgemm"  # The share of the products of matrices that the same process reaches.
MILLISECONDS = "milliseconds"  # The time of one unit (a call, a request).


@dataclasses.dataclass(frozen=True)
class Bar:
    """A figure that a variant of a case is to reach, at each batch size that was measured.

    Attributes:
        case: str. The name of the case.
        against: str. The variant that this one is compared with. `"torch"` stands for the fastest
            of those whose name begins with it. Or `SGEMM`, or `MILLISECONDS`.
        wanted: float. How many times as fast as `against` this variant is to be at least; the share
            of sgemm that it is to reach at least; or the milliseconds that it may take at most.
        seconds: float. Where it is given, the bar is one of time: a turn may take `wanted` times
            that of `against` and so many seconds more at most.
        at_most: bool. Whether `wanted` is how many times as long this may take at most.
        variant: str. Whose bar it is. Defaults to `"kvae"`.
    """

    case: str
    against: str
    wanted: float
    seconds: float | None = None
    at_most: bool = False
    variant: str = "kvae"


_DENSE = ("dense", "gated", "iwae_k5", "iwae_k50", "vamp_k500")
_METHODS = next(case.competitors for case in INFERENCE if case.name == "row")
BARS = (
    *(Bar(case, SGEMM, 0.8) for case in _DENSE),
    Bar("dense", "pythae", 3.0),
    Bar("dense", "torch", 1.75),
    Bar("conv", SGEMM, 0.65),
    Bar("conv", "torch", 1.8),
    Bar("conv", "keras.io", 1.5),
    Bar("conv", "pythae", 2.7),
    *(Bar(case, STEADY, 1.3, seconds=3.0) for case in ("short_dense", "short_conv")),
    *(
        Bar(case, IN_MEMORY, 0.8, variant=source)
        for case in ("sources_dense", "sources_conv")
        for source in SOURCES
    ),
    Bar("nll", "pythae", 5.0),
    Bar("nll", NETWORKS, 0.9),
    Bar("ais", GRADIENTS, 0.9),
    *(Bar(case, "torch", 1.0) for case in ("encode", "decode", "sample", "reconstruct")),
    *(Bar("row", MILLISECONDS, 1.0, variant=method) for method in _METHODS),
    *(Bar(f"serving {signature}", FLASK, 5.0) for signature in SIGNATURES),
    Bar("tflite", "bare products", 1.5, at_most=True),
    Bar("tflite int8", "bare products", 1.2, at_most=True),
    Bar("start", "import keras", 1.2, at_most=True, variant="import kvae"),
    Bar("start", "import keras", 1.1, seconds=1.5, variant=FIRST_SAMPLE),
)


@dataclasses.dataclass(frozen=True)
class Found:
    """A bar beside what was measured; `share` is that of sgemm, or `None` where it is unknown."""

    name: str
    wanted: str
    value: float
    share: float | None
    holds: bool


def found(results: dict, clock: str, bars=BARS) -> list[Found]:
    """Returns the bars of the cases and the variants that were measured, in the order of `bars`."""
    every = []
    for bar in bars:
        for facts in all_facts(results):
            if facts["case"] == bar.case and bar.variant in facts["measured"]:
                each = _compared(bar, facts, clock)
                every += [] if each is None else [each]
    return every


def all_facts(results: dict) -> list[dict]:
    """Returns the facts of each case: `case`, `measured`, and where known `batch` and `flops`."""
    start = results.get("start")
    starts = [{"case": "start", "measured": start}] if start else []
    kinds = ("training", "inference", "serving")
    facts = [each for kind in kinds for each in results.get(kind, ())] + starts
    return [each for each in facts if each.get("measured")]


def _compared(bar: Bar, facts: dict, clock: str) -> Found | None:
    measured = facts["measured"]
    mine, part = measured[bar.variant], share(facts, bar.variant, clock)
    others = [bar.against] if bar.against in measured else []
    if bar.against == "torch":
        others = [name for name in measured if name.startswith("torch")]
    sign, by = "at least", f"times {bar.against}"
    if bar.against == SGEMM:
        value, by = part, "share of sgemm"
    elif bar.against == MILLISECONDS:
        value, sign, by = 1000 / statistics.median(rates(mine, clock)), "at most", "milliseconds"
    elif not others:
        return None
    elif bar.seconds is not None:
        sign, by = "at most", f"times {bar.against}, without {bar.seconds:g} s"
        pairs = list(zip(mine[clock], measured[others[0]][clock], strict=False))
        value = statistics.median((own - bar.seconds) / other for own, other in pairs)
    else:
        by = f"times the fastest {bar.against}" if len(others) > 1 else by
        value = min(statistics.median(ratios(mine, measured[name], clock)) for name in others)
        if bar.at_most:
            sign, value = "at most", 1 / value
    if value is None:
        return None
    who = "" if bar.variant == "kvae" else bar.variant
    name = " ".join(str(word) for word in (bar.case, facts.get("batch"), who) if word)
    holds = value >= bar.wanted if sign == "at least" else value <= bar.wanted
    return Found(f"{name}: {by}", f"{sign} {bar.wanted:g}", value, part, holds)


def rates(facts: dict, clock: str) -> list[float]:
    """Units per second of each round."""
    return [facts["count"] / max(seconds, 1e-9) for seconds in facts[clock]]


def ratios(facts: dict, other: dict, clock: str) -> list[float]:
    """Returns how many times as fast as `other` this was, round by round."""
    pairs = zip(rates(facts, clock), rates(other, clock), strict=False)
    return [mine / theirs for mine, theirs in pairs]


def peak(measured: dict, clock: str) -> float | None:
    """Returns the GFLOP/s of the products of matrices in the process of a variant."""
    if not measured.get("gflops"):
        return None
    name = "cpu" if clock == "cpu" else "wall"
    return statistics.median(each[name] for each in measured["gflops"])


def share(facts: dict, variant: str, clock: str) -> float | None:
    """Returns the share of sgemm that a variant of a case reaches."""
    measured = facts["measured"][variant]
    most = peak(measured, clock)
    if most is None or not facts.get("flops"):
        return None
    return statistics.median(rates(measured, clock)) * facts["flops"] / 1e9 / most
