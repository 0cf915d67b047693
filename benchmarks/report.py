"""Tables of what was measured: medians, their spread, and ratios of one run."""

import statistics

from benchmarks import bars, workers
from benchmarks.bars import rates, ratios
from benchmarks.cases import ALL_REDUCE, PLACES, STEP_BY_STEP

__all__ = ["compared", "page", "tables"]


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
    if results.get("serving"):
        parts.append(f"### Under load\n\n{_serving(results['serving'])}")
    if results.get("workers"):
        parts.append(f"### Workers of one machine\n\n{_workers(results['workers'], clock)}")
        parts.append(f"### Machines, on paper\n\n{_machines(results, clock)}")
    if results.get("start"):
        parts.append(f"### Start\n\n{_start(results['start'], clock)}")
    if results.get("scaling"):
        parts.append(f"### Number of images\n\n{_scaling(results['scaling'], clock)}")
    found = bars.found(results, clock) if results.get("bars", True) else []
    if found:
        parts.append(f"### Bars\n\n{_bars(found, results.get('earlier'), clock)}")
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
tensor in memory with the fused Adam, *torch.compile* the same with the compiled loss, *torch
channels_last* the same in the layout of memory in which PyTorch's convolutions are often faster,
*keras.io* the training step of the VAE example at keras.io. *of sgemm* is the share of the 2048³
product of matrices that the same process reaches in the same rounds. *memory* is the largest
resident size of the process.

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
        peak = bars.peak(found, clock)
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


def _ratio(mine: dict, other: dict, clock: str) -> str:
    found = ratios(mine, other, clock)
    return f"{statistics.median(found):.2f} × ({spread(found)})"


def _inference(all_facts: list, clock: str) -> str:
    lines = [_row("", "", "per second", "spread", "kvae is", "of sgemm", "memory")]
    lines.append(_row("---", "---", *["---:"] * 5))
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
                    _share(bars.share(facts, variant, clock)),
                    f"{found['mb']:.0f} MB",
                )
            )
        lines += [_row(facts["what"], name, f"left out: {why}", *[""] * 4)
                  for name, why in _failed(facts)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _serving(found: list) -> str:
    heads = ("request", "clients", "server", "requests/s", "spread", "kvae is", "p50", "p99")
    what = (
        "Each client asks for one row, and again as soon as it has its answer, on the same cores as"
    )
    lines = [f"{what}\nthe servers. *kvae* is `kvae serve --backend development`.\n"]
    lines += [_row(*heads), _row("---", "---:", "---", *["---:"] * 5)]
    for facts in found:
        mine = facts["measured"].get("kvae")
        for server, measured in facts["measured"].items():
            rate = rates(measured, "seconds")
            against = ""
            if server != "kvae" and mine is not None:
                against = _ratio(mine, measured, "seconds")
            times = [f"{statistics.median(measured[part]):.1f} ms" for part in ("p50", "p99")]
            lines.append(
                _row(
                    facts["case"].removeprefix("serving "),
                    facts["batch"],
                    server,
                    _number(statistics.median(rate)),
                    spread(rate),
                    against,
                    *times,
                )
            )
    wrong = sum(facts["wrong"] for facts in found)
    lines.append(f"\nAnswers that were lost, refused or those of another request: {wrong}.")
    lines += [f"{name} is left out: {why}." for name, why in _failed(found[0])]
    return "\n".join(lines) + "\n"


def _workers(found: list, clock: str) -> str:
    lines = [_row("case", "images for each core", "where", "images/s", "spread", "ms of a step",
                  "times one core"), _row("---", "---:", "---", *["---:"] * 4)]  # fmt: skip
    sums = []
    for facts in found:
        one = facts["measured"].get(STEP_BY_STEP)
        for place, measured in facts["measured"].items():
            rate = rates(measured, clock)
            median = statistics.median(rate)
            if facts["case"] == ALL_REDUCE:
                milliseconds = f"{1000 / median:.2f} ms"
                sums.append(_row(f"{facts['batch']:,}", place, milliseconds))
                continue
            parts = next(each.parts for each in PLACES if each.name == place)
            times = "" if one is None else f"{statistics.median(ratios(measured, one, clock)):.2f}"
            step = f"{1000 * facts['batch'] * parts / median:.1f}"
            cells = facts["case"], facts["batch"], place, _number(median), spread(rate), step, times
            lines.append(_row(*cells))
        lines += [_row(facts["case"], facts["batch"], name, f"left out: {why}", "", "", "")
                  for name, why in _failed(facts)]  # fmt: skip
    if sums:
        lines += ["", _row("bytes summed", "by", "takes"), _row("---:", "---", "---:"), *sums]
    return "\n".join(lines) + "\n"


def _machines(results: dict, clock: str) -> str:
    """Returns what rings of machines take for their sums, beside the steps that were measured."""
    steps, size = workers.steps(results["workers"], clock), workers.sizes(results["workers"])
    heads = "case", "Gbit/s", "machines", "sums", *(f"batch {b}" for b in results["batches"])
    parts = []
    for latency in results["latencies"]:
        lines = [f"Messages of {1e6 * latency:g} µs:\n"]
        lines += [_row(*heads, "batch for 80 %"), _row(*["---:"] * (len(heads) + 1))]
        for case, seconds in steps.items():
            for gigabits in results["gigabits"]:
                for count in results["machines"]:
                    took = workers.sums(count, size[case], gigabits, latency)
                    shares = [f"{workers.efficiency(step, took):.0%}" for step in seconds.values()]
                    least = ""
                    if len(seconds) > 1:
                        least = f"{workers.least_batch(took, *workers.step_model(seconds)):,}"
                    cells = f"{gigabits:g}", count, f"{1000 * took:.1f} ms", *shares, least
                    lines.append(_row(case, *cells))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _start(start: dict, clock: str) -> str:
    lines = [_row("a process of Python that does", "seconds", "spread", "of import keras")]
    lines.append(_row("---", *["---:"] * 3))
    for name, found in start.items():
        values = found[clock]
        if not values:
            lines.append(_row(f"`{name}`", "left out: it failed", "", ""))
            continue
        against = statistics.median(ratios(start["import keras"], found, clock))
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


def _bars(found: list, earlier: dict | None, clock: str) -> str:
    """Returns the bars, beside those of an earlier run where there is one."""
    if earlier is None:
        lines = [_row("bar", "wanted", "found", "of sgemm", "")]
        lines.append(_row("---", "---:", "---:", "---:", "---"))
        for each in found:
            value, share = f"{each.value:.2f}", _share(each.share)
            lines.append(_row(each.name, each.wanted, value, share, _verdict([each])))
        return "\n".join(lines) + "\n"
    before = {each.name: each for each in bars.found(earlier, clock)}
    machine, minutes = earlier["machine"], earlier["minutes"]
    lines = [
        f"*first* is the run of `{earlier['command']}` in {minutes:.0f} minutes, of revision "
        f"{machine['revision']}, load {machine['load']:.1f} at its start; *second* is that of all "
        "tables above.\n",
        _row("bar", "wanted", "first", "second", "of sgemm", ""),
        _row("---", "---:", "---:", "---:", "---:", "---"),
    ]
    for each in found:
        pair = [run for run in (before.get(each.name), each) if run is not None]
        values = ["" if len(pair) == 1 else f"{pair[0].value:.2f}", f"{each.value:.2f}"]
        shares = ", ".join(_share(run.share) for run in pair if run.share is not None)
        lines.append(_row(each.name, each.wanted, *values, shares, _verdict(pair)))
    return "\n".join(lines) + "\n"


def _verdict(runs: list) -> str:
    held = sum(each.holds for each in runs)
    return "holds" if held == len(runs) else "holds in one of two" if held else "FAILS"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _failed(facts: dict):
    return facts.get("failures", {}).items()


def _row(*cells) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
