"""UDR: codes whose score is known, and pairs computed by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

import kvae
import zoo
from kvae import evaluation
from kvae.evaluation.disentanglement import udr_from_codes

# All combinations of three factors with five values each: their ranks do not correlate at all.
GRID = np.array(list(itertools.product(range(5), repeat=3)), np.float64)


def test_codes_in_another_order_and_on_another_scale_are_the_same():
    other = np.stack([-np.exp(GRID[:, 2]), GRID[:, 0] ** 3, -GRID[:, 1]], axis=1)
    found = udr_from_codes([GRID, other])
    np.testing.assert_allclose(found["udr"], 1.0)
    assert np.isnan(np.diag(found["pairs"])).all()


def test_mixtures_score_less_and_the_median_is_a_model_s():
    mixed = GRID @ np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]])
    found = udr_from_codes([GRID, GRID[:, ::-1], mixed])
    # Two codes of each model correlate by r with two others, so that they score r² / 2r.
    r = abs(spearmanr(GRID[:, 0], mixed[:, 0]).statistic)
    pair = (2 * r / 2 + 1) / 3
    expected = [[np.nan, 1, pair], [1, np.nan, pair], [pair, pair, np.nan]]
    np.testing.assert_allclose(found["pairs"], expected)
    np.testing.assert_allclose(found["udr"], [(1 + pair) / 2, (1 + pair) / 2, pair])


def test_the_formula_of_the_paper():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(50, 2)), generator.normal(size=(50, 4))
    counts = [True, False, True, True]
    found = udr_from_codes([first, second], [[True, True], counts])["udr"]
    table = np.array(
        [[abs(spearmanr(a, b).statistic) for b in second[:, counts].T] for a in first.T]
    )
    total = sum(max(line) ** 2 / sum(line) for line in (*table, *table.T))
    np.testing.assert_allclose(found, total / (2 + 3))


def test_codes_that_do_not_move_or_do_not_count_stand_for_nothing():
    still = np.concatenate([GRID, np.zeros((len(GRID), 1))], axis=1)
    np.testing.assert_allclose(udr_from_codes([GRID, still])["udr"], 6 / 7)
    counts = [np.ones(3, bool), [True] * 3 + [False]]
    np.testing.assert_allclose(udr_from_codes([GRID, still], counts)["udr"], 1.0)
    np.testing.assert_allclose(udr_from_codes([GRID, GRID], [[True] * 3, [False] * 3])["udr"], 0.0)


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ([GRID], "by two models, not: \\(125, 3\\)"),
        ([GRID, GRID[1:]], "of the same images by two models, not: \\(125, 3\\), \\(124, 3\\)"),
        ([GRID, np.full((125, 3), math.nan)], "finite numbers"),
        ([GRID, GRID[:, 0]], r"\[n, latent_dim\], unlike these \(125,\)"),
    ],
)
def test_codes_that_cannot_be_compared(codes, says):
    with pytest.raises(ValueError, match=says):
        udr_from_codes(codes)


def test_one_bool_for_each_code():
    with pytest.raises(ValueError, match=r"each code of each model: \(3,\), \(3,\), not \(2,\)"):
        udr_from_codes([GRID, GRID], [[0, 2], [0, 2]])


class TestModels:
    SMALL = {"event_shape": (4, 4, 1), "latent_dim": 3, "hidden": (6,)}

    def test_latents_near_the_prior_do_not_count(self):
        models = [zoo.build("dense_vae", seed=seed, **self.SMALL) for seed in (1, 2)]
        images = np.random.default_rng(0).uniform(size=(20, 4, 4, 1)).astype("float32")
        codes = [np.asarray(vae.posterior.mean(vae.encode(images))) for vae in models]
        kl = [
            np.mean(kvae.divergences.marginal_kl_per_dimension(vae.posterior, vae.prior)(
                vae.encode(images)
            ), axis=0)
            for vae in models
        ]  # fmt: skip
        least = float(np.median(kl))
        found = evaluation.udr(models, images, least_kl=least)
        expected = udr_from_codes(codes, [each >= least for each in kl])
        np.testing.assert_allclose(found["udr"], expected["udr"], rtol=1e-4)
        assert expected["udr"][0] != pytest.approx(udr_from_codes(codes)["udr"][0], rel=1e-3)

    def test_a_conditional_model_is_refused(self):
        vae = zoo.build("m2_vae", num_classes=3, **self.SMALL)
        images = np.zeros((2, 4, 4, 1), np.float32)
        with pytest.raises(ValueError, match="is conditional: its labels hold what its codes"):
            evaluation.udr([vae, vae], images)

    def test_an_autoencoder_has_no_latents_near_a_prior(self):
        """All of its codes would count for nothing."""
        with pytest.raises(ValueError, match="no parts of single latents. Give `udr_from_codes"):
            evaluation.udr([zoo.build("dense_autoencoder", **self.SMALL)] * 2, [])
