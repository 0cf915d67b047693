"""A new part is one new file: parts from outside of the library, registered by their authors."""

import importlib
import json
import os
import pathlib

import keras
import numpy as np
import pytest

import export
import kvae
import kvae.testing
from kvae import flows, likelihoods, objectives, posteriors, priors, samplers
from kvae.cli import main

FOLDER = str(pathlib.Path(__file__).parent)
KINDS = (flows, likelihoods, objectives, posteriors, priors, samplers)
MODELS = {
    "posterior": {"posterior": "triangular"},
    "prior": {"prior": "learned_normal"},
    "likelihood": {"likelihood": "exponential"},
    "objective": {"objective": "halved"},
    "flow": {"posterior": lambda: posteriors.Flow(flows="shear", num_flows=2)},
    "all": {
        "posterior": lambda: posteriors.Flow(base="triangular", flows="shear"),
        "prior": lambda: priors.Hierarchical(groups=(1, 1), top="learned_normal"),
        "likelihood": "exponential",
        "objective": "quartered",
    },
}


@pytest.fixture(scope="module", autouse=True)
def parts_of_mine():
    """The module of new parts, whose names are forgotten afterwards."""
    before = [dict(kind.REGISTER._things) for kind in KINDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module("parts_of_mine")
    for kind, things in zip(KINDS, before, strict=True):
        kind.REGISTER._things.clear()
        kind.REGISTER._things.update(things)


@pytest.fixture
def data():
    return np.random.default_rng(0).exponential(size=(32, 6)).clip(0, 1).astype("float32")


def test_names_are_in_the_registers(parts_of_mine):
    assert "triangular" in posteriors.names() and "learned_normal" in priors.names()
    assert "exponential" in likelihoods.names() and "shear" in flows.names()
    assert {"halved", "quartered"} <= set(objectives.names())
    assert objectives.get("quartered").beta == 0.25
    assert isinstance(samplers.get("standardized"), parts_of_mine.Standardized)


@pytest.mark.default("all")
@pytest.mark.parametrize("kind", MODELS)
def test_is_trained_asked_saved_and_loaded_like_any_other(kind, make_vae, data, tmp_path, eagerly):
    parts = {name: part() if callable(part) else part for name, part in MODELS[kind].items()}
    vae = make_vae(event=(6,), optimizer="adam", eager=True, **parts)
    history = vae.fit(data, batch_size=16, epochs=1, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras")
    for model in (vae, loaded):
        assert model.sample(3, seed=0).shape == (3, 6)
        np.testing.assert_array_equal(model.sample(3, seed=0), vae.sample(3, seed=0))
        here, there = (m.log_prob(data[:4], num_samples=4).value for m in (vae, model))
        assert np.isfinite(here).all()
        np.testing.assert_array_equal(here, there)


@pytest.mark.default("posterior")  # All of them train above, and `test_parts.py` has each check.
@pytest.mark.parametrize("kind", ["posterior", "prior", "likelihood", "flow", "objective"])
def test_keeps_what_parts_promise(kind, parts_of_mine):
    name = {"posterior": "Triangular", "prior": "LearnedNormal", "likelihood": "Exponential"}
    part = getattr(parts_of_mine, {**name, "flow": "Shear", "objective": "Halved"}[kind])()
    options = {} if kind == "objective" else {"xla": False}
    getattr(kvae.testing, f"check_{kind}")(part, **options)


def test_closed_form_kl_of_a_new_pair(make_vae, data):
    vae = make_vae(event=(6,), prior="learned_normal")
    assert kvae.divergences.kl_per_dimension(vae.posterior, vae.prior) is not None


def test_a_sampler_fits_the_codes(make_vae, data, eagerly):
    vae = make_vae(event=(6,))
    sampler = samplers.get("standardized").fit(vae, data)
    assert sampler.sample(3, seed=0).shape == (3, 6)


@pytest.mark.slow  # An export, and a process that verifies it.
def test_is_served_like_any_other(make_vae, data, tmp_path):
    vae = make_vae(event=(6,), posterior="triangular", prior="learned_normal")
    export.saved_model(vae, tmp_path / "served", signatures=["encode", "generate"])
    report = export.verify(tmp_path / "served", vae)
    assert report.ok, str(report)


def test_what_is_no_part_or_takes_the_name_of_another_is_refused(parts_of_mine):
    with pytest.raises(TypeError, match="A prior derives from Prior, not .*Triangular"):
        priors.register("wrong")(parts_of_mine.Triangular)
    with pytest.raises(ValueError, match="There is a prior 'vamp' already"):
        priors.register("vamp")(parts_of_mine.LearnedNormal)
    assert priors.REGISTER["vamp"] is priors.Vamp


def test_a_class_without_a_package_is_custom_as_keras_says():
    @priors.register()
    class Unnamed(priors.StandardNormal):
        pass

    assert keras.saving.get_registered_name(Unnamed) == "Custom>Unnamed"
    assert keras.saving.get_registered_name(priors.Vamp) == "kvae.priors>Vamp"


def test_the_command_line_and_loading_know_the_parts_of_plugins(
    run_forked, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("KVAE_PLUGINS", "parts_of_mine")
    command = ["train", "dense_vae", "--dataset", "digits", "--epochs", "1", "--limit", "64"]
    command += ["--samples", "2", "--latent-dim", "2", "--output", str(tmp_path), "--json"]
    assert main([*command, "--prior", "learned_normal", "--objective", "halved"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]
    # A process that has not heard of the parts loads the model.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")]))
    code = "import kvae, sys; print(type(kvae.load_model(sys.argv[1]).prior).__name__)"
    found = run_forked(code, tmp_path / "model.keras")
    assert found.stdout.split()[-1] == "LearnedNormal"
