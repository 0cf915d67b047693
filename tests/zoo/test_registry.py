"""The register of architectures and recipes, and what others add to it."""

import json
import re

import numpy as np
import pytest

import kvae
import zoo
from kvae.cli import main
from zoo.building import ARCHITECTURES, RECIPES

KINDS = {
    "posterior": kvae.posteriors,
    "prior": kvae.priors,
    "likelihood": kvae.likelihoods,
    "objective": kvae.objectives,
}
FILE = '''
import keras
from keras import layers

import kvae
import zoo
from zoo.arguments import Count, EventShape


def _weighted(beta: float = 3.0):
    return kvae.objectives.ELBO(beta=beta)


@zoo.architecture(objective=_weighted, small={"width": 4})
def tiny_vae(event_shape: EventShape = (8, 8, 1), latent_dim=2, width: Count = 8, **parts):
    """A VAE of one layer."""
    encoder = keras.Sequential(
        [keras.Input(event_shape), layers.Flatten(), layers.Dense(width, "relu")]
    )
    decoder = keras.Sequential(
        [keras.Input((latent_dim,)), layers.Dense(64), layers.Reshape(event_shape)]
    )
    return kvae.VAE(encoder, decoder, latent_dim, **parts)


zoo.recipe(
    "tiny_vae.digits", "digits", {"width": 6}, binarize="static", epochs=1, paper="Me 2026, Mine"
)
# A recipe for an architecture of the zoo.
zoo.recipe("dense_vae.tiny", "digits", {"event_shape": (8, 8, 1), "hidden": (4,)})
'''


@pytest.fixture
def forgotten():
    """Leaves both registers as they were."""
    before = [(register, dict(register._things)) for register in (ARCHITECTURES, RECIPES)]
    yield
    for register, things in before:
        register._things.clear()
        register._things.update(things)


def test_a_file_outside_of_the_package_adds_an_architecture_and_its_recipe(
    tmp_path, monkeypatch, forgotten, capsys, eagerly
):
    (tmp_path / "architecture_of_mine.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("KVAE_PLUGINS", "architecture_of_mine")
    assert "tiny_vae" in zoo.list_architectures() and "tiny_vae.digits" in zoo.list_recipes()
    vae = zoo.build("tiny_vae", beta=2.0, width=np.int64(5))
    assert vae.name == "tiny_vae" and vae.encoder.output_shape == (None, 5)
    assert vae.objective.get_config()["beta"] == 2.0
    with pytest.raises(ValueError, match="`beta` is an argument of tiny_vae's own objective"):
        zoo.build("tiny_vae", beta=2.0, objective="elbo")
    for wrong in ({"width": 0}, {"latent_dim": 2.5}, {"beta": -1.0}, {"event_shape": ()}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` is a "):
            zoo.build("tiny_vae", **wrong)

    run = tmp_path / "run"
    command = ["train", "--recipe", "tiny_vae.digits", "--samples", "2", "--json"]
    assert main([*command, "--limit", "64", "--output", str(run)]) == 0
    figures = json.loads(capsys.readouterr().out)
    card = zoo.Card.read(run / "cards/tiny_vae.digits.json", "tiny_vae.digits")
    assert card.architecture == "tiny_vae" and card.arguments == {"width": 6}
    assert card.metrics["nll"] == figures["nll"] and card.paper == "Me 2026, Mine"
    again = zoo.build(card.architecture, **card.arguments)
    again.load_weights(run / "weights" / card.weights["file"])
    trained = kvae.load_model(run / "model.keras")
    x = kvae.datasets.load("digits", "test").examples[:3]
    np.testing.assert_array_equal(again.reconstruct(x), trained.reconstruct(x))


def test_what_does_not_fit_is_refused_where_it_is_registered(forgotten):
    def conv_vae(event_shape=(8, 8, 1), **parts):
        raise AssertionError

    with pytest.raises(ValueError, match="There is a architecture 'conv_vae' already"):
        zoo.architecture()(conv_vae)
    with pytest.raises(ValueError, match="Unknown part 'encoder'"):
        zoo.architecture(encoder="dense")
    with pytest.raises(ValueError, match="Unknown architecture 'conv_vea'. Did you mean"):
        zoo.recipe("conv_vea.mnist", "mnist")
    with pytest.raises(ValueError, match="Unknown argument of conv_vae 'width'"):
        zoo.recipe("conv_vae.wide", "mnist", {"width": 3})
    with pytest.raises(ValueError, match="There is a recipe 'conv_vae.mnist' already"):
        zoo.recipe("conv_vae.mnist", "digits")


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_a_record_says_what_its_function_says(name):
    found = ARCHITECTURES[name]
    assert found.name == name and found.__doc__ == found.builder.__doc__
    assert "event_shape" in found.small and set(found.small) <= set(found.defaults)
    documented = found.__doc__.partition("Args:")[2]
    for argument in found.defaults:
        entry = rf"^ +([a-z_0-9, ]+, )?{argument}(, [a-z_0-9, ]+)?: "
        assert re.search(entry, documented, re.MULTILINE)


def test_autoencoders_are_those_without_a_prior():
    names = [name for name, found in ARCHITECTURES.items() if found.autoencoder]
    assert names == [
        "conv_autoencoder",
        "denoising_autoencoder",
        "dense_autoencoder",
        "lstm_autoencoder",
    ]


def _pairs():
    """Every architecture with every part; most of them are slow.

    By default an architecture gets one part of each kind, and each part stands in one architecture.
    """
    for kind, package in KINDS.items():
        parts = [*([None] if kind == "prior" else []), *package.names()]
        for row, architecture in enumerate(ARCHITECTURES):
            for column, part in enumerate(parts):
                chosen = row % len(parts) == column or column % len(ARCHITECTURES) == row
                marks = () if chosen else pytest.mark.slow
                yield pytest.param(architecture, kind, part, marks=marks)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("name", "kind", "part"), list(_pairs()))
def test_a_part_is_in_the_model_or_the_error_says_why_not(name, kind, part):
    found = ARCHITECTURES[name]
    small = {k: value for k, value in found.small.items() if k not in found.makers.get(kind, {})}
    try:
        vae = zoo.build(name, **small, **{kind: part})
    except ValueError as error:
        reason = str(error)
        assert "\n" not in reason and reason.endswith(".")
        named = part is not None and part.replace("_", "") in reason.lower()
        assert named or kind in reason or "latent_dim=" in reason
        return
    assert type(getattr(vae, kind)) is type(KINDS[kind].get(part))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_an_argument_of_a_part_that_another_replaces_is_refused(name):
    found = ARCHITECTURES[name]
    for kind, own in found.makers.items():
        for argument, default in own.items():
            with pytest.raises(ValueError, match=f"`{argument}` is an argument of {name}'s own"):
                zoo.build(name, **{kind: "elbo", argument: default})
