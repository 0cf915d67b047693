"""The specification of the signatures, held against what is written and what is documented."""

import inspect
import pathlib

import keras
import numpy as np
import pytest

import export
import kvae
from export import signatures
from export.files import meta_graph

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def conditional_path(tmp_path_factory):
    encoder = keras.Sequential([keras.Input((5, 6)), keras.layers.Flatten(), keras.layers.Dense(6)])
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(30), keras.layers.Reshape((5, 6))]
    )
    model = kvae.VAE(encoder, decoder, latent_dim=2, prior="class_conditional", num_classes=3)
    return export.saved_model(model, tmp_path_factory.mktemp("specification"))


def shape(sizes):
    known = {"latent_dim": (2,), "event": (5, 6), "steps": (None,)}
    return (None, *(size for name in sizes for size in known[name]))


def test_a_written_model_is_what_is_specified(conditional_path):
    written = meta_graph.read_signatures(conditional_path)
    assert set(written) == set(signatures.SIGNATURES)
    for name, specified in signatures.SIGNATURES.items():
        found, keys = written[name], signatures.input_names(name, conditional=True)
        assert set(found.inputs) == set(keys) and "label" in keys
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


def test_the_largest_and_smallest_numbers_are_taken_and_no_others(dense, images):
    from export.graphs import endpoints

    one = images[:1]
    ends = {"z_start": np.zeros((1, 2), np.float32), "z_end": np.ones((1, 2), np.float32)}
    required = {
        "seed": ("generate", {}),
        "temperature": ("generate", {"seed": [3]}),
        "steps": ("interpolate", ends),
        "num_samples": ("score", {"image": one, "seed": [3]}),
    }
    limited = {key for key, item in signatures.INPUTS.items() if np.isfinite(item.smallest)}
    assert set(required) == limited - {"label"}  # Whose limit is the model's.
    for key, (name, inputs) in required.items():
        item, endpoint = signatures.INPUTS[key], endpoints.endpoints(dense, signatures=[name])[name]
        defaults = {known: [value] for known, value in endpoint.defaults.items()}

        def ask(value, name=key, endpoint=endpoint, given=defaults | inputs):
            given = given | {name: [value]}
            rows = [keras.ops.convert_to_tensor(given[s.name], s.dtype) for s in endpoint.inputs]
            return endpoint.function(*rows)

        for value in (item.smallest, item.largest):
            assert all(np.isfinite(array).all() for array in ask(value).values() if value < 1e9)
        for value in (item.smallest - 1, item.largest + 1 if key != "temperature" else np.inf):
            with pytest.raises(Exception, match=item.rule.replace("*", r"\*")):
                ask(value)


def test_the_client_has_the_specified_inputs_and_defaults():
    for name, specified in signatures.SIGNATURES.items():
        method = getattr(export.Client, "decode" if name == signatures.DECODE else name)
        parameters = inspect.signature(method).parameters
        assert set(signatures.input_names(name, conditional=True)) <= set(parameters)
        for key in specified.inputs:
            if signatures.INPUTS[key].optional:
                assert parameters[key].default == signatures.INPUTS[key].default


def test_documentation_has_the_table_of_signatures():
    text = (ROOT / "docs" / "EXPORT.md").read_text("utf-8")
    assert signatures.markdown() in text
    for name, specified in signatures.SIGNATURES.items():
        assert f"- `{name}`" in export.saved_model.__doc__
        for key in (*specified.inputs, *specified.outputs):
            assert f"`{key}`" in export.saved_model.__doc__, (name, key)


def test_a_model_lacks_what_its_parts_cannot_give(dense, autoencoder):
    assert signatures.left_out(dense) == {}
    assert set(signatures.left_out(autoencoder)) == {"generate", "score"}
