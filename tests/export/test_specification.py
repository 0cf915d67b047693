"""The specification of the signatures, held against what is written and what is documented."""

import inspect
import pathlib
import re

import keras
import numpy as np
import pytest

import export
import kvae
from export import signature_table, signatures
from export.files import meta_graph

ROOT = pathlib.Path(__file__).resolve().parents[2]
# tests/export/test_table_cells.py and test_modalities.py have them.
OF_OTHERS = {"encode_table", "generate_table", "impute_table", "translate"}
LONG = {"detect", "impute", "score"}


# `detect`, `impute` and `score` take long to write. By default tests of their own run their graphs.
@pytest.fixture(scope="module", params=["most", pytest.param("all", marks=pytest.mark.slow)])
def conditional_path(request, tmp_path_factory):
    encoder = keras.Sequential([keras.Input((5, 6)), keras.layers.Flatten(), keras.layers.Dense(6)])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(30), keras.layers.Reshape((5, 6))]
    )
    model = kvae.VAE(
        *(encoder, decoder, 2),
        prior="class_conditional",
        num_classes=3,
        missing="zero",
        objective=kvae.objectives.SemiSupervised(hidden=(4,)),
    )
    model.calibration = kvae.detection.Calibration("elbo", 4, 0, 0.5, (20.0,))
    wanted = None
    if request.param == "most":
        wanted = [*(set(signatures.SIGNATURES) - OF_OTHERS - LONG)]
    return export.saved_model(model, tmp_path_factory.mktemp("specification"), signatures=wanted)


def shape(sizes):
    known = {"num_classes": (3,), "latent_dim": (2,), "event": (5, 6), "steps": (None,)}
    return (None, *(size for name in sizes for size in known[name]))


def test_a_written_model_is_what_is_specified(conditional_path):
    written = meta_graph.read_signatures(conditional_path)
    assert set(signatures.SIGNATURES) - set(written) - OF_OTHERS in (set(), LONG)
    for name, specified in signatures.SIGNATURES.items():
        if name not in written:
            continue
        found, keys = written[name], signatures.input_names(name, ("label",))
        assert set(found.inputs) == set(keys) and ("label" in keys) == (name != "classify")
        for key in keys:
            item = signatures.INPUTS[key]
            assert (found.inputs[key].dtype, found.inputs[key].shape) == (
                item.dtype,
                shape(item.shape),
            )
            assert (key in found.optional) == item.optional
        for key, output in specified.outputs.items():
            assert found.outputs[key].shape == shape(output.shape), (name, key)
        # Only the parameters of a part, whose names are its own, may come on top.
        assert bool(set(found.outputs) - set(specified.outputs)) == bool(specified.parameters)


def test_errors_name_the_limits():
    limited = {key for key, item in signatures.INPUTS.items() if np.isfinite(item.smallest)}
    assert limited == {"label", "seed", "temperature", "steps", "num_samples"}
    for key in limited - {"label"}:  # Whose limits are the model's.
        item = signatures.INPUTS[key]
        assert re.search(rf"\b{item.smallest:g}\b", item.rule), item.rule
        if key in ("steps", "num_samples"):
            assert item.rule.endswith(f" to {item.largest}")
            assert item.smallest <= item.example <= item.default <= item.largest
    assert signatures.INPUTS["seed"].largest == 2**62 - 1
    assert "2**62 - 1" in signatures.INPUTS["seed"].rule


def test_the_client_has_the_specified_inputs_and_defaults():
    for name, specified in signatures.SIGNATURES.items():
        method = getattr(export.Client, "decode" if name == signatures.DECODE else name)
        parameters = inspect.signature(method).parameters
        assert set(signatures.input_names(name, ("label",))) <= set(parameters)
        for key in specified.inputs:
            if signatures.INPUTS[key].optional:
                assert parameters[key].default == signatures.INPUTS[key].default


def test_documentation_has_the_table_of_signatures():
    text = (ROOT / "docs" / "EXPORT.md").read_text("utf-8")
    assert signature_table.markdown() in text
    for name, specified in signatures.SIGNATURES.items():
        assert f"- `{name}`" in export.saved_model.__doc__
        for key in (*specified.inputs, *specified.outputs):
            assert f"`{key}`" in export.saved_model.__doc__, (name, key)


def test_a_model_lacks_what_its_parts_cannot_give(dense, autoencoder):
    assert set(signatures.left_out(dense)) == {"impute", "detect", "classify", *OF_OTHERS}
    assert set(signatures.left_out(autoencoder)) == {
        "generate",
        "score",
        "impute",
        "detect",
        *OF_OTHERS,
        "classify",
    }
