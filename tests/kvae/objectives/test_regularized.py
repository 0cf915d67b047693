"""Capacity, free bits and the path gradient: hand-made values and closed forms."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import divergences
from kvae.priors import StandardNormal


def gaussians(kl):
    """Parameters of unit-variance Gaussians whose KLs to N(0, 1) are `kl` `[batch, latent_dim]`."""
    z_mean = tf.Variable(np.sqrt(2.0 * np.asarray(kl, "float32")))
    return {"z_mean": z_mean}


def penalized(objective, kl):
    """What the objective makes of the KLs, and the gradient of its mean by each KL."""

    class Model:
        latent_dim = np.shape(kl)[1]
        posterior, prior = kvae.posteriors.UnitVariance(latent_dim), StandardNormal(latent_dim)

    objective.attach(Model)
    params = gaussians(kl)
    with tf.GradientTape() as tape:
        total = divergences.closed_form_kl(Model.posterior, Model.prior)(params)
        value = objective.penalized(Model, params, total)
        mean = tf.reduce_mean(value)
    # d mean / d KL, from d KL / d z_mean = z_mean.
    gradient = tape.gradient(mean, params["z_mean"]) / params["z_mean"]
    assert value.shape == (len(kl),)
    return float(mean), len(kl) * gradient.numpy()


KL = [[1.0, 0.1, 3.0, 0.5], [2.0, 0.3, 1.0, 0.7]]  # Means 1.5, 0.2, 2.0, 0.6; 4.3 together.


def test_weight():
    value, gradient = penalized(kvae.objectives.ELBO(beta=2.0), KL)
    assert value == pytest.approx(2.0 * 4.3, rel=1e-5)
    np.testing.assert_allclose(gradient, np.full((2, 4), 2.0), rtol=1e-5)


def test_free_bits_for_each_dimension():
    value, gradient = penalized(kvae.objectives.ELBO(beta=2.0, free_bits=0.7), KL)
    assert value == pytest.approx(2.0 * (1.5 + 0.7 + 2.0 + 0.7), rel=1e-5)
    # By the batch's mean: 0.3 and 0.7 of the second example's are free like their columns.
    np.testing.assert_allclose(gradient, np.tile([2.0, 0.0, 2.0, 0.0], (2, 1)), rtol=1e-5)


def test_free_bits_for_groups():
    value, gradient = penalized(kvae.objectives.ELBO(free_bits=2.0, free_bits_groups=2), KL)
    assert value == pytest.approx(2.0 + 2.6, rel=1e-5)  # max(2, 1.7) + max(2, 2.6)
    np.testing.assert_allclose(gradient, np.tile([0.0, 0.0, 1.0, 1.0], (2, 1)), rtol=1e-5)


@pytest.mark.parametrize("free, value, slope", [(4.0, 4.3, 1.0), (5.0, 5.0, 0.0)])
def test_free_bits_in_total(free, value, slope):
    objective = kvae.objectives.ELBO(free_bits=free, free_bits_groups=1)
    found, gradient = penalized(objective, KL)
    assert found == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(gradient, np.full((2, 4), slope), rtol=1e-5)


@pytest.mark.parametrize("capacity, slope", [(3.0, 10.0), (5.0, -10.0)])
def test_capacity_pulls_from_both_sides(capacity, slope):
    value, gradient = penalized(kvae.objectives.ELBO(beta=10.0, capacity=capacity), KL)
    assert value == pytest.approx(10.0 * abs(4.3 - capacity), rel=1e-5)
    np.testing.assert_allclose(gradient, np.full((2, 4), slope), rtol=1e-5)


def test_reported_terms_stay_those_of_the_elbo(make_vae, digits):
    plain = make_vae().objective
    for settings in ({"free_bits": 3.0}, {"beta": 4.0, "capacity": 25.0}):
        vae = make_vae(objective=kvae.objectives.ELBO(**settings))
        terms = vae.objective.terms(vae, digits, digits, training=False, seed=1)
        expected = plain.terms(vae, digits, digits, training=False, seed=1)
        for name in ("elbo", "kl", "reconstruction"):
            np.testing.assert_array_equal(terms[name], expected[name])
        assert (np.asarray(terms["loss"]) > np.asarray(expected["loss"])).all()


@pytest.mark.slow  # 60 epochs; the loss is tested above.
def test_capacity_is_reached(make_vae, digits):
    vae = make_vae(objective=kvae.objectives.ELBO(beta=50.0, capacity=3.0))
    vae.compile(keras.optimizers.Adam(0.01))
    history = vae.fit(digits, epochs=60, batch_size=64, verbose=0).history
    assert history["kl"][-1] == pytest.approx(3.0, abs=0.5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"free_bits": -1.0}, "at least 0"),
        ({"free_bits": 1.0, "capacity": 2.0}, "contradict"),
        ({"free_bits": 1.0, "free_bits_groups": 0}, "at least 1"),
        ({"capacity": -2.0}, "`capacity` is at least 0"),
        ({"gradient": "score"}, "Unknown gradient 'score'"),
        ({"gradient": "path", "kl": "analytic"}, "has no samples"),
        ({"gradient": "path", "free_bits": 0.1}, "no path gradient. Use free_bits_groups=1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        kvae.objectives.ELBO(**settings)


def test_impossible_free_bits(make_vae):
    with pytest.raises(ValueError, match="FullCovariance.*no sum over latent dim.*groups=1"):
        make_vae(posterior="full_covariance", objective=kvae.objectives.ELBO(free_bits=1.0))
    with pytest.raises(ValueError, match="2 latent dimensions make no 3 equal groups"):
        make_vae(objective=kvae.objectives.ELBO(free_bits=1.0, free_bits_groups=3))
    make_vae(
        posterior="full_covariance",
        objective=kvae.objectives.ELBO(free_bits=1.0, free_bits_groups=1),
    )


# The path gradient.


def gradients(linear_gaussian, x, seed, shift=0.0, widen=0.0, **settings):
    vae = linear_gaussian.vae(shift, widen, objective=kvae.objectives.ELBO(**settings))
    with tf.GradientTape() as tape:
        terms = vae.objective.terms(vae, x, x, training=True, seed=seed)
        loss = tf.reduce_mean(terms["loss"])
    found = tape.gradient(loss, vae.encoder.trainable_variables)
    return np.concatenate([np.ravel(value) for value in found]), terms


def test_at_the_true_posterior_the_path_gradient_has_no_noise(linear_gaussian):
    x = linear_gaussian.draw(8, seed=0)
    path, terms = gradients(linear_gaussian, x, seed=1, gradient="path")
    usual, same = gradients(linear_gaussian, x, seed=1, kl="monte_carlo")
    np.testing.assert_allclose(terms["loss"], same["loss"], rtol=1e-5)  # The same estimate …
    np.testing.assert_allclose(path, 0.0, atol=2e-4)  # … and each draw's gradient is zero.
    assert np.abs(usual).max() > 0.05


@pytest.mark.slow  # The test below has it, of each term, for every density.
def test_away_from_it_the_two_have_one_mean(linear_gaussian):
    x = linear_gaussian.draw(4, seed=0)
    settings = {"shift": 0.3, "widen": 0.5, "num_samples": 500}
    runs = {
        kind: np.stack([gradients(linear_gaussian, x, s, **settings, **how)[0] for s in range(6)])
        for kind, how in {"path": {"gradient": "path"}, "usual": {"kl": "monte_carlo"}}.items()
    }
    errors = {kind: run.std(axis=0, ddof=1) / np.sqrt(6) for kind, run in runs.items()}
    gap = np.abs(runs["path"].mean(axis=0) - runs["usual"].mean(axis=0))
    assert (gap < 5 * np.hypot(errors["path"], errors["usual"]) + 1e-4).all()
    assert np.abs(runs["path"].mean(axis=0)).max() > 0.1


_PAIRS = {
    "full_covariance": "standard_normal",
    "low_rank": "standard_normal",
    "student_t": "standard_normal",
    "gaussian_mixture": "standard_normal",
    "power_spherical": "uniform_sphere",
}


@pytest.mark.default("gaussian_mixture", "power_spherical")
@pytest.mark.parametrize("name", _PAIRS)
def test_for_every_density_the_two_have_one_mean(name):
    """On equal draws they differ by the score ∇ log q(z|x), whose mean is 0."""

    class Model:
        posterior, prior = kvae.posteriors.get(name), kvae.priors.get(_PAIRS[name])

    Model.posterior.latent_dim = Model.prior.latent_dim = 3
    shapes = Model.posterior.parameter_shapes()
    rng = np.random.default_rng(2)
    rows = 60  # Of the same parameters: as many estimates.
    raw = {
        key: tf.constant(np.repeat(rng.normal(0, 0.5, (1, *shape)), rows, axis=0), tf.float32)
        for key, shape in shapes.items()
    }
    found = {}
    for kind, settings in {"path": {"gradient": "path"}, "usual": {"kl": "monte_carlo"}}.items():
        with tf.GradientTape() as tape:
            tape.watch(raw)
            _, kl = kvae.objectives.ELBO(num_samples=100, **settings).draw(
                Model, Model.posterior(raw), seed=kvae.random.as_seed(1), training=True
            )
        gradients = tape.gradient(kl, raw, unconnected_gradients="zero")
        found[kind] = np.concatenate(
            [np.reshape(value, (rows, -1)) for value in gradients.values()], axis=1
        )
    difference = found["path"] - found["usual"]
    error = difference.std(axis=0, ddof=1) / np.sqrt(rows)
    assert (error > 0).any() and (np.abs(found["path"].mean(axis=0)) > 8 * error).any()
    assert (np.abs(difference.mean(axis=0)) < 4 * error + 1e-4).all()


def test_a_point_mass_and_flows_have_no_path_gradient(make_vae):
    objective = {"objective": kvae.objectives.ELBO(gradient="path")}
    with pytest.raises(ValueError, match="Delta posterior has no density"):
        make_vae(posterior="delta", **objective)
    with pytest.raises(ValueError, match="Flow depends on weights of its own"):
        make_vae(posterior="planar", **objective)


def test_per_dimension_kls_sum_to_the_kl():
    rng = np.random.default_rng(0)
    params = {
        "z_mean": tf.constant(rng.normal(size=(5, 3)), tf.float32),
        "z_log_var": tf.constant(rng.normal(size=(5, 3)), tf.float32),
        "z_log_scale": tf.constant(rng.normal(size=(5, 3)), tf.float32),
        "batch": tf.zeros((5, 1)),
    }
    for name in ("diagonal_gaussian", "unit_variance", "laplace", "logistic", "prior_noise"):
        posterior, prior = kvae.posteriors.get(name), StandardNormal(3)
        posterior.latent_dim = 3
        posterior.attach(types.SimpleNamespace(prior=prior))
        each = divergences.kl_per_dimension(posterior, prior)(params)
        assert each.shape == (5, 3)
        total = divergences.closed_form_kl(posterior, prior)(params)
        np.testing.assert_allclose(np.sum(each, axis=-1), total, rtol=1e-5, atol=1e-6)
    assert (
        divergences.kl_per_dimension(kvae.posteriors.FullCovariance(3), StandardNormal(3)) is None
    )
    assert (
        divergences.closed_form_kl(kvae.posteriors.FullCovariance(3), StandardNormal(3)) is not None
    )
