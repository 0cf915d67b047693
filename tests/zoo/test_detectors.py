"""Recipes of detectors: who is normal, and the figure of their cards."""

import dataclasses

import numpy as np
import pytest

import kvae
import zoo
from zoo import checking, figures, training
from zoo.cards import shipped
from zoo.recipes import Recipe

RECIPE = Recipe(
    "detector.digits_3",
    "digits",
    {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (8,)},
    normal=(3,),
    num_samples=2,
)


@pytest.fixture(scope="module")
def model():
    return zoo.build("detector", seed=1, **RECIPE.arguments)


@pytest.mark.parametrize("split", kvae.datasets.SPLITS)
def test_only_normal_examples_are_seen(split):
    found, every = training.data_of(RECIPE, split), kvae.datasets.load("digits", split)
    np.testing.assert_array_equal(found.x, every.x[every.labels == 3])


def test_the_figure_is_the_share_of_pairs_in_order(model):
    every = kvae.datasets.load("digits", "test")
    score = kvae.detection.Detector(model).score(every.examples)
    normal, others = score[every.labels == 3], score[every.labels != 3]
    pairs = (others[:, None] > normal) + 0.5 * (others[:, None] == normal)
    found = figures.auroc(RECIPE, model, every)
    assert found == pytest.approx(pairs.mean()) and 0 < found < 1
    card = dataclasses.replace(shipped("detector.mnist_8"), metrics={"auroc": found})
    assert card.headline == f"AUROC {found:.3f}"
    assert checking.figure_of(card) == ("auroc", found)
    assert card.recipe["normal"] == [8]
