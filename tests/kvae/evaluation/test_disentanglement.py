"""Scores of disentanglement: codes whose scores are known, and cases computed by hand."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from kvae import datasets, evaluation
from kvae.evaluation import disentanglement as _  # noqa: F401 - the package, below by its name.
from kvae.evaluation.disentanglement import (
    dci_from_codes,
    dci_from_importance,
    irs_from_codes,
    mig_from_codes,
    modularity_from_codes,
    mutual_information,
    sap_from_codes,
)
from kvae.evaluation.disentanglement.representation import discretize

ALL = ("beta_vae_score", "factor_vae_score", "mig", "sap", "dci", "modularity", "irs")
SETTINGS = dict(num_train=600, num_test=300, seed=1)
HALF = math.sqrt(0.5)


class Factors:
    """A data object whose images are the factors themselves, from -1 to 1."""

    def __init__(self, *sizes):
        self.factor_sizes = sizes

    def sample_factors(self, n, seed, fixed=None):
        return np.random.default_rng(seed).integers(
            0, self.factor_sizes, (n, len(self.factor_sizes))
        )

    def images(self, factors):
        return 2.0 * factors / (np.array(self.factor_sizes) - 1) - 1.0


def identity(x):
    return x


def constant(x):
    return np.zeros((len(x), 4)) + 0.1


def duplicated(x):
    return np.concatenate([x, x], axis=1)


def rotated(x):
    return x @ np.array([[HALF, -HALF], [HALF, HALF]])


def scores(representation, data, names=ALL, **options):
    found = {}
    for name in names:
        groups = {"group_size": 16} if name.endswith("score") else {}
        found.update(
            getattr(evaluation, name)(representation, data, **{**SETTINGS, **groups, **options})
        )
    assert all(np.isfinite(value) for value in found.values())
    return found


@pytest.fixture(scope="module")
def perfect():
    return scores(identity, Factors(2, 2, 2))


def test_identity(perfect):
    """A binary code for each binary factor: nothing can be better."""
    for name, value in perfect.items():
        # The next code guesses which of two values it is. Other information is that of chance.
        exact = 0.5 if name == "sap" else 1.0
        assert value == pytest.approx(exact, abs=0.05 if name == "sap" else 0.02), name


@pytest.mark.slow  # Each score is tested by hand below.
def test_identity_of_many_values():
    many = scores(identity, Factors(3, 6, 20))
    for name in ("beta_vae_score", "factor_vae_score", "dci_disentanglement", "dci_completeness"):
        assert many[name] > 0.97, name
    assert many["mig"] > 0.9 and many["modularity"] > 0.95 and many["irs"] > 0.99


def test_constant():
    found = scores(constant, Factors(2, 5))
    assert found["factor_vae_score"] == found["mig"] == found["sap"] == 0.0
    assert found["dci_disentanglement"] == found["dci_completeness"] == 0.0
    assert found["modularity"] == found["irs"] == 0.0
    assert found["explicitness"] == 0.5
    # Guesses, within five standard errors of 300 tests.
    assert abs(found["beta_vae_score"] - 0.5) < 0.15
    assert abs(found["dci_informativeness"] - (1 / 2 + 1 / 5) / 2) < 0.1


@pytest.mark.slow  # Each score is tested by hand below.
def test_duplicated(perfect):
    """What asks for one code for each factor falls, what asks for one factor in each code stays."""
    found = scores(duplicated, Factors(2, 2, 2))
    assert found["mig"] == pytest.approx(0.0, abs=1e-9) and found["sap"] == 0.0
    for name in ("beta_vae_score", "factor_vae_score", "dci_disentanglement", "modularity", "irs"):
        assert found[name] == pytest.approx(1.0, abs=0.02), name
    # The trees take either twin at random: half of the entropy log 2 of log 6, or less.
    assert 1 - 1.01 * math.log(2) / math.log(6) < found["dci_completeness"] < 0.8
    assert found["dci_informativeness"] == found["explicitness"] == 1.0


@pytest.mark.slow  # Each score is tested by hand below.
def test_rotated():
    """Two factors mixed by 45 degrees: each code tells as much about the one as about the other."""
    found = scores(rotated, Factors(10, 10))
    assert found["mig"] < 0.05 and found["sap"] < 0.05
    assert found["dci_disentanglement"] < 0.1 and found["dci_completeness"] < 0.1
    assert found["dci_informativeness"] > 0.8 and found["explicitness"] > 0.7
    assert found["modularity"] < 0.1
    # Which factor is fixed shows in neither code: guesses.
    for name in ("beta_vae_score", "factor_vae_score"):
        assert abs(found[name] - 0.5) < 0.15, name
    # Of a + b given a, the greatest distance is half of what it is of a + b.
    assert found["irs"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.default("beta_vae_score", "factor_vae_score", "mig", "sap", "irs")
@pytest.mark.parametrize("name", ALL)
def test_order_and_sign_of_the_codes_do_not_matter(name):
    """Nor where they are, for a code that mixes factors unevenly."""
    mix = np.array([[1.0, 0.2, 0.0], [0.1, 0.9, 0.5], [0.0, 0.3, 0.8]])

    place = 0.0 if name == "sap" else 3.0  # Its machines are regularised, intercept and all.

    def reordered(x):
        return (x @ mix)[:, [2, 0, 1]] * [1.0, -1.0, 1.0] + place

    data = Factors(3, 4, 5)
    first = scores(lambda x: x @ mix, data, [name])
    second = scores(reordered, data, [name])
    # Edges of bins and of trees fall a little differently.
    assert first == pytest.approx(second, abs=0.03)
    assert first == scores(lambda x: x @ mix, data, [name])  # The seed decides.


def test_mig_by_hand():
    """Factors A and B are fair coins; the codes are A, and A and B.

    I(AB; A) = ln 2 − 3/4 (ln 3 − 2/3 ln 2) = g ln 2. The gaps are 1 − g for A and g − 0 for B.
    """
    factors = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    codes = np.stack([factors[:, 0], factors.prod(axis=1)], axis=1)
    g = 1 - 0.75 * (math.log(3) / math.log(2) - 2 / 3)
    exact = np.array([[1, 0], [g, g]]) * math.log(2)
    np.testing.assert_allclose(mutual_information(codes, factors), exact, atol=1e-12)
    assert mig_from_codes(codes, factors)["mig"] == pytest.approx(0.5)
    assert mig_from_codes(codes[:, :1], factors)["mig"] == pytest.approx(0.5)
    # Modularity: the first code speaks of one factor, the second of both alike.
    assert modularity_from_codes(codes, factors) == {"modularity": pytest.approx(0.5)}
    # A code of two bits that says all of a and its two bits: 1 − (1² + 1²) / (2² · 2).
    a = np.arange(4)
    three = np.stack([a, a // 2, a % 2], axis=1)
    assert modularity_from_codes(a[:, None], three)["modularity"] == pytest.approx(0.75)


def test_mutual_information_is_its_formula():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 5, (400, 2))
    codes = factors + rng.normal(size=(400, 2))
    binned = discretize(codes)
    assert binned.min() == 0 and binned.max() == 19
    widths = np.ptp(codes, axis=0) / 20
    expected = np.minimum((codes - codes.min(axis=0)) // widths, 19)
    assert np.mean(binned == expected) > 0.99  # But for rounding at the edges.
    for j, k in np.ndindex(2, 2):
        joint = np.histogram2d(binned[:, j], factors[:, k], (np.arange(21), np.arange(6)))[0] / 400
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
        seen = joint > 0
        exact = np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))
        assert mutual_information(codes, factors)[j, k] == pytest.approx(exact)


def test_sap_by_hand():
    # A factor of two classes, found by the first code in 4 of 4 tests and by the second in 3.
    codes = np.array([[-1.0, -1], [-1, -1], [1, 1], [1, 1]] * 50)
    factors = np.array([[0], [0], [1], [1]] * 50)
    tests = np.array([[-1.0, -1], [-1, 1], [1, 1], [1, 1]])
    assert sap_from_codes(codes, factors, tests, factors[:4])["sap"] == pytest.approx(0.25)
    # As a quantity: correlations 1 and √½ (noise of the factor's variance, at right angles to it).
    factors = np.array([[0], [1], [0], [1]])
    noisy = np.stack([factors[:, 0], factors[:, 0] + [0, 0, 1, 1]], axis=1)
    found = sap_from_codes(noisy, factors, noisy, factors, continuous=[0])
    assert found["sap"] == pytest.approx(1 - 0.5)


def test_dci_by_hand():
    """Rows are codes, columns factors."""
    found = dci_from_importance([[3.0, 1.0], [0.0, 4.0]])
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found["dci_disentanglement"] == pytest.approx(0.5 * (1 - entropy) + 0.5 * 1)
    second = -(0.2 * math.log2(0.2) + 0.8 * math.log2(0.8))
    assert found["dci_completeness"] == pytest.approx(3 / 8 * 1 + 5 / 8 * (1 - second))
    assert set(dci_from_importance(np.zeros((3, 2))).values()) == {0.0}
    assert dci_from_importance([[1.0, 1.0]]) == {"dci_disentanglement": 0, "dci_completeness": 1}
    assert list(dci_from_importance(np.ones((3, 4))).values()) == pytest.approx([0.0, 0.0])


def test_dci_with_gradient_boosting():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (200, 2))
    found = dci_from_codes(factors, factors, factors, factors, classifier="gradient_boosting")
    assert found == {name: pytest.approx(1.0, abs=1e-3) for name in found}
    with pytest.raises(ValueError, match="'random_forest'"):
        dci_from_codes(factors, factors, factors, factors, classifier="random_forrest")


def test_irs_by_hand():
    """The code 2a + b of two coins: its mean is 1.5 and its largest distance from it 1.5.

    Given a it is 1/2 from its mean, given b it is 1: 1 − (1/2) / 1.5 is the larger score, of a.
    """
    factors = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    code = factors @ [[2], [1]]
    assert irs_from_codes(code, factors)["irs"] == pytest.approx(2 / 3)
    # A code b beside it, of weight 1/2 and score 1; and one that never moves, of no weight.
    codes = np.concatenate([code, factors[:, 1:], np.ones((4, 1))], axis=1)
    assert irs_from_codes(codes, factors)["irs"] == pytest.approx((1.5 * 2 / 3 + 0.5) / 2)


def test_irs_of_noise():
    """Of Gaussian noise the score is far from 0: it compares a quantile with the largest value."""
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(10_000, 4)), rng.integers(0, 3, (10_000, 2))
    expected = 1 - NormalDist().inv_cdf(0.995) / np.abs(codes).max(axis=0).mean()
    assert 0.3 < expected < 0.45
    assert irs_from_codes(codes, factors)["irs"] == pytest.approx(expected, abs=0.02)


def test_explicitness_is_the_area_under_the_curve():
    """Of a code that says which of two is more likely, the area is that of its ranks."""
    rng = np.random.default_rng(0)
    factors = np.arange(400)[:, None] % 2
    codes = factors + rng.normal(size=(400, 1))
    zero, one = codes[factors[:, 0] == 0], codes[factors[:, 0] == 1]
    found = modularity_from_codes(codes, factors, codes, factors)
    assert found["explicitness"] == pytest.approx(np.mean(one > zero.T))
    assert found["explicitness"] == found["explicitness_train"]


def test_votes_and_collapsed_codes():
    """A code of small scale is collapsed, unless it is asked for."""
    data = Factors(2, 2)
    small = {"min_std": 1e-6}
    assert scores(lambda x: 0.01 * x, data, ["factor_vae_score"])["factor_vae_score"] == 0.0
    found = scores(lambda x: 0.01 * x, data, ["factor_vae_score"], **small)
    assert found["factor_vae_score"] == 1.0
    # Of two factors, a code that knows the first alone always votes for it: half of the groups.
    found = scores(lambda x: x[:, :1], data, ["factor_vae_score"])["factor_vae_score"]
    assert abs(found - 0.5) < 0.15


def test_a_factor_of_one_value_has_no_say(perfect):
    found = scores(lambda x: x[:, :3], Wide(2, 2, 2, 1))
    assert found == pytest.approx(perfect, abs=0.02)


class Wide(Factors):
    def images(self, factors):
        return np.float32(2.0 * factors - 1.0)


def test_one_result_of_all(make_vae):
    vae = make_vae(event=(64, 64, 1))
    sprites, seen = datasets.Sprites(), []
    options = dict(num_train=300, num_test=150, num_groups=8, group_size=4, batch_size=100)
    result = evaluation.disentanglement(vae, sprites, seed=3, progress=seen.append, **options)
    assert seen == sorted(seen)
    expected = 300 + 150 + 3 * 4 * (8 + 4) + 300
    assert seen[-1] == expected
    del options["batch_size"]
    settings = {"num_train": 300, "num_test": 150, "seed": 3}
    again = {
        **evaluation.irs(vae, sprites, **settings),
        **evaluation.mig(lambda x: vae.encode(x)["z_mean"], sprites, **settings),
    }
    for name in ("mig", "irs"):
        assert result[name] == pytest.approx(again[name], abs=1e-6), name
    assert all(0 <= result[name] <= 1 for name in list(result)[:10])
    assert {key: result[key] for key in options} == options
    assert "| MIG |" in result.to_markdown() and "β-VAE score" in str(result)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros(4), np.zeros((4, 1), int), r"not \(4,\)"),
        (np.zeros((4, 1)), np.zeros((3, 1), int), r"\[n, K\]"),
        (np.full((4, 1), np.nan), np.arange(4)[:, None], "NaN"),
        (np.zeros((4, 1)), np.arange(4.0)[:, None], "not float64"),
        (np.zeros((4, 1)), np.zeros((4, 2), int), "No factor varies"),
    ],
)
def test_bad_arrays(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        mig_from_codes(codes, factors)


def test_bad_representations(make_vae):
    data = Factors(2, 2)
    with pytest.raises(ValueError, match=r"\[n, latent_dim\], not \(600,\)"):
        scores(lambda x: x[:, 0], data, ["mig"])
    with pytest.raises(TypeError, match="kvae.VAE or a function"):
        scores(3, data, ["mig"])
    with pytest.raises(ValueError, match=r"64, 64, 1\), the model takes \(n, 8, 8, 1\)"):
        scores(make_vae(name="vae"), datasets.Sprites(), ["mig"])
    with pytest.raises(ValueError, match="No factor has several values"):
        scores(identity, Factors(1, 1), ["beta_vae_score"])
