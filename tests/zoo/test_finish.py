"""A training with a final phase, on the command line and as the start of another training."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import main
from zoo import cards, markdown, training, weights
from zoo.building import RECIPES
from zoo.recipes import Finish, Recipe

SMALL = {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (4,)}


def test_both_phases_by_one_command(tmp_path, monkeypatch, eagerly, capsys):
    finish = Finish(2, batch_size=64, ema_momentum=0.5)
    recipe = dataclasses.replace(
        RECIPES["dense_vae.digits"], arguments=SMALL, epochs=1, finish=finish, mantissa_bits=7
    )
    monkeypatch.setitem(RECIPES._things, recipe.name, recipe)
    words = ["train", "--recipe", recipe.name, "--limit", "64", "--samples", "2"]
    words += ["--output", str(tmp_path)]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert "64 images of 8 × 8 × 1 to train on, 64 to validate on" in told
    assert "128 images of 8 × 8 × 1 to train on, none to validate on, since this is the" in told
    card = cards.Card.read(tmp_path / "cards" / f"{recipe.name}.json")
    assert card.recipe["finish"]["epochs"] == 2 and card.recipe["best_epoch"] == 1
    assert "then 2 on the training and validation data together" in markdown.facts(card)
    monkeypatch.setattr(weights, "_FOLDER", tmp_path / "weights")
    monkeypatch.setattr(cards, "_FOLDER", tmp_path / "cards")
    before = [np.array(weight) for weight in training.load_before_finish(card.name).weights]
    last = zoo.load(card.name)
    assert any(np.any(np.array(w) != old) for w, old in zip(last.weights, before, strict=True))
    assert "its weights keep 7 of 23 bits of the mantissa" in markdown.facts(card)

    def kept(weights):
        return [
            np.array_equal(values, values.astype(ml_dtypes.bfloat16).astype("float32"))
            for values in weights
            if values.dtype == "float32" and np.any(values)
        ]

    assert all(kept(last.get_weights())) and not any(kept(before))  # The final phase had them all.

    # Another training starts from weights that have not seen the data that choose its epoch.
    started = []
    other = Recipe("dense_vae.other", "digits", SMALL, epochs=1, initial_weights=card.name)
    training.train(
        other,
        tmp_path / "other",
        verbose=0,
        limit=64,
        begin=lambda model, *_: started.extend(np.array(weight) for weight in model.weights),
    )
    for one, old in zip(started, before, strict=True):
        np.testing.assert_array_equal(one, old)


def test_a_sampler_and_a_final_phase_exclude_each_other():
    with pytest.raises(ValueError, match="a `finish` or a `sampler`, not both"):
        Recipe("dense_vae.x", "digits", finish=Finish(1), sampler="gaussian_mixture")


class TestJoined:
    def test_all_examples_with_their_labels_and_draws(self):
        whole = kvae.datasets.load("digits", "train", binarize="dynamic")[:9]
        both = whole[:4].joined(whole[4:], split="both")
        assert len(both) == 9 and both.split == "both"
        np.testing.assert_array_equal(both.examples, whole.examples)
        np.testing.assert_array_equal(both.labels, whole.labels)
        assert both.sha256 == whole.sha256

    def test_what_does_not_go_together_is_refused(self):
        x = np.zeros((2, 4, 4, 1), np.float32)
        data = kvae.datasets.Dataset(x)
        with pytest.raises(ValueError, match="only one has labels"):
            data.joined(kvae.datasets.Dataset(x, [0, 1]))
        with pytest.raises(ValueError, match=r"different event_shape: \(4, 4, 1\) and \(4, 4\)"):
            data.joined(kvae.datasets.Dataset(x[..., 0]))
        with pytest.raises(ValueError, match="different binarize: None and static"):
            data.joined(kvae.datasets.Dataset(x, binarize="static"))
