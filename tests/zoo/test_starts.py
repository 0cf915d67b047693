"""A training that starts from the weights of another model."""

import numpy as np
import pytest

import kvae
import zoo
from zoo import training
from zoo.recipes import Recipe

SMALL = {"event_shape": (4, 4, 1), "latent_dim": 4, "hidden": (6, 6)}


def test_a_model_without_a_vamp_prior_starts_one_with_it():
    images = (np.random.default_rng(0).uniform(size=(5, 4, 4, 1)) > 0.5).astype("float32")
    source = zoo.build("hvae", seed=1, **SMALL)
    model = zoo.build("hvae", seed=2, num_components=3, initial=images, **SMALL)
    pseudo_inputs = np.array(model.prior.top.pseudo_inputs)
    training.start_from(model, source)
    np.testing.assert_array_equal(model.prior.top.pseudo_inputs, pseudo_inputs)
    # All that is below the top is the source's: so are both conditional densities.
    z = source.prior.sample(7, seed=3)
    np.testing.assert_array_equal(model.decode(z), source.decode(z))
    for own, of_source in zip(
        model.posterior.weights + model.prior.weights[-8:],
        source.posterior.weights + source.prior.weights[-8:],
        strict=True,
    ):
        np.testing.assert_array_equal(own, of_source)


def test_the_same_layers_start_as_they_are():
    source, model = (zoo.build("dense_vae", seed=seed, **SMALL) for seed in (1, 2))
    training.start_from(model, source)
    for own, of_source in zip(model.weights, source.weights, strict=True):
        np.testing.assert_array_equal(own, of_source)


def test_weights_without_a_place_are_refused_and_change_nothing():
    source = zoo.build("hvae", seed=1, num_components=3, initial=None, **SMALL)
    model = zoo.build("hvae", seed=2, **SMALL)
    before = model.get_weights()
    with pytest.raises(ValueError, match="pseudo_inputs .* has no place in hvae"):
        training.start_from(model, source)
    for own, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(own, old)


def test_a_model_is_stacked_upon_one_that_has_been_trained(tmp_path, eagerly):
    recipe = Recipe(
        "m2_vae.two",
        "digits",
        {"event_shape": (8, 8, 1), "latent_dim": 2, "hidden": (4,), "first": "dense_vae.digits"},
        labels_per_class=10,
        code_draws=2,
        epochs=1,
        batch_size=80,
        compile={"run_eagerly": True, "jit_compile": False},
    )
    seen = []
    model, _ = training.train(
        recipe, tmp_path, verbose=0, limit=40, begin=lambda *given: seen.extend(given)
    )
    second, data, validation = seen
    first = zoo.load("dense_vae.digits")
    # It learns from draws of codes, of which few have a label; the validation has none.
    assert second.event_shape == data.event_shape == (first.latent_dim,) and len(data) == 80
    assert len(np.unique(data.x, axis=0)) > 40 and (data.labels >= 0).any()
    np.testing.assert_array_equal(data.labels[:40], data.labels[40:])
    assert (validation.labels == -1).all()
    # Both are one model, with the weights of the first as they were.
    x = kvae.datasets.load("digits", "test").examples[:5]
    codes = first.encode(x)["z_mean"]
    for each in (model, training.copy_of(recipe, model), training.copy_of(recipe, second)):
        assert each.event_shape == (8, 8, 1)
        probabilities = each.predict_proba(x)
        np.testing.assert_allclose(probabilities, second.predict_proba(codes), atol=1e-5)
        np.testing.assert_allclose(
            each.encode(x, [1] * 5)["z_mean"], second.encode(codes, [1] * 5)["z_mean"], atol=1e-5
        )
    assert recipe.starts_from == "dense_vae.digits"
    with pytest.raises(ValueError, match="of examples .8, 8, 1., and `event_shape` is .4, 4, 1"):
        zoo.build("m2_vae", event_shape=(4, 4, 1), first="dense_vae.digits")
