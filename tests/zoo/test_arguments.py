"""The arguments that `zoo.build` accepts in every architecture, and their use in trainings."""

import dataclasses

import numpy as np
import pytest

import kvae
import zoo
from zoo import training
from zoo.building import ARCHITECTURES, RECIPES

PARTS = {"posterior", "prior", "likelihood", "objective", "seed", "num_classes"}
# By the type of an argument's default: what it is not.
WRONG = {
    int: (-1, 2.5, "x", None, True, (4,), float("nan")),
    tuple: (4, "ab", (0,), (4.5,), (4, -1), (True,), None),
    float: (-1.0, "x", None, float("nan"), float("inf"), True),
    str: ("nope",),
    bool: (1, "x", None),
}
# Arguments whose default is `None`, or whose wrong values a part refuses.
OTHERS = {"filters": tuple, "num_classes": int, "seed": int}
FROM_0 = {("hvae", "num_components"), ("timeseries_vae", "hidden")} | {
    (name, "hidden")
    for name in ("conv_vae", "conditional_vae", "beta_vae", "beta_tcvae", "factor_vae")
}


def refused(name, **arguments):
    """The one line that refuses these arguments."""
    with pytest.raises(ValueError) as error:
        zoo.build(name, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_no_argument_takes_another_kind_of_value(name):
    own = {key: type(value) for key, value in ARCHITECTURES[name].defaults.items()}
    for argument, kind in {**own, **OTHERS}.items():
        if (argument in PARTS and argument not in OTHERS) or kind not in WRONG:
            continue
        if argument == "filters" and argument not in own:
            continue
        wrong = list(WRONG[kind])
        if argument == "seed":
            wrong.remove(-1)
        if argument == "num_classes" or (argument == "filters" and own[argument] is type(None)):
            wrong.remove(None)
        if kind is int and argument != "seed" and (name, argument) not in FROM_0:
            wrong.append(0)
        if argument in ("filters", "event_shape") or (name, argument) == ("hvae", "hidden"):
            wrong.append(())
        for value in wrong:
            message = refused(name, **{argument: value})
            assert argument.replace("_", " ") in message.replace("_", " "), message
            assert repr(value) in message


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_an_unknown_argument_names_those_that_there_are(name):
    message = refused(name, hiden=3)
    assert all(known in message for known in {*ARCHITECTURES[name].defaults, *PARTS})


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("name", "part", "make"),
    [
        ("dense_autoencoder", "posterior", lambda: kvae.posteriors.Delta(l1=2.0)),
        ("conv_autoencoder", "posterior", lambda: kvae.posteriors.Delta(l1=2.0)),
        ("lstm_autoencoder", "posterior", lambda: kvae.posteriors.Delta(l1=2.0)),
        ("iaf_vae", "posterior", lambda: kvae.posteriors.get("full_covariance")),
        ("vamp_vae", "prior", lambda: kvae.priors.StandardNormal()),
        ("hvae", "prior", lambda: kvae.priors.StandardNormal()),
        ("beta_vae", "objective", lambda: kvae.objectives.ELBO(beta=3.0)),
        ("factor_vae", "objective", lambda: kvae.objectives.ELBO(beta=3.0)),
        ("iwae", "objective", lambda: kvae.objectives.ELBO(beta=3.0)),
        ("tabular_vae", "likelihood", lambda: kvae.likelihoods.Laplace()),
        ("timeseries_vae", "likelihood", lambda: kvae.likelihoods.Laplace()),
    ],
)
def test_a_part_of_the_callers_own_is_in_the_model(name, part, make):
    shape = {"tabular_vae": (5,), "timeseries_vae": (8, 1)}.get(name, (8, 8, 1))
    own = make()
    vae = zoo.build(name, event_shape=shape, latent_dim=4, **{part: own})
    assert getattr(vae, part) is own
    assert vae.call(np.ones((2, *shape), np.float32)).shape == (2, *shape)


def test_an_autoencoder_with_a_density_and_a_prior_is_a_vae():
    parts = {"posterior": "diagonal_gaussian", "prior": "standard_normal"}
    vae = zoo.build("dense_autoencoder", event_shape=(8, 8, 1), **parts)
    assert vae.sample(2, seed=0).shape == (2, 8, 8, 1)
    assert "needs a prior" in refused("dense_autoencoder", posterior="diagonal_gaussian")


def test_initial_pseudo_inputs_without_any_are_refused():
    assert "give `num_components`, too" in refused("hvae", initial=np.zeros((5, 28, 28, 1)))


def test_convolutions_that_do_not_fit_are_refused():
    for shape, filters in (((3, 3, 1), (4, 4)), ((1, 1, 1), (4,)), ((8, 3, 1), (4, 4))):
        message = refused("conv_vae", event_shape=shape, filters=filters)
        assert f"at least {2 ** len(filters)} pixels" in message
    assert "at least 4 steps" in refused("timeseries_vae", event_shape=(3, 1))


@pytest.mark.default(
    "dense_vae-arguments2",
    "lstm_autoencoder-arguments3",
    "beta_vae-arguments5",
    "conv_vae-arguments6",
)
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("timeseries_vae", {"event_shape": (7, 1), "hidden": 0, "filters": (4,)}),
        ("conv_vae", {"event_shape": (7, 5, 2), "hidden": 0, "filters": [4]}),
        ("dense_vae", {"event_shape": (1, 1, 1), "hidden": ()}),
        ("lstm_autoencoder", {"event_shape": (1, 1), "width": 1}),
        (
            "dense_vae",
            {"event_shape": np.array([2, 2, 1]), "hidden": np.array([3]), "seed": np.int32(7)},
        ),
        ("beta_vae", {"event_shape": (4, 4, 1), "beta": np.float32(2.0), "hidden": np.int64(3)}),
        ("conv_vae", {"event_shape": (4, 4, 1), "num_classes": np.int64(2), "filters": (2,)}),
    ],
)
def test_the_smallest_and_numpys_own_numbers(name, arguments, tmp_path):
    vae = zoo.build(name, latent_dim=np.int64(1), **arguments)
    shape = tuple(arguments["event_shape"])
    x = np.ones((2, *shape), np.float32)
    inputs = x if vae.num_classes is None else (x, np.array([0, 1]))
    reconstructed = vae(inputs)
    assert reconstructed.shape == x.shape
    vae.save(tmp_path / "model.keras")  # What JSON does not hold would fail here.
    again = kvae.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(inputs), reconstructed)


def test_the_shipped_recipes_warm_up_to_their_own_beta():
    """Their figures stay: what was ELBO(beta=rising to 1) is that still."""
    for name in zoo.list_recipes():
        recipe = RECIPES[name]
        if recipe.warmup_epochs and "event_shape" not in recipe.arguments:
            objective = zoo.build(recipe.architecture, **recipe.arguments).objective
            assert type(objective) is kvae.objectives.ELBO and objective.beta == 1.0
            break


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("dense_vae", {}, kvae.likelihoods.Bernoulli),
        ("dense_vae", {"likelihood": "gaussian"}, kvae.likelihoods.Gaussian),
        ("timeseries_vae", {}, kvae.likelihoods.Gaussian),
        ("tabular_vae", {"event_shape": (2,)}, kvae.likelihoods.MixedTabular),
    ],
)
def test_the_likelihood_of_an_architecture_without_building_it(name, arguments, kind):
    assert type(ARCHITECTURES[name].part("likelihood", arguments)) is kind


def test_a_recipe_gives_classes_and_counts_as_they_are():
    """Grey levels are classes 0–255 to a categorical likelihood, and not numbers in [0, 1]."""
    recipe = dataclasses.replace(RECIPES["dense_vae.digits"], binarize=None)
    likelihood = {"likelihood": "categorical"}
    recipe = dataclasses.replace(recipe, arguments={**recipe.arguments, **likelihood})
    levels = np.unique(training.test_data(recipe).examples)
    assert levels.max() == 255.0 and (levels == np.round(levels)).all()
