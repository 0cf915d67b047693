"""kvae.diagnosis: each fault is found where it was made, and nothing where there is none."""

import dataclasses
import re

import keras
import numpy as np
import pytest

import kvae
from kvae.diagnosis import checks, diagnose
from kvae.diagnosis.figures import Figures
from kvae.diagnosis.trial import tried

N = 300


def exact(linear_gaussian, **changes):
    """A linear model with these parameters, and its exact posterior."""
    found = dataclasses.replace(linear_gaussian, **changes)
    return dataclasses.replace(found, variance=1 / (1 + np.sum(found.w**2, axis=0) / found.s**2))


def by_heart(linear_gaussian):
    """The principal components of forty examples of noise, and other noise."""
    rng = np.random.default_rng(3)
    train, test = (rng.normal(size=(n, 30)).astype("float32") for n in (40, N))
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    s2 = values[20:].mean()
    w = vectors[:, :20] * np.sqrt(values[:20] - s2)
    return exact(linear_gaussian, w=w, b=train.mean(axis=0), s=s2**0.5).vae(), test, train


def clumps(linear_gaussian):
    """Codes in two clumps, with the moments of the prior, which has most in the middle."""
    w = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 6)))[0] * 3.0

    def draw(seed):
        rng = np.random.default_rng(seed)
        z = 0.97 * rng.choice([-1.0, 1.0], (N, 1)) + 0.24 * rng.normal(size=(N, 6))
        return (z @ w.T + 0.3 * rng.normal(size=(N, 12))).astype("float32")

    return exact(linear_gaussian, w=w, b=np.zeros(12), s=0.3).vae(), draw(1), draw(2)


def of(change_model=lambda model: model.vae(), change_test=lambda x: x):
    """A case: a model made of the linear one, and data of the linear one, the test data changed."""

    def case(linear_gaussian):
        train, test = (linear_gaussian.draw(N, seed=seed) for seed in (1, 2))
        return change_model(linear_gaussian), change_test(test), train

    return case


def noise(linear_gaussian):
    """Data that are noise, and a model that knows it: z says nothing."""
    model = exact(linear_gaussian, w=0 * linear_gaussian.w)
    return model.vae(), model.draw(N, seed=1), model.draw(N, seed=2)


def one_of_three(linear_gaussian):
    model = exact(linear_gaussian, w=np.pad(linear_gaussian.w[:, :1], [(0, 0), (0, 2)]))
    return model.vae(), model.draw(N, seed=1), model.draw(N, seed=2)


def wide(model):
    return model.vae(widen=2.0, objective=kvae.objectives.ELBO(beta=4.0))


CASES = {
    "wrong_range": of(change_test=lambda x: 100 * x),
    "wrong_range-far": of(change_test=lambda x: x + 50),
    "wrong_range-narrow": of(change_test=lambda x: 0.01 * x),
    "drift": of(change_test=lambda x: x + 0.7),
    "collapsed": noise,
    "partly_collapsed": one_of_three,
    "off_the_prior": clumps,
    "sigma_too_small": of(lambda model: exact(model, s=0.2).vae()),
    "sigma_too_large": of(lambda model: exact(model, s=1.5).vae()),
    "over_regularised": of(wide),
    "under_regularised": of(lambda model: model.vae(widen=-3.0)),
    "over_fitted": by_heart,
}
CHECKS = {
    "wrong_range": lambda own, train: checks.range_of_data(own),
    "drift": checks.drift,
    "collapsed": lambda own, train: checks.collapse(own),
    "partly_collapsed": lambda own, train: checks.collapse(own),
    "off_the_prior": checks.misfit,
    "sigma_too_small": lambda own, train: checks.sigma(train),
    "sigma_too_large": lambda own, train: checks.sigma(train),
    "over_regularised": lambda own, train: checks.width(train),
    "under_regularised": lambda own, train: checks.width(train),
    "over_fitted": checks.over_fit,
}


@pytest.fixture(scope="module")
def case(linear_gaussian):
    """`case(name)`: the model, the test data and the training data with this fault."""
    known = {}

    def case(name):
        if name not in known:
            known[name] = CASES[name](linear_gaussian)
        return known[name]

    return case


# What is left out are variants of two checks.
@pytest.mark.default(*(set(CASES) - {"wrong_range-far", "wrong_range-narrow", "under_regularised"}))
@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_found_where_it_was_made(case, name):
    vae, test, train = case(name)
    own, seen = (Figures(vae, vae.as_dataset(x), seed=0) for x in (test, train))
    fault = CHECKS[name.partition("-")[0]](own, seen)
    assert fault.name == name.partition("-")[0]
    gain, error = (fault.figures.get(key) for key in ("gain", "standard_error"))
    assert gain is None or gain > 2 * error > 0
    if name == "wrong_range":
        assert fault.figures["mean"] == pytest.approx(test.mean(), rel=1e-4)
    if name == "over_regularised":  # The posterior was exact before it was made wider.
        assert fault.figures["factor"] == pytest.approx(np.exp(-1.0), rel=0.1)
        assert fault.figures["beta"] == 4.0
    if name.startswith("sigma"):  # The best scale is that of the errors of the reconstructions.
        errors = train - vae.decode(vae.posterior.sample(vae.encode(train), seed=0))
        expected = np.std(errors) / vae.likelihood.scale
        assert fault.figures["factor"] == pytest.approx(expected, rel=0.1)
    if name == "off_the_prior":  # A bound of the KL of clumps from the prior, 6 log 1 / 0.24 - …
        assert 2.0 < fault.figures["gain"] < fault.figures["rate"]
    if name == "collapsed":
        assert fault.figures["active_units"] == 0 and fault.severity == "serious"
        assert "beta=kvae.schedules.Linear" in fault.suggestion
    if name == "over_fitted":
        assert fault.figures["gap"] > 2 * fault.figures["gap_error"]


@pytest.mark.parametrize(("unused", "beta"), [(30, 4.0), (30, 1.0), (0, 4.0)])
def test_dimensions_without_a_use_hide_no_width(linear_gaussian, unused, beta):
    """A posterior of β = 4, whose variances follow from those of β = 1, in few of many latents."""
    w = np.pad(linear_gaussian.w, [(0, 0), (0, unused)])
    precision = np.sum(w**2, axis=0) / linear_gaussian.s**2
    model = exact(linear_gaussian, w=w)
    widen = np.log(beta / (beta + precision)) - np.log(1 / (1 + precision))
    vae = model.vae(widen=widen, objective=kvae.objectives.ELBO(beta=beta))
    fault = checks.width(Figures(vae, vae.as_dataset(model.draw(N, seed=1)), seed=0))
    if beta == 1.0:
        assert fault is None
    else:
        assert fault.name == "over_regularised"
        shares = np.exp(-0.5 * widen[:2])
        assert shares.min() * 0.9 < fault.figures["factor"] < shares.max() * 1.1


def test_what_limits_a_diagnosis_is_said(linear_gaussian, eagerly):
    draw = linear_gaussian.draw
    vae = linear_gaussian.vae(
        objective=kvae.objectives.ELBO(beta=kvae.schedules.Linear(0.0, 1.0, steps=100))
    )
    few, many = draw(36, seed=1), draw(N, seed=2)
    told = diagnose(vae, few, many)
    (sentence,) = told["limits"]  # A model without an optimizer does not say how it was trained.
    assert "36 examples tell only large faults" in sentence and "75 % of the sets" in sentence
    bounds = [Figures(vae, vae.as_dataset(x), seed=0).bound for x in (few, many)]
    error = 2 * sum(np.var(bound, ddof=1) / len(bound) for bound in bounds) ** 0.5
    assert f"below {error:.2g} nats" in sentence and "75 % of the sets" in " ".join(
        str(told).split()
    )
    assert diagnose(vae, many, many)["limits"] == []
    (sentence,) = diagnose(vae, few)["limits"]  # With one set there is no difference to find.
    error = 2 * np.std(bounds[0], ddof=1) / len(few) ** 0.5
    assert f"ELBO is uncertain by {error:.2g} nats" in sentence and "drift" not in sentence
    halving = keras.optimizers.schedules.ExponentialDecay(1e-3, 1000, 0.5)  # It has no end.
    vae.compile(keras.optimizers.SGD(halving))
    vae.optimizer.iterations.assign(600)
    assert diagnose(vae, many)["limits"] == []
    decay = keras.optimizers.schedules.CosineDecay(1e-3, 1000)
    vae.compile(keras.optimizers.SGD(decay))
    for steps, words in (
        (25, ("25 steps only", "`beta` of the objective is 0.25 at", "1000 steps, of which .* 25")),
        (600, ("1000 steps, of which .* 600",)),
        (1000, ()),
    ):
        vae.optimizer.iterations.assign(steps)
        found = diagnose(vae, many)["limits"]
        assert len(found) == len(words)
        for sentence, word in zip(found, words, strict=True):
            assert re.search(word, sentence)


@pytest.mark.slow  # By default a check is asked alone of its fault, and all of a healthy model.
@pytest.mark.parametrize("name", CASES)
def test_no_other_fault_is_found(case, name):
    vae, test, train = case(name)
    assert [fault.name for fault in diagnose(vae, test, train).faults] == [name.partition("-")[0]]


def test_a_model_without_fault(linear_gaussian, eagerly):
    vae, test, train = of()(linear_gaussian)
    result = diagnose(vae, test, train, name="mine")
    assert result.faults == () and not result.serious and result["faults"] == []
    assert "Diagnosis of mine" in str(result) and "No fault found." in str(result)
    assert len(result["checked"]) == 7 and result["num_training_examples"] == N


@pytest.mark.slow  # Ten more models without fault, as other seeds make them.
@pytest.mark.parametrize("seed", range(10))
def test_no_false_alarm(linear_gaussian, seed):
    train, test = (linear_gaussian.draw(N, seed=100 * seed + part) for part in (1, 2))
    assert diagnose(linear_gaussian.vae(widen=0.3), test, train, seed=seed).faults == ()
    alone = diagnose(linear_gaussian.vae(), test, num_examples=100)
    assert alone.faults == () and alone["num_examples"] == 100
    assert not {"drift", "over-fitting"} & set(alone["checked"])


def test_values_that_the_likelihood_does_not_take(make_vae, digits):
    vae = make_vae()
    result = diagnose(vae, digits * 255)
    (fault,) = result.faults
    assert fault.name == "wrong_range" and result.serious
    assert "Divide images of 0–255 by 255" in fault.suggestion
    assert "serious: wrong range" in str(result)
    for x, name in ((digits, "grey_values"), (np.round(digits), None)):
        fault = checks.range_of_data(Figures(vae, vae.as_dataset(x), seed=0))
        assert getattr(fault, "name", None) == name


def test_a_suggestion_is_tried(case, eagerly):
    vae, test, train = case("off_the_prior")
    own, seen = (Figures(vae, vae.as_dataset(x), seed=0) for x in (test, train))
    fault = checks.misfit(own, seen)
    found = tried(vae, fault.remedy, seen.data, own.data, epochs=1, num_samples=2, seed=0)
    # The ELBO gains what the fitted prior gives the codes more.
    assert found["difference"] == pytest.approx(fault.figures["gain"], rel=0.2)
    assert found["verdict"] == "it helps" and found["standard_error"] > 0
    assert found["told"].startswith("a mixture of Gaussians")


@pytest.mark.slow  # Two trainings each.
@pytest.mark.parametrize("name", ["collapsed", "sigma_too_large"])
def test_a_suggestion_is_tried_by_training(case, name):
    vae, test, train = case(name)
    before = vae.get_weights()
    result = diagnose(vae, test, train, try_suggestions=True, epochs=20, num_samples=5)
    (fault,) = result["faults"]
    helps = {"collapsed": "not distinguishable"}.get(name, "it helps")  # Noise has nothing to say.
    assert fault["trial"]["verdict"] == helps and fault["trial"]["epochs"] == 20
    assert "20 epochs): log p(x) differs by" in str(result)
    for one, other in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_asked_for_is_said(linear_gaussian):
    model = exact(linear_gaussian, w=0 * linear_gaussian.w)
    vae = model.vae(objective=kvae.objectives.ELBO(beta=4.0))
    fault = checks.collapse(Figures(vae, vae.as_dataset(model.draw(20, seed=1)), seed=0))
    assert "With beta = 4" in fault.suggestion


@pytest.mark.slow  # As test_a_model_without_fault, without a prior.
def test_an_autoencoder(make_vae, digits):
    vae = make_vae(posterior="delta", prior=None, likelihood="gaussian")
    result = diagnose(vae, digits, digits)
    assert result["checked"] == ["range of the data", "drift", "σ", "over-fitting"]


def test_what_is_wrong_is_said(linear_gaussian):
    x = linear_gaussian.draw(5, seed=1)
    with pytest.raises(ValueError, match="takes `train`"):
        diagnose(linear_gaussian.vae(), x, try_suggestions=True)
    with pytest.raises(ValueError, match="at least ten examples"):
        diagnose(linear_gaussian.vae(), x)
