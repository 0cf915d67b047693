"""docs/REPRODUCTION.md, the check of the cards, and trainings from scratch."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

import kvae
import zoo
from zoo import (
    annealing,
    cards,
    checking,
    markdown,
    reproducing,
    reproduction_page,
    training,
)
from zoo.building import RECIPES
from zoo.recipes import Finish

DOCS = pathlib.Path(__file__).parents[2] / "docs"
SMALL = {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (4,)}


class TestPage:
    def test_it_is_what_the_cards_say(self):
        page = (DOCS / "REPRODUCTION.md").read_text(encoding="utf-8")
        assert page == reproduction_page.page(), "make reproduction"

    def test_every_published_figure_has_its_row(self):
        page = reproduction_page.page()
        for name in zoo.list_models():
            row = f"| `make reproduce CARD={name}` |"
            assert (row in page) == (zoo.card(name).published is not None)

    def test_what_a_row_says(self):
        card = zoo.card("dense_vae.mnist")
        nll = {**card.metrics["nll"], "nll": 86.5, "standard_error": 0.2}
        for published, expected in (
            (86.76, "| NLL | 86.76 | 86.50 ± 0.20 | −0.26 | −1.3 | yes | 51 min |"),
            (86.4, "| NLL | 86.4 | 86.50 ± 0.20 | +0.10 | +0.5 | no | 51 min |"),
        ):
            changed = dataclasses.replace(
                card,
                metrics={**card.metrics, "nll": nll},
                published={**card.published, "value": published},
            )
            page = reproduction_page.page([changed])
            assert expected in page and "## mnist, dynamic binarization" in page
            assert ("and what was tried" in page) == ("| no |" in expected)

    def test_the_time_is_that_of_all_trainings_up_to_the_final_phase_of_a_start(self, monkeypatch):
        start, card = zoo.card("dense_vae.mnist_long"), zoo.card("iwae.mnist_k5")
        start = dataclasses.replace(
            start,
            cost={**start.cost, "seconds": 5 * 3600},
            recipe={**start.recipe, "finish": {"seconds": 3600}},
        )
        card = dataclasses.replace(card, cost={**card.cost, "seconds": 1800})
        monkeypatch.setattr(reproduction_page, "shipped", {start.name: start}.get)
        assert "| no | 4.5 hours |" in reproduction_page.page([card])


@pytest.mark.slow  # It compiles a chain.
def test_an_annealed_estimate_stands_on_the_card():
    """Of the same examples as the importance-sampled one beside it, and not above it by much."""
    card = annealing.with_annealed("dense_vae.digits", num_examples=3, num_chains=2, num_steps=4)
    found = card.metrics["annealed"]
    data = training.test_data(RECIPES[card.name])[:3]
    plain = checking.load(card.name).log_prob(data, num_samples=1000, seed=0)
    assert found["importance"] == pytest.approx(-np.mean(plain.value), abs=1e-4)
    assert found["num_examples"] == 3 and abs(found["annealed"] - found["importance"]) < 2
    assert "of the first 3 test examples NLL" in markdown.facts(card)
    assert f" on {found['num_examples']} examples |" in reproduction_page.page([card])


class TestCheck:
    def test_all_examples_give_the_figure_of_the_card(self, tmp_path, monkeypatch):
        """A split of 200 images is measured whole, with as many samples as for the card."""
        name = "dense_vae.digits"
        found = checking.check(name, folder=tmp_path)
        assert found.figure == "nll" and found.examples == 200 and found.ok
        assert found.found == pytest.approx(zoo.card(name).metrics["nll"]["nll"], abs=1e-3)
        assert str(found).startswith(f"ok  {name}: nll ")
        monkeypatch.setattr(checking, "load", None)  # It is finished.
        assert checking.check(name, folder=tmp_path) == found

    def test_other_weights_are_off(self, tmp_path, monkeypatch, eagerly):
        """The first images of an autoencoder are within its error, those of noise are not."""
        name, load = "dense_autoencoder.digits", checking.load
        found = checking.check(name, 50, tmp_path)
        assert found.figure == "bce_per_pixel" and found.ok
        values = np.asarray(training.test_data(RECIPES[name]).examples[:50])
        assert found.allowed < 0.05 < np.std(values)

        def disturbed(name):
            model = load(name)
            model.set_weights([weight + 0.3 for weight in model.get_weights()])
            return model

        monkeypatch.setattr(checking, "load", disturbed)
        found = checking.check(name, 50, tmp_path / "other")
        assert not found.ok and str(found).startswith("OFF")

    @pytest.mark.parametrize("name", ["vqvae.mnist", "blog_vae.mnist"])
    @pytest.mark.slow  # Those above have the same promise.
    def test_bounds(self, name, tmp_path):
        try:
            found = checking.check(name, 200, tmp_path)
        except FileNotFoundError as error:
            pytest.skip(f"data not here: {error}")
        assert found.figure == "elbo" and found.ok and found.allowed < 30


@pytest.mark.slow  # Two trainings.
def test_a_chain_is_trained_from_scratch(tmp_path, monkeypatch, eagerly):
    """A trial of the command: the start up to its final phase, then the model in both phases."""
    digits = RECIPES["dense_vae.digits"]
    first = dataclasses.replace(digits, arguments=SMALL, finish=Finish(5))
    last = dataclasses.replace(
        first, name="iwae.mnist_k5", arguments={**SMALL, "num_samples": 2}, monitor="val_loss"
    )
    last = dataclasses.replace(last, initial_weights=digits.name, warmup_epochs=0)
    for recipe in (first, last):
        monkeypatch.setitem(RECIPES._things, recipe.name, recipe)
    monkeypatch.setattr(reproducing, "_QUICK", 64)
    assert reproducing.chain(last.name) == [digits.name, last.name]
    said = []
    card = reproducing.reproduce(last.name, tmp_path, quick=True, verbose=0, say=said.append)
    assert [line.partition(":")[0] for line in said] == [
        f"training {digits.name}",
        f"training {last.name}",
        f"the final phase of {last.name}",
        "measuring iwae.mnist_k5 with 5 importance samples",
        last.name,
    ]
    assert "(of other data" in said[-1]
    folder = tmp_path / "trial" / last.name
    assert cards.Card.read(folder / "cards" / f"{last.name}.json") == card
    assert card.recipe["finish"]["epochs"] == 1
    assert (folder / "weights" / "before" / f"{last.name}.weights.h5").exists()
    assert not (tmp_path / "trial" / digits.name / "final").exists()
    states = [
        json.loads((tmp_path / "trial" / part / "state.json").read_text())
        for part in (digits.name, last.name, f"{last.name}/final")
    ]
    assert [state["epoch"] for state in states] == [1, 1, 1]
    assert kvae.datasets.load("digits", "test").sha256 == card.dataset["sha256"]["test"]
