"""`kvae.stacked`: a model of x and a model of its codes as one."""

import numpy as np
import pytest

import kvae
import zoo

X = (np.random.default_rng(0).random((5, 6)) < 0.5).astype("float32")


@pytest.fixture(scope="module")
def models():
    first = zoo.build("dense_vae", event_shape=(6,), latent_dim=3, hidden=(4,))
    likelihood = kvae.likelihoods.Gaussian("per_pixel", standardize=True)
    second = zoo.build(
        "m2_vae",
        event_shape=(3,),
        latent_dim=2,
        hidden=(4,),
        num_classes=2,
        likelihood=likelihood,
        objective=kvae.objectives.SemiSupervised(class_probabilities=(0.9, 0.1), hidden=(4,)),
    )
    likelihood.set_statistics(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 2.0]))
    return first, second, kvae.stacked(first, second)


def test_it_says_what_the_two_say(models, tmp_path, eagerly):
    first, second, both = models
    codes = first.encode(X)["z_mean"]
    both.save(tmp_path / "both.keras")
    for model in (both, kvae.load_model(tmp_path / "both.keras")):
        np.testing.assert_allclose(model.predict_proba(X), second.predict_proba(codes), atol=1e-6)
        found, wanted = model.encode(X), second.encode(codes)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=1e-6)
        drawn = first.decode(second.sample(4, label=1, seed=3))
        np.testing.assert_allclose(model.sample(4, label=1, seed=3), drawn, atol=1e-6)
        assert model.objective.class_probabilities == [0.9, 0.1]


def test_conditions_of_the_second_are_those_of_both(models):
    second = zoo.build(
        "dense_vae",
        event_shape=(3,),
        latent_dim=2,
        hidden=(4,),
        likelihood="gaussian",
        conditions={"d": 3, "tags": ("multi", 2)},
    )
    label, z = {"d": [0, 2]}, np.ones((2, 2), "float32")
    wanted = models[0].decode(second.decode(z, label))
    found = kvae.stacked(models[0], second).decode(z, label)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_training_forgets_what_was_measured_of_its_weights_alone(models):
    first, second, both = models
    every = first, second, both, kvae.VAE(first.encoder, first.decoder, 3)
    for changed, kept in ((second, [0, 3]), (first, [1]), (both, [])):
        for model in every:
            model.scale_factor = 2.0
        changed.forget_measured()
        assert [number for number, model in enumerate(every) if model.scale_factor] == kept


def test_it_trains_as_a_whole(models):
    first, _, both = models
    before = first.decode(np.ones((2, 3), "float32"))
    both.compile("sgd", run_eagerly=True)
    both.fit((X, [0, 1, -1, -1, -1]), epochs=1, verbose=0)
    assert not np.array_equal(first.decode(np.ones((2, 3), "float32")), before)  # It shares them.


def test_what_does_not_fit(models):
    first, second, both = models
    with pytest.raises(ValueError, match=r"events of shape \(6,\), and the codes of `first`"):
        kvae.stacked(first, first)
    with pytest.raises(ValueError, match="`first` takes no labels"):
        kvae.stacked(both, second)
    vamp = zoo.build("dense_vae", event_shape=(3,), latent_dim=2, hidden=(4,), prior="vamp:3")
    with pytest.raises(ValueError, match="Vamp prior of `second`"):
        kvae.stacked(first, vamp)
