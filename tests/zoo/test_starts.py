"""A training that starts from the weights of another model."""

import numpy as np
import pytest

import zoo
from zoo import training

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
