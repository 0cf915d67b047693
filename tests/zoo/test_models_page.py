"""docs/MODELS.md is what the cards say, and its pictures are those of the shipped weights."""

import dataclasses
import pathlib

import numpy as np
import pytest
from PIL import Image

import kvae
import zoo
from kvae.plots import grid
from zoo import models_page, pictures

DOCS = pathlib.Path(__file__).parents[2] / "docs"
MODELS = zoo.list_models()


def test_page_is_the_cards():
    assert (DOCS / "MODELS.md").read_text(encoding="utf-8") == models_page.page(), "make models"


def test_each_model_has_the_picture_of_its_weights_and_no_other_is_there():
    assert sorted(path.stem for path in (DOCS / "models").iterdir()) == MODELS, "make models"
    for name in MODELS:
        path = DOCS / "models" / f"{name}.png"
        assert path.stat().st_size < 60_000
        assert models_page.drawn_from(path) == zoo.card(name).weights["sha256"], "make models"


def test_what_a_section_says():
    card = zoo.card("dense_vae.mnist")
    page = models_page.page([card])
    nll = card.metrics["nll"]
    for text in (
        f"{nll['nll']:.2f} ± {nll['standard_error']:.2f} nats",
        f"{nll['num_samples']:,} importance samples",
        f"{card.published['value']}, [Burda et al. 2015",
        "](https://arxiv.org/abs/1509.00519)",
        f"{card.cost['parameters']:,} parameters",
        card.recipe["command"],
        "models/dense_vae.mnist.png",
        "#dense_vaemnist)",
    ):
        assert text in page


def test_a_training_that_starts_from_other_weights_says_so():
    """Their own time is not in the card's."""
    start = "from the weights of `dense_vae.mnist_long`"
    page = models_page.page([zoo.card("iwae.mnist_k5")])
    rows = [row for row in page.splitlines() if start in row]
    assert [row.split(" |")[0] for row in rows] == [
        "| [`iwae.mnist_k5`](#iwaemnist_k5)",
        "| training",
    ]
    assert start not in models_page.page([zoo.card("dense_vae.mnist")])


def test_an_autoencoders_figure_has_its_error():
    card = zoo.card("dense_autoencoder.mnist")
    error = card.metrics["bce_standard_error"]
    page = models_page.page([card])
    assert f"| test figure | **{card.headline}**, ± {error:.4f} |" in page
    assert "ELBO" not in page and "standard error 0" not in page


def test_a_model_that_nobody_has_trained_has_no_picture_and_no_figure():
    card = zoo.card("dense_vae.mnist")
    cost = {"parameters": card.cost["parameters"]}
    card = dataclasses.replace(card, metrics={}, cost=cost, published=None, weights=None)
    page = models_page.page([card])
    assert "| test figure | **not trained here** |" in page and "![" not in page
    assert "| train | `kvae train --recipe dense_vae.mnist` |" in page
    assert "nats" not in page.partition("| mnist")[2] and " min" not in page


def test_further_figures_stand_beside_the_headline():
    card = dataclasses.replace(
        zoo.card("dense_vae.digits"),
        metrics={
            **zoo.card("dense_vae.digits").metrics,
            "mig": {"mig": 0.123456, "standard_error": 0.01},
            "active_units": 12,
            "per_dimension": [1.0, 2.0],
        },
        published=None,
        paper="by hand",
    )
    page = models_page.page([card])
    assert "MIG 0.1235 ± 0.01, active units 12 |" in page
    assert "| published | 8" not in page and "| from | by hand |" in page


def test_writes_only_what_has_changed(tmp_path, monkeypatch):
    name = "dense_vae.digits"
    monkeypatch.setattr(models_page, "_models", lambda: [zoo.card(name)])
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "gone.png").write_bytes(b"")
    said = []
    assert models_page.write(tmp_path, say=said.append) == tmp_path / "MODELS.md"
    picture = tmp_path / "models" / f"{name}.png"
    assert list(picture.parent.iterdir()) == [picture] and len(said) == 3
    with Image.open(picture) as drawn, Image.open(DOCS / "models" / picture.name) as shipped:
        np.testing.assert_allclose(np.int16(drawn), np.int16(shipped), atol=2)
    models_page.write(tmp_path, say=said.append)
    assert len(said) == 4  # The page alone.


@pytest.mark.default("shape1")
@pytest.mark.parametrize("shape", [(6,), (12, 2)])
def test_pictures_of_tables_and_signals(shape, eagerly):
    vae = zoo.build("dense_vae", event_shape=shape, latent_dim=2, likelihood="gaussian")
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    for picture in (
        pictures.samples(vae),
        pictures.reconstructions(vae, kvae.datasets.Dataset(x)),
    ):
        assert max(picture.size) <= 720 and len(np.unique(picture)) > 2


def test_samples_of_a_conditional_model_show_every_class(eagerly):
    vae = zoo.build("dense_vae", event_shape=(8, 8, 1), latent_dim=2, hidden=(8,), num_classes=4)
    found = np.asarray(pictures.samples(vae))
    drawn = vae.sample(24, seed=0, label=np.tile(np.arange(12) % 4, 2))
    np.testing.assert_array_equal(found, grid.thumbnail(np.asarray(drawn), 12))


def test_a_picture_of_unknown_weights_is_none(tmp_path):
    assert models_page.drawn_from(tmp_path / "none.png") is None
    Image.new("L", (2, 2)).save(tmp_path / "other.png")
    assert models_page.drawn_from(tmp_path / "other.png") is None
