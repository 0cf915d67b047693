"""Annealed importance sampling against the exact log p(x) of a linear-Gaussian model."""

import numpy as np
import pytest
import scipy.special

import kvae
from kvae.evaluation import annealed_log_prob

N = 6


@pytest.fixture(scope="module")
def x(linear_gaussian):
    return linear_gaussian.draw(N, seed=2)


@pytest.fixture(scope="module")
def vae(linear_gaussian):
    return linear_gaussian.vae(shift=0.3, widen=0.7)


@pytest.mark.slow  # The two tests below are exact, and have both starts.
@pytest.mark.parametrize("start", ["posterior", "prior"])
def test_recovers_the_exact_log_prob(linear_gaussian, vae, x, start, eagerly):
    estimate = annealed_log_prob(
        vae, x, num_chains=100, num_steps=80, num_leapfrog=5, start=start, seed=1, batch_size=4
    )
    error = estimate.monte_carlo_error
    assert (error > 0).all() and (error < 0.08).all()
    assert (np.abs(estimate.value - linear_gaussian.log_prob(x)) < 4 * error).all()
    assert (estimate.effective_sample_size > 60).all()


def test_few_steps_have_no_bias(linear_gaussian, vae, x):
    """E[w] = p(x) for any number of steps: moves that are not invariant would show here."""
    estimate = annealed_log_prob(
        vae, x, num_chains=20_000, num_steps=8, num_leapfrog=4, start="prior", seed=3
    )
    error = estimate.monte_carlo_error
    assert (error < 0.05).all()
    assert (np.abs(estimate.value - linear_gaussian.log_prob(x)) < 4 * error).all()
    # And they are better than none: plain samples of the prior.
    plain = annealed_log_prob(vae, x, num_chains=20_000, num_steps=1, start="prior", seed=3)
    assert (error < 0.7 * plain.monte_carlo_error).all()


def test_one_step_is_importance_sampling(vae, x):
    estimate = annealed_log_prob(vae, x, num_chains=30, num_steps=1, seed=5)
    batch_seed = kvae.random.fold_in(kvae.random.as_seed(5), 0)
    chain_seed = kvae.random.split(batch_seed)[1]
    params = vae.encode(x)
    z = vae.posterior.sample(params, 30, seed=kvae.random.split(chain_seed)[0])
    log_w = vae.likelihood.log_prob(vae.decode_params(z), x) + vae.prior.log_prob(z)
    log_w = np.float64(log_w - vae.posterior.log_prob(params, z))
    exact = scipy.special.logsumexp(log_w, axis=0) - np.log(30)
    np.testing.assert_allclose(estimate.value, exact, rtol=1e-5)
    w = np.exp(log_w - log_w.max(axis=0))
    left_out = np.log((w.sum(axis=0) - w) / 29)
    np.testing.assert_allclose(
        estimate.monte_carlo_error, np.sqrt(29 * left_out.var(axis=0)), rtol=1e-3
    )


@pytest.mark.slow  # `test_few_steps_have_no_bias` starts from the prior as well.
def test_finds_what_the_posterior_misses(linear_gaussian, x):
    """A posterior that is far off: annealing repairs what importance samples cannot."""
    off = linear_gaussian.vae(shift=2.0, widen=-2.0)
    exact = linear_gaussian.log_prob(x)
    with pytest.warns(UserWarning, match="annealed_log_prob"):
        sampled = off.log_prob(x, num_samples=200).value
    annealed = annealed_log_prob(off, x, num_chains=20, num_steps=60, num_leapfrog=5, start="prior")
    assert np.mean(exact - sampled) > 3.0
    assert np.abs(np.mean(exact - annealed.value)) < 0.1


def test_repeats_by_its_seed(vae, x):
    options = {"num_chains": 3, "num_steps": 5, "num_leapfrog": 2, "batch_size": 4}
    seen = []
    first = annealed_log_prob(vae, x, seed=1, progress=seen.append, **options)
    again = annealed_log_prob(vae, kvae.datasets.Dataset(x), seed=1, **options)
    other = annealed_log_prob(vae, x, seed=2, **options)
    np.testing.assert_array_equal(first.value, again.value)
    assert not np.array_equal(first.value, other.value)
    assert seen == [4, 6]


@pytest.mark.slow  # The labels take the way that `log_prob` has in `test_conditional.py`.
def test_of_a_conditional_model(make_vae):
    """p(x|y) of a model whose decoder does not look at z is known."""
    import keras
    from keras import layers

    classes, log_odds = np.array([1, 0, 2]), np.random.default_rng(0).normal(size=(3, 4))
    z, y, image = keras.Input((2,)), keras.Input((3,)), keras.Input((4,))
    decoder = keras.Model([z, y], layers.Dense(4, use_bias=False)(y))
    encoder = keras.Model([image, y], layers.Dense(4)(image))
    vae = make_vae((4,), encoder=encoder, decoder=decoder, num_classes=3, prior="class_conditional")
    decoder.set_weights([log_odds])
    vae.prior.means.assign([[0.0, 1.0], [2.0, 0.0], [0.0, -1.0]])
    x = np.eye(4)[:3]
    signs = 2 * x - 1
    exact = -np.log1p(np.exp(-signs * log_odds[classes])).sum(axis=1)
    estimate = annealed_log_prob(
        vae, x, label=classes, start="prior", num_chains=5, num_steps=3, num_leapfrog=2
    )
    np.testing.assert_allclose(estimate.value, exact, rtol=1e-5)
    with pytest.raises(ValueError, match="needs labels"):
        annealed_log_prob(vae, x)


def test_a_formula_for_the_gradient_changes_nothing(make_vae, digits, monkeypatch):
    x, options = digits[:2] > 0.5, {"num_chains": 3, "num_steps": 2, "num_leapfrog": 3}
    vae = make_vae(optimizer="adam", eager=True)
    quick = annealed_log_prob(vae, x, **options).value
    monkeypatch.setattr(type(vae.likelihood), "log_prob_gradient", lambda self, params, x: None)
    np.testing.assert_allclose(quick, annealed_log_prob(vae, x, **options).value, rtol=1e-6)


def test_refuses(make_vae, vae, x, digits):
    with pytest.raises(ValueError, match="no log p"):
        annealed_log_prob(make_vae(posterior="delta", prior=None), digits)
    sphere = make_vae(latent_dim=3, posterior="power_spherical", prior="uniform_sphere")
    with pytest.raises(ValueError, match="sphere"):
        annealed_log_prob(sphere, digits)
    with pytest.raises(ValueError, match="'posterior'"):
        annealed_log_prob(vae, x, start="posteriors")
    with pytest.raises(ValueError, match="`num_steps` is a whole number of at least 1"):
        annealed_log_prob(vae, x, num_steps=0)
