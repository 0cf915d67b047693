"""The benchmarks' arithmetic and their tables; what they measure is not tested here."""

import argparse
import json
import pathlib

import numpy as np
import pytest

from benchmarks import gpu, kalman, modalities, peers, report, serving, workers
from benchmarks.__main__ import _STARTS, main
from benchmarks.bars import BARS, MILLISECONDS, SGEMM, Bar
from benchmarks.bars import found as bars_found
from benchmarks.cases import CASES, INFERENCE, VARIANTS
from benchmarks.peer_methods import METHODS
from zoo.peers import PEERS

DOCS = pathlib.Path(__file__).parents[1] / "docs"


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
            there = serving.SERVERS if bar.case.startswith("serving ") else _STARTS
            assert {bar.variant, bar.against} <= set(there), bar


def test_bars_of_an_earlier_run_stand_beside_those_of_this_one():
    slow, quick = results([2.0, 8.0]), results([0.5, 2.0])  # Once, and four times as fast.
    alone = report.tables(quick)
    assert "| dense 128: times pythae | at least 3 | 4.00 | 125% | holds |" in alone
    for first, second, row in (
        (slow, quick, "1.00 | 4.00 | 31%, 125% | holds in one of two |"),
        (quick, quick, "4.00 | 4.00 | 125%, 125% | holds |"),
        (slow, slow, "1.00 | 1.00 | 31%, 31% | FAILS |"),
    ):
        both = report.tables({**second, "earlier": first})
        assert f"| dense 128: times pythae | at least 3 | {row}" in both
        assert "*first* is the run of `c` in 1 minutes, of revision abc" in both


def test_two_revisions_are_compared(tmp_path, capsys):
    paths = tmp_path / "before.json", tmp_path / "after.json"
    for path, seconds in zip(paths, ([2.0, 2.0], [1.0, 1.0]), strict=True):
        path.write_text(json.dumps(results(seconds)))
    assert main(["compare", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert "| dense 128 | kvae | 50 | 100 | 2.00 |" in printed
    assert "| dense 128 | torch | 33.3 | 33.3 | 1.00 |" in printed


def test_what_is_no_file_of_a_run_is_refused_before_anything_is_measured(tmp_path, capsys):
    other = tmp_path / "other.json"
    for text, message in ((None, "cannot be read"), ("{", "cannot be read"), ("[]", "is no file")):
        if text is not None:
            other.write_text(text)
        for command in (["run", "--beside", str(other)], ["compare", str(other), str(other)]):
            with pytest.raises(SystemExit) as stop:
                main(command)
            assert stop.value.code == 2 and f"other.json {message}" in capsys.readouterr().err


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


def loaded(seconds, milliseconds):
    return {**measured(seconds, 1000), "p50": [milliseconds], "p99": [2 * milliseconds]}


def test_servers_stand_beside_each_other_with_their_bar():
    facts = {"case": "serving generate", "batch": 8, "wrong": 3, "failures": {"TensorFlow Serving":
             "it is not here"}, "measured": {"kvae": loaded([1.0, 1.0], 4.0),
             "Flask + predict": loaded([6.0, 8.0], 20.0)}}  # fmt: skip
    tables = report.tables({"serving": [facts]})
    assert "| generate | 8 | kvae | 1,000 | 1,000–1,000 |  | 4.0 ms | 8.0 ms |" in tables
    assert "| Flask + predict | 146 | 125–167 | 7.00 × (6–8) | 20.0 ms |" in tables
    assert "lost, refused or those of another request: 3." in tables
    assert "TensorFlow Serving is left out: it is not here." in tables
    assert "| serving generate 8: times Flask + predict | at least 5 | 7.00 |" in tables


def test_an_answer_that_is_anothers_is_counted():
    bodies = [b'{"outputs": [[0.5, 1.0]]}', b'{"outputs": [[0.5, 1.5]]}']
    alone = [serving._outputs(body) for body in bodies]
    found = serving.load.Found()
    found.answers.update({(0, 200, bodies[0]): 5, (1, 200, bodies[0]): 2, (1, 503, b"{}"): 1})
    found.answers[(0, 200, b'{"outputs": [[0.500001, 1.0]]}')] = 4  # Rounding.
    assert serving._wrong(found, alone) == 3


def test_machines_on_paper():
    # Two machines send half the bytes twice; many send nearly all of them twice.
    assert workers.ring(2, 1e6, 1.0, 0.0) == pytest.approx(8e-3)
    assert workers.ring(100, 1e6, 1.0, 0.0) == pytest.approx(2 * 0.99 * 8e-3)
    assert workers.ring(4, 0, 1.0, 1e-3) == pytest.approx(6e-3)
    assert workers.ring(1, 1e6, 1.0, 1e-3) == 0
    assert workers.efficiency(4.0, 1.0) == 0.8
    fixed, image = workers.step_model({128: 0.002 + 128e-5, 512: 0.002 + 512e-5})
    assert (fixed, image) == (pytest.approx(0.002), pytest.approx(1e-5))
    batch = workers.least_batch(0.01, fixed, image)
    assert batch == pytest.approx(3800, abs=1)
    assert workers.efficiency(fixed + batch * image, 0.01) == pytest.approx(0.8, abs=1e-3)
    assert workers.least_batch(0.0, fixed, image) == 1


def test_workers_stand_beside_one_core():
    sgemm = {"gflops": [{"wall": 1.0, "cpu": 1.0}]}
    places = {"one core, step by step": measured([1.0], 128, **sgemm),
              "one worker": measured([1.28], 128, bytes=1_000_000, **sgemm),
              "two workers": measured([1.6], 256, **sgemm)}  # fmt: skip
    sums = {"two workers": measured([0.5], 50)}
    found = [{"case": "dense", "batch": 128, "flops": 1.0, "measured": places, "failures": {}},
             {"case": "all-reduce", "batch": 4, "measured": sums, "failures": {}}]  # fmt: skip
    tables = report.tables({"workers": found, "batches": [128], "machines": [2],
                            "latencies": [0.01], "gigabits": [0.1]})  # fmt: skip
    assert "| dense | 128 | two workers | 160 | 160–160 | 1600.0 | 1.25 |" in tables
    assert "| 4 | two workers | 10.00 ms |" in tables
    # 6 sums of 2 messages of 10 ms, and 8 Mbit at 100 Mbit/s, beside a step of 1.28 s.
    assert "| dense | 0.1 | 2 | 200.0 ms | 86% |" in tables


def test_what_is_measured_on_a_gpu():
    found = gpu.tasks((128, 1024))
    assert [(task.name, batch) for _, task, batch in found][:4] == [
        ("dense", 128), ("dense", 1024), ("conv", 128), ("conv", 1024),
    ]  # fmt: skip
    trained, used = found[0][1], found[-1][1]
    names = gpu.competitors(trained)
    assert {"kvae", "blocks", "blocks under XLA", "torch", "torch.compile"} <= set(names)
    assert gpu.competitors(used) == ["kvae", "torch"]
    facts = {"TensorFlow": {"devices": ["H"], "cuda": "12.5", "cudnn": "9"},
             "PyTorch": {"devices": [], "cuda": "", "cudnn": ""}}  # fmt: skip
    assert gpu.lines(facts) == ["TensorFlow on H (cuda 12.5, cudnn 9)", "PyTorch on the CPU"]


@pytest.mark.parametrize("name", kalman.MODELS)
def test_kalman_smoothers_are_the_conditional_means_of_their_gaussians(name):
    transition, reads, noise = kalman.MODELS[name][len(kalman.MODELS[name]) // 2 + 1]
    steps, n = 9, 2
    y = np.random.default_rng(0).normal(size=(n, steps))
    y[0, 3:6], y[1, 7:] = np.nan, np.nan
    _, means = kalman.smoothed(y, transition, reads, noise)
    spread = [kalman.DIFFUSE * np.eye(len(reads))]
    covariance = np.empty((steps, steps))
    for t in range(steps):
        ahead = spread[t]
        for u in range(t, steps):
            covariance[t, u] = covariance[u, t] = reads @ ahead @ reads
            ahead = transition @ ahead
        spread.append(transition @ spread[t] @ transition.T + noise)
    for row, mean in zip(y, means, strict=True):
        there = ~np.isnan(row)
        of_observed = covariance[np.ix_(there, there)] + np.eye(there.sum())
        wanted = covariance[:, there] @ np.linalg.solve(of_observed, row[there])
        np.testing.assert_allclose(mean, wanted, atol=1e-6)


def test_methods_beside_multivae_are_those_of_its_table_and_have_figures_of_both():
    assert set(modalities.METHODS) == {row.name for row in PEERS["MultiVae"]}
    measured = json.loads((DOCS / "modalities.json").read_text())["figures"]
    assert list(measured) == list(modalities.METHODS)
    assert all(list(each) == ["kvae", "multivae"] for each in measured.values())
    for method in modalities.METHODS.values():
        found = modalities.sizes(method.latents, 20)
        parts = method.parts(found)
        groups = getattr(parts.get("prior"), "groups", (found["shared"], *found["own"].values()))
        assert parts["latent_dim"] == sum(groups)


def test_methods_beside_pythae_are_those_of_the_tables_of_other_libraries():
    rows = [row for library in ("pythae", "PyTorch-VAE") for row in PEERS[library]]
    assert {row.measured or row.name for row in rows} == set(METHODS)
    options = argparse.Namespace(width=4, latent_dim=2, seed=0, learning_rate=1e-3)
    told = peers.build(METHODS["Conditional VAE"], options)
    assert told.decode(np.zeros((1, 2)), label=np.array([3])).shape == (1, 8, 8, 1)
    for method in METHODS.values():
        assert (method.model is None) or (method.their_sampler is not None)


def test_trials_are_known_and_a_cross_entropy_of_shared_exponentials_is_the_same():
    import tensorflow as tf

    from benchmarks import trials
    from kvae.likelihoods import bernoulli

    named = {name for each in VARIANTS.values() for name in each.get("trials", ())}
    assert named == {trials.HALVES, trials.ONE_THREAD, trials.PINNED, trials.SHARED_EXP}
    logits = tf.constant([[-200.0, -3.0, 0.0, 0.5, 200.0]])
    x, found = tf.constant([[1.0, 0.0, 0.3, 1.0, 0.0]]), []
    for log_prob in (trials._log_prob, bernoulli._log_prob):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = log_prob(logits, x)
        found.append((value, tape.gradient(value, logits)))
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
