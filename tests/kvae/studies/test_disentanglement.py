"""kvae.studies.disentanglement: seeds of methods against each other."""

import numpy as np
import pytest
import scipy.stats

from kvae import cli, studies
from kvae.evaluation.disentanglement import SCORES
from kvae.studies.disentanglement import METHODS, by_change, gap


@pytest.mark.slow
def test_report(run_study):
    findings, page = run_study("disentanglement", dataset="sprites")
    assert len(findings) == 12
    header, *rows = _table(page, "quantity", SCORES["mig"])
    assert header[1:] == list(METHODS)
    scores = {row[0]: row[1:] for row in rows}
    assert {*SCORES.values(), "UDR"} < set(scores)
    each = _table(page, "seed", "VAE")[1:]
    assert [(row[0], row[1]) for row in each] == [(m, str(s)) for m in METHODS for s in (0, 1)]
    # The table of seeds and that of means are the same figures.
    of_method = np.array([float(row[4]) for row in each]).reshape(len(METHODS), 2)
    means = [float(cell.split(" ± ")[0]) for cell in scores["MIG"]]
    np.testing.assert_allclose(of_method.mean(axis=1), means, atol=1.1e-3)
    # Other seeds are other trainings.
    assert len({tuple(row[3:]) for row in each}) > len(METHODS)


def _table(page, *having) -> list[list[str]]:
    """Header and rows of the table whose text has all of these words."""
    blocks = [b for b in page.split("\n\n") if b.lstrip().startswith("|")]
    block = next(b for b in blocks if all(word in b for word in having))
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines()]
    return [row for row in rows if set("".join(row)) - set("-: ")]


def test_the_error_of_a_gap_is_that_of_welch():
    first, second = np.array([0.5, 0.7, 0.9]), np.array([0.2, 0.1, 0.3])
    found = gap(first, second)
    welch = scipy.stats.ttest_ind(first, second, equal_var=False)
    assert found.value / found.error == pytest.approx(welch.statistic)


def test_walks_are_in_the_order_of_what_changes_and_equal_rows_are_left_out():
    steps = np.linspace(0, 1, 5)[:, None, None]
    walks = {
        name: np.ones((1, 4, 4)) * size * steps
        for name, size in zip("abcd", (0, 0.3, 0.05, 1), strict=True)
    }
    shown, still = by_change(walks)
    assert list(shown) == ["d", "b"] and still == ["a", "c"]
    np.testing.assert_array_equal(shown["b"], walks["b"])
    # If no latent changes anything, one row says so.
    shown, still = by_change({"a": walks["a"], "c": walks["a"]})
    assert list(shown) == ["a"] and still == ["c"]


def test_each_study_knows_its_data(tmp_path, capsys):
    out = ["-o", str(tmp_path), "--cache", str(tmp_path)]
    assert cli.main(["study", "disentanglement", "--dataset", "mnist", *out]) == 2
    assert "disentanglement is made on sprites, not on mnist." in capsys.readouterr().err
    assert cli.main(["study", "why-sample", "--dataset", "sprites", *out]) == 2
    assert "why-sample is made on digits or mnist, not on sprites." in capsys.readouterr().err


def test_all_are_made_on_their_own_data_or_the_one_that_is_named():
    from kvae.cli.commands.study import _chosen

    others = [name for name in studies.names() if name != "disentanglement"]
    found = {name: dataset for name, _, dataset in _chosen("all", None)}
    assert found == {**dict.fromkeys(others, "digits"), "disentanglement": "sprites"}
    assert {name: data for name, _, data in _chosen("all", "mnist")} == dict.fromkeys(
        others, "mnist"
    )
