"""The report on drawn rows, where the answers are known."""

import numpy as np
import pytest

from kvae.datasets import Column, Schema
from kvae.tables import report

SCHEMA = Schema(
    "t",
    columns=(
        Column("size", "gaussian"),
        Column("weight", "gaussian"),
        Column("kind", "categorical", ("a", "b", "c")),
        Column("ill", "bernoulli"),
    ),
)


def rows(n, seed, shift=0.0, connected=True):
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    kind = (size > 0.4) + (size > -0.4).astype(int)
    ill = (rng.random(n) < 0.1 + 0.4 * kind).astype(int)
    x = np.stack([size, size + 0.3 * rng.normal(size=n), kind, ill], axis=1)
    if not connected:
        x = np.stack([rng.permutation(column) for column in x.T], axis=1)
    x[:, 0] += shift
    return x.astype("float32")


@pytest.fixture(scope="module")
def real():
    return rows(300, 0), rows(300, 1)


@pytest.mark.slow  # As below: each report makes eleven ensembles of trees.
def test_rows_of_the_same_distribution_are_near_and_no_copies(real):
    train, test = real
    found = report(SCHEMA, train, rows(300, 2), test)
    assert found["columns"] > 0.93 and found["pairs"] > 0.85 and found["association_error"] < 0.1
    assert 0.4 < found["detection_auc"] < 0.6
    assert found["target"] == "ill" and found["utility"] > 0.8 * found["utility_of_real"]
    assert 0.4 < found["share_nearer_to_training"] < 0.6
    assert found["copies"] == 0 and found["mean"] > 0.85
    assert "300 drawn rows beside 300 real ones" in str(found)


@pytest.mark.slow  # As below; the command's own test makes a report by default.
def test_copies_are_found_out(real):
    train, test = real
    found = report(SCHEMA, train, train, test)
    assert found["copies"] == 1.0 and found["copies_of_test"] == 0.0
    assert found["share_nearer_to_training"] == 1.0


@pytest.mark.slow  # As below.
def test_columns_that_are_right_one_by_one_are_not_enough(real):
    train, test = real
    found = report(SCHEMA, train, rows(300, 2, connected=False), test, target="size")
    assert found["columns"] > 0.93 and found["pairs"] < 0.75 and found["detection_auc"] > 0.9
    assert found["utility_of_real"] > 0.8 > 0.3 > found["utility"]
    # Cramér's V of size and kind, in ten bins, is near 1; it is lost.
    assert found["association_error"] > 0.3


def test_known_distances_of_one_column():
    train = rows(50, 0)
    drawn, test = train.copy(), train.copy()
    drawn[:, 0] += 100.0  # No overlap: the Kolmogorov-Smirnov statistic is 1.
    drawn[:, 3], test[:, 3] = 1.0, np.arange(50) < 20  # Total variation 0.6.
    found = report(SCHEMA, train, drawn, test)["by_column"]
    assert found == {"size": 0.0, "weight": 1.0, "kind": 1.0, "ill": pytest.approx(0.4)}


@pytest.mark.slow  # As above; `test_known_distances_of_one_column` compares columns by default.
def test_missing_values_count(real):
    train, test = real
    drawn = rows(300, 2)
    gaps = drawn.copy()
    gaps[::2, [0, 2]] = np.nan
    found = report(SCHEMA, train, gaps, test)["by_column"]
    whole = report(SCHEMA, train, drawn, test)["by_column"]
    assert found["size"] == pytest.approx(whole["size"] / 2, abs=0.05)
    assert found["kind"] == pytest.approx(0.5, abs=0.01) and found["ill"] == whole["ill"]


def test_rows_without_gaps_get_those_of_the_training():
    train, drawn = rows(40, 0), rows(40, 0)
    train[:20, 0] = np.nan
    by_column = report(SCHEMA, train, drawn, train)["by_column"]
    assert by_column["size"] == by_column["kind"] == 1.0


def test_few_rows_and_a_single_column_are_no_evidence():
    train = rows(40, 0)
    # Trees that cannot split tell the sizes of the folds, an area below 1/2, which looks good.
    assert np.isnan(report(SCHEMA, train, rows(40, 1), rows(29, 2))["detection_auc"])
    alone = Schema("t", columns=SCHEMA.columns[2:3])
    found = report(alone, train[:, 2:3], train[:, 2:3], train[:, 2:3])
    shares = [
        found["columns"],
        2 * (1 - found["detection_auc"]),
        2 - 2 * found["share_nearer_to_training"],
    ]
    assert np.isnan(found["utility"])
    assert found["mean"] == pytest.approx(np.mean(np.clip(shares, 0, 1)))


@pytest.mark.slow  # As above.
def test_test_rows_may_be_sorted():
    train, test = rows(300, 0), rows(900, 1)
    test = test[np.argsort(test[:, 0])]
    assert report(SCHEMA, train, rows(300, 2), test)["detection_auc"] < 0.6


def test_what_is_refused(real):
    train, test = real
    with pytest.raises(ValueError, match="Unknown column 'age'"):
        report(SCHEMA, train, train, test, target="age")
    with pytest.raises(ValueError, match=r"`synthetic` has shape \(300, 3\), and the table 4"):
        report(SCHEMA, train, train[:, :3], test)
    with pytest.raises(ValueError, match="`test` has 9 rows; at least 10"):
        report(SCHEMA, train, train, test[:9])
