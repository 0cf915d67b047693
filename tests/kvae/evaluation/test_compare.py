"""kvae.evaluation.compare: two models on the same data, with the error of paired differences."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import kvae
from kvae.evaluation import compare
from kvae.evaluation.compare import check_comparable
from kvae.evaluation.differences import difference


@pytest.fixture(scope="module")
def pair(linear_gaussian):
    """Two exact models, the second of which puts its mean elsewhere, and data of the first."""
    other = dataclasses.replace(linear_gaussian, b=linear_gaussian.b + 0.3)
    return (linear_gaussian.vae(), other.vae()), linear_gaussian.draw(200, seed=4), other


def test_the_difference_is_that_of_the_exact_densities(pair, linear_gaussian):
    (a, b), x, other = pair
    progress = []
    result = compare(a, b, x, num_samples=2, progress=progress.append)
    gaps = linear_gaussian.log_prob(x) - other.log_prob(x)  # The posteriors are exact.
    assert result["difference"] == pytest.approx(gaps.mean(), abs=1e-4)
    assert result["standard_error"] == pytest.approx(scipy.stats.sem(gaps), rel=1e-3)
    wanted = scipy.stats.t.interval(0.95, 199, gaps.mean(), scipy.stats.sem(gaps))
    assert result["interval"] == pytest.approx(wanted, rel=1e-3)
    assert result["share_better"] == pytest.approx(np.mean(gaps > 0))
    assert result["verdict"] == "A is better" and result.distinguishable
    # The paired error is below those of the two means.
    assert result["standard_error"] < result["nll"]["a"]["standard_error"]
    assert progress[-1] == 400 and "paired, 200 examples" in str(result)
    back = compare(b, a, x, num_samples=2, names=("old", "new"))
    assert back["verdict"] == "B is better" and "new is better" in str(back)
    assert back["difference"] == pytest.approx(-result["difference"], abs=1e-4)


def test_what_the_data_cannot_tell_is_said_so(pair, linear_gaussian):
    near = dataclasses.replace(linear_gaussian, b=linear_gaussian.b + 0.01).vae()
    result = compare(pair[0][0], near, pair[1], num_samples=2)
    low, high = result["interval"]
    assert low < 0 < high and "not distinguishable" in str(result)
    assert result["verdict"] == "not distinguishable" and not result.distinguishable
    same = compare(pair[0][0], pair[0][0], pair[1][:20], num_samples=2)  # The same noise.
    assert same["difference"] == same["standard_error"] == 0.0 and not same.distinguishable


def test_what_few_samples_leave_out_decides_nothing(pair, linear_gaussian):
    """The same p(x), with a posterior so bad that its estimate of log p(x) is too low."""
    far = linear_gaussian.vae(shift=1.0)
    with pytest.warns(UserWarning, match="effective sample size"):
        result = compare(pair[0][0], far, pair[1], num_samples=30)
    assert result["difference"] > 0 and result["monte_carlo_bias"] > 0
    assert result["monte_carlo_error"] > 0
    assert "bias of the samples" in str(result)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"likelihood": "discretized_logistic"}, "DiscretizedLogistic probabilities"),
        ({"event": (4, 4, 1), "likelihood": "laplace"}, r"shape \(8, 8, 1\) and \(4, 4, 1\)"),
        ({"posterior": "delta", "prior": None, "likelihood": "laplace"}, "is an autoencoder"),
    ],
)
def test_what_does_not_compare_is_refused(make_vae, digits, options, message):
    with pytest.raises(ValueError, match=message):
        compare(make_vae(likelihood="gaussian"), make_vae(**options), digits)


def test_grey_values_are_no_probabilities_of_a_bernoulli(make_vae, digits):
    a, b = make_vae(), make_vae(likelihood=kvae.likelihoods.DiscretizedLogistic(levels=17))
    with pytest.raises(ValueError, match="values between 0 and 1"):
        compare(a, b, digits)


def test_kinds_of_columns_compare_one_by_one():
    mixed = kvae.likelihoods.MixedTabular
    assert mixed(["gaussian", "bernoulli"]).discrete == (False, True)
    assert mixed(["poisson", ("categorical", 3)]).discrete is True
    assert kvae.likelihoods.Gaussian().discrete is kvae.likelihoods.LogNormal().discrete is False
    assert kvae.likelihoods.Poisson().discrete is kvae.likelihoods.Bernoulli().discrete is True


def test_a_table_among_modalities_counts_value_by_value():
    """A tuple of kinds is not true because it holds something."""
    table = kvae.likelihoods.MixedTabular(["gaussian", "bernoulli"])
    found = kvae.likelihoods.Modalities(
        {"row": table, "kind": "categorical:3"}, {"row": (2,), "kind": ()}
    )
    assert found.discrete == (False, True, True)


@pytest.mark.parametrize(
    "columns, message",
    [
        ([("y", ()), ("x", ())], "the columns of one are x, y, and of the other y, x"),
        ([("x", ("b", "a")), ("y", ())], r"are x \(a, b\), y, and of the other x \(b, a\), y"),
    ],
)
def test_numbers_that_stand_for_other_things_do_not_compare(pair, monkeypatch, columns, message):
    """Tables of one shape whose columns or classes are in another order."""
    (a, b), _, _ = pair

    def remember(model, named):
        told = tuple(kvae.datasets.Column(name, "gaussian", texts) for name, texts in named)
        monkeypatch.setattr(model, "schema", kvae.datasets.Schema(columns=told))

    first = [(name, ("a", "b") if texts else ()) for name, texts in sorted(columns)]
    remember(a, first)
    remember(b, columns)
    with pytest.raises(ValueError, match=message):
        check_comparable(a, b)
    remember(b, first)
    check_comparable(a, b)


def test_one_sample_and_what_is_not_finite_decide_nothing(pair, monkeypatch):
    (a, b), x, _ = pair
    with pytest.raises(ValueError, match="`num_samples` is a whole number of at least 2"):
        compare(a, b, x, num_samples=1)
    with pytest.raises(ValueError, match="log p.x. of B is not finite for 1 of 200 examples"):
        found = b.log_prob(x, num_samples=2)
        found.value[3] = -np.inf
        monkeypatch.setattr(b, "log_prob", lambda *_, **__: found)
        compare(a, b, x, num_samples=2)


def test_difference_is_paired():
    rng = np.random.default_rng(0)
    common, gain = 100 * rng.normal(size=400), rng.normal(size=400)
    found = difference(common + 0.5 + gain, common)
    assert found.value == pytest.approx(0.5 + gain.mean())
    assert found.error == pytest.approx(gain.std(ddof=1) / 20)
    assert found.interval(3.0) == pytest.approx(
        (found.value - 3 * found.error, found.value + 3 * found.error)
    )


@pytest.mark.parametrize(
    "shift, threshold, holds",
    [(1.0, 0.0, True), (-1.0, 0.0, False), (0.0, 0.0, None), (1.0, 2.0, False)],
)
def test_a_difference_within_two_errors_decides_nothing(shift, threshold, holds):
    values = np.tile([-1.0, 1.0], 50) + shift  # The error is about 0.1.
    assert difference(values, np.zeros(100)).exceeds(threshold) is holds
