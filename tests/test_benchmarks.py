"""The benchmarks' arithmetic and their tables; what they measure is not tested here."""

import json

import pytest

from benchmarks import report
from benchmarks.__main__ import _STARTS, main
from benchmarks.bars import BARS, MILLISECONDS, SGEMM, Bar
from benchmarks.bars import found as bars_found
from benchmarks.cases import CASES, INFERENCE


def case(name):
    return next(case for case in CASES if case.name == name)


def test_operations_are_counted_by_hand():
    dense = 784 * 400 + 400 * 400 + 400 * 40 + 20 * 400 + 400 * 400 + 400 * 784
    assert case("dense").flops(128) == 6 * dense - 2 * 784 * 400 == pytest.approx(5.2e6, rel=0.01)
    assert case("conv").flops(128) == pytest.approx(39.9e6, rel=0.02)
    # Each sample is decoded, and each step encodes the pseudo-inputs.
    decoder = 50 * 200 + 200 * 200 + 200 * 784
    assert case("iwae_k50").flops(128) - case("iwae_k5").flops(128) == 6 * 45 * decoder
    encoder = 2 * (784 * 300 + 300 * 300) + 300 * 80
    more = case("vamp_k500").flops(100) - case("gated").flops(100)
    assert more == pytest.approx(6 * 5 * encoder)


def measured(seconds, count=100, **facts):
    return {"seconds": seconds, "cpu": [2 * s for s in seconds], "count": count, "gflops": [],
            "mb": 10.0, **facts}  # fmt: skip


def results(kvae):
    sgemm = [{"wall": 1e-6, "cpu": 1e-6}]
    return {
        "machine": {"processor": "P", "cores": 2, "python": "3.11", "packages": {}, "load": 0.0,
                    "revision": "abc"},
        "command": "c", "minutes": 1.0, "rounds": 2, "data": "noise",
        "training": [
            {
                "case": "dense", "batch": 128, "flops": 10.0, "failures": {"torch.compile": "why"},
                "measured": {
                    "kvae": measured(kvae, gflops=sgemm),
                    "pythae": measured([2.0, 8.0]),
                    "torch": measured([3.0, 3.0]),
                },
            }
        ],
        "inference": [],
        "start": {
            "import keras": {"seconds": [2.0], "cpu": [1.0], "count": 1},
            "import kvae": {"seconds": [2.2], "cpu": [3.0], "count": 1},
        },
    }  # fmt: skip


def test_ratios_are_taken_within_a_round():
    tables = report.tables(results([1.0, 2.0]))
    # 100 and 50 images per second against 50 and 12.5: twice and four times.
    assert "| pythae | 31.2 | 12.5–50 | 3.00 × (2–4) |" in tables
    assert "| torch.compile | left out: why |" in tables
    assert "| dense 128: times pythae | at least 3 | 3.00 | 75% | holds |" in tables
    assert "| dense 128: times torch | at least 1.75 | 2.25 | 75% | holds |" in tables
    assert "| dense 128: share of sgemm | at least 0.8 | 0.75 | 75% | FAILS |" in tables
    assert "| start import kvae: times import keras | at most 1.2 | 1.10 |  | holds |" in tables
    assert "| start import kvae: times import keras | at most 1.2 | 3.00 |  | FAILS |" in (
        report.tables(results([1.0, 2.0]), "cpu")
    )


def test_bars_of_time_and_of_the_fastest_of_several():
    facts = {
        "case": "row",
        "measured": {
            "encode": measured([0.1]),
            "torch": measured([0.2]),
            "torch compiled": measured([0.05]),
        },
    }
    bars = (
        Bar("row", MILLISECONDS, 0.9, variant="encode"),
        Bar("row", "torch", 0.5, variant="encode"),
        Bar("row", "torch compiled", 0.9, seconds=0.06, variant="encode"),
        Bar("row", "not measured", 1.0, variant="encode"),
        Bar("row", "torch", 1.0),  # Of "kvae", which was not measured.
    )
    found = bars_found({"inference": [facts]}, "seconds", bars)
    assert [each.value for each in found] == pytest.approx([1.0, 0.5, 0.8])
    assert [each.holds for each in found] == [False, True, True]
    assert found[1].name == "row encode: times the fastest torch"
    assert found[2].name == "row encode: times torch compiled, without 0.06 s"


def test_bars_name_cases_and_variants_that_there_are():
    variants = {case.name: case.competitors for case in (*CASES, *INFERENCE)}
    for bar in BARS:
        if bar.case in variants:
            assert bar.variant in variants[bar.case], bar
            assert bar.against in (SGEMM, MILLISECONDS, *variants[bar.case]), bar
        else:
            assert {bar.variant, bar.against} <= set(_STARTS), bar


def test_two_revisions_are_compared(tmp_path, capsys):
    paths = tmp_path / "before.json", tmp_path / "after.json"
    for path, seconds in zip(paths, ([2.0, 2.0], [1.0, 1.0]), strict=True):
        path.write_text(json.dumps(results(seconds)))
    assert main(["compare", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert "| dense 128 | kvae | 50 | 100 | 2.00 |" in printed
    assert "| dense 128 | torch | 33.3 | 33.3 | 1.00 |" in printed


def test_growth_is_told_by_what_a_training_adds():
    facts = {"data": "shards", "images": 1000, "file_mb": 2.0, "before_mb": 300.0, "mb": 340.0,
             "seconds": 4.0, "cpu": 2.0}  # fmt: skip
    row = "| shards | 1,000 | 2 MB | {} | {} | 340 MB | 40 MB |"
    found = {"scaling": [facts]}
    assert row.format("4", "250") in report.tables(found)
    assert row.format("2", "500") in report.tables(found, "cpu")


def test_sizes_that_are_none(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["scaling", "--sizes", "0"])
    assert stopped.value.code == 2 and "--sizes are" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["scaling", "--epochs", "0"])
    assert stopped.value.code == 2 and "--epochs is at least 1" in capsys.readouterr().err
