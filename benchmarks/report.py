"""Tables of what was measured: medians, their spread, and ratios of one run."""

import statistics

__all__ = ["compared", "page", "tables"]

# What the issue asks for, by case: (whose ratio, at least).
_BARS = {
    "dense": (("pythae", 3.0), ("best PyTorch loop", 1.75)),
    "conv": (("pythae", 2.7), ("best PyTorch loop", 1.8)),
    "nll": (("pythae", 5.0),),
}
_SGEMM = 0.6  # Share of the measured products of matrices, dense and convolutional.


def rates(facts: dict, clock: str) -> list[float]:
    """Units per second of each round."""
    return [facts["count"] / max(seconds, 1e-9) for seconds in facts[clock]]


def ratios(facts: dict, other: dict, clock: str) -> list[float]:
    """Returns how many times as fast as `other` this was, round by round."""
    pairs = zip(rates(facts, clock), rates(other, clock), strict=False)
    return [mine / theirs for mine, theirs in pairs]


def spread(values) -> str:
    return f"{_number(min(values))}–{_number(max(values))}"


def tables(results: dict, clock: str = "seconds") -> str:
    """All tables, in Markdown."""
    parts = []
    for facts in results.get("training", ()):
        title = f"### {facts['case']}, batch {facts['batch']}\n\n{_turns(facts)}"
        parts.append(title + _training(facts, clock))
    if results.get("inference"):
        parts.append(f"### With a trained model\n\n{_inference(results['inference'], clock)}")
    if results.get("start"):
        parts.append(f"### Start\n\n{_start(results['start'], clock)}")
    if results.get("scaling"):
        parts.append(f"### Number of images\n\n{_scaling(results['scaling'], clock)}")
    bars = _bars(results, clock) if results.get("bars", "training" in results) else ""
    if bars:
        parts.append(f"### Bars\n\n{bars}")
    return "\n".join(parts)


def page(results: dict, clock: str = "seconds") -> str:
    machine = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    unit = "processor time" if clock == "cpu" else "time"
    return f"""# Benchmarks

Made by `{results["command"]}` in {results["minutes"]:.0f} minutes. `make bench` measures
everything and writes this page.

{machine["processor"]}, cores used: {machine["cores"]}, Python {machine["python"]}, {packages};
revision {machine["revision"]}, load {machine["load"]:.1f} at the start. Images: {results["data"]}.

All competitors of a case are made ready first, each in a process of its own, and then take
turns, {results["rounds"]} or as many as there is time for, in an order that changes; compiling and
warming up are not timed. Figures are medians of the {unit} of the turns, with the lowest and the
highest; ratios are taken within each round. Networks, data, batch sizes and Adam are the same for
all. *kvae* is `kvae.VAE.fit` with its defaults, *pythae* its `BaseTrainer`, *torch* a loop over a
tensor in memory with the fused Adam, *torch.compile* the same with the compiled loss, *keras.io*
the training step of the VAE example at keras.io. *of sgemm* is the share of the 2048³ product of
matrices that the same library reaches in the same rounds. *memory* is the largest resident size of
the process.

{tables(results, clock)}
"""


def compared(before: dict, after: dict, clock: str = "seconds") -> str:
    """This library's figures of two revisions, and of a competitor as a control."""
    lines = [
        f"{before['machine']['revision']} → {after['machine']['revision']}\n",
        _row("case", "variant", "before", "after", "after / before"),
        _row(*["---"] * 5),
    ]
    olds = {_key(facts): facts for facts in before["training"] + before["inference"]}
    for facts in after["training"] + after["inference"]:
        old = olds.get(_key(facts))
        for variant, measured in facts.get("measured", {}).items():
            if old is None or variant not in old["measured"]:
                continue
            a = statistics.median(rates(old["measured"][variant], clock))
            b = statistics.median(rates(measured, clock))
            name = " ".join(str(part) for part in _key(facts) if part)
            lines.append(_row(name, variant, _number(a), _number(b), f"{b / a:.2f}"))
    return "\n".join(lines)


def _key(facts: dict) -> tuple:
    return facts["case"], facts.get("batch")


def _turns(facts: dict) -> str:
    for found in facts["measured"].values():
        return f"{len(found['seconds'])} turns of {found['count']:,} images.\n\n"
    return ""


def _training(facts: dict, clock: str) -> str:
    lines = [
        _row("", "images/s", "spread", "kvae is", "GFLOP/s", "of sgemm", "memory"),
        _row("---", *["---:"] * 6),
    ]
    measured = facts["measured"]
    mine = measured.get("kvae")
    for variant, found in measured.items():
        rate = rates(found, clock)
        median = statistics.median(rate)
        gflops = median * facts["flops"] / 1e9
        peak = _peak(found, clock)
        lines.append(
            _row(
                variant,
                _number(median),
                spread(rate),
                "" if variant == "kvae" or mine is None else _ratio(mine, found, clock),
                f"{gflops:.0f}",
                "" if peak is None else f"{gflops / peak:.0%} of {peak:.0f}",
                f"{found['mb']:.0f} MB",
            )
        )
    lines += [_row(variant, f"left out: {why}", *[""] * 5) for variant, why in _failed(facts)]
    return "\n".join(lines) + "\n"


def _peak(found: dict, clock: str) -> float | None:
    if not found["gflops"]:
        return None
    name = "cpu" if clock == "cpu" else "wall"
    return statistics.median(each[name] for each in found["gflops"])


def _ratio(mine: dict, other: dict, clock: str) -> str:
    found = ratios(mine, other, clock)
    return f"{statistics.median(found):.2f} × ({spread(found)})"


def _inference(all_facts: list, clock: str) -> str:
    lines = [_row("", "", "per second", "spread", "kvae is", "memory")]
    lines.append(_row("---", "---", *["---:"] * 4))
    for facts in all_facts:
        measured = facts["measured"]
        for variant, found in measured.items():
            rate = rates(found, clock)
            against = ""
            if variant != "kvae" and "kvae" in measured:
                against = _ratio(measured["kvae"], found, clock)
            lines.append(
                _row(
                    facts["what"],
                    variant,
                    f"{_number(statistics.median(rate))} {facts['unit']}",
                    spread(rate),
                    against,
                    f"{found['mb']:.0f} MB",
                )
            )
        lines += [_row(facts["what"], name, f"left out: {why}", "", "", "")
                  for name, why in _failed(facts)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _start(start: dict, clock: str) -> str:
    lines = [_row("a process of Python that does", "seconds", "spread", "of import keras")]
    lines.append(_row("---", *["---:"] * 3))
    first = [each[clock] for each in start["import keras"]]
    for name, found in start.items():
        values = [each[clock] for each in found]
        if not values:
            lines.append(_row(f"`{name}`", "left out: it failed", "", ""))
            continue
        against = statistics.median(a / b for a, b in zip(values, first, strict=False))
        lines.append(
            _row(
                f"`{name}`", f"{statistics.median(values):.2f}", spread(values), f"{against:.2f} ×"
            )
        )
    return "\n".join(lines) + "\n"


def _scaling(found: list, clock: str) -> str:
    heads = ("data", "images", "file", "seconds of an epoch", "images/s", "memory", "of it for fit")
    lines = [_row(*heads), _row("---", *["---:"] * 6)]
    for facts in found:
        seconds = facts[clock]
        lines.append(
            _row(
                facts["data"],
                f"{facts['images']:,}",
                f"{facts['file_mb']:.0f} MB" if facts["file_mb"] else "",
                _number(seconds),
                _number(facts["images"] / seconds),
                f"{facts['mb']:.0f} MB",
                f"{facts['mb'] - facts['before_mb']:.0f} MB",
            )
        )
    return "\n".join(lines) + "\n"


def _bars(results: dict, clock: str) -> str:
    lines = [_row("bar", "wanted", "found", ""), _row("---", "---:", "---:", "---")]

    def add(name, wanted, found, at_most=False):
        holds = found <= wanted if at_most else found >= wanted
        sign = "at most" if at_most else "at least"
        lines.append(
            _row(name, f"{sign} {wanted:g}", f"{found:.2f}", "holds" if holds else "FAILS")
        )

    for facts in results["training"] + results["inference"]:
        measured = facts.get("measured", {})
        mine = measured.get("kvae")
        if mine is None:
            continue
        name = " ".join(str(part) for part in _key(facts) if part)
        if facts["case"] in _BARS and facts.get("batch") in (128, None):
            for other, wanted in _BARS[facts["case"]]:
                names = [other]
                if other.startswith("best"):
                    names = [each for each in measured if each.startswith("torch")]
                found = [
                    statistics.median(ratios(mine, measured[each], clock))
                    for each in names
                    if each in measured
                ]
                if found:
                    add(f"{name}: times {other}", wanted, min(found))
            peak = _peak(mine, clock)
            if peak is not None:
                rate = statistics.median(rates(mine, clock))
                add(f"{name}: share of sgemm", _SGEMM, rate * facts["flops"] / 1e9 / peak)
        if facts["case"] == "tflite" and "bare products" in measured:
            slower = ratios(measured["bare products"], mine, clock)
            add("TFLite decoder: times bare products", 1.5, statistics.median(slower), at_most=True)
    start = results.get("start") or {}
    if start.get("import kvae"):
        pairs = zip(start["import kvae"], start["import keras"], strict=False)
        times = statistics.median(a[clock] / b[clock] for a, b in pairs)
        add("import kvae: times import keras", 1.2, times, at_most=True)
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _failed(facts: dict):
    return facts.get("failures", {}).items()


def _row(*cells) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
