"""BetaTCVAE: the three parts of the KL against quadrature and closed forms."""

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae.objectives.beta_tcvae import kl_parts
from kvae.priors import StandardNormal

N = 5
STRATIFIED = {"estimator": "minibatch_stratified", "dataset_size": N}


@pytest.fixture(scope="module")
def posteriors():
    """Parameters of N Gaussians in two dimensions, whose means are correlated."""
    rng = np.random.default_rng(0)
    z_mean = np.linspace(-2, 2, N)[:, None] * [1.0, 0.7] + 0.4 * rng.normal(size=(N, 2))
    return {"z_mean": z_mean, "z_log_var": rng.uniform(-2.0, -1.0, (N, 2))}


def exact_parts(params):
    """I(x; z), TC(z) and Σ KL(q(z_i) ‖ p(z_i)), by quadrature over a grid."""
    grid = np.linspace(-8, 8, 801)
    step = grid[1] - grid[0]
    scale = np.exp(0.5 * params["z_log_var"])
    each = scipy.stats.norm.pdf(grid[:, None, None], params["z_mean"], scale)  # [grid, N, 2]
    marginal = each.mean(axis=1)
    joint = np.einsum("an,bn->ab", each[..., 0], each[..., 1]) / N
    prior = scipy.stats.norm.logpdf(grid)

    def integral(density, values):
        return np.sum(density * values) * step**density.ndim

    entropy = -integral(joint, np.log(joint))
    conditional = np.mean(np.sum(0.5 * np.log(2 * np.pi * np.e) + np.log(scale), axis=1))
    entropies = [-integral(q, np.log(q)) for q in marginal.T]
    each_kl = [-h - integral(q, prior) for h, q in zip(entropies, marginal.T, strict=True)]
    return entropy - conditional, sum(entropies) - entropy, sum(each_kl)


@pytest.mark.parametrize("settings", [{}, STRATIFIED], ids=["weighted", "stratified"])
def test_with_all_the_data_in_the_batch_the_parts_are_exact(posteriors, settings):
    posterior, objective = (
        kvae.posteriors.DiagonalGaussian(2),
        kvae.objectives.BetaTCVAE(**settings),
    )
    params = {name: tf.constant(value, tf.float32) for name, value in posteriors.items()}
    weights, runs = objective._log_weights(N), []
    for seed in range(20):
        z = posterior.sample(params, 200, seed=seed)
        parts = kl_parts(posterior, StandardNormal(2), params, z, weights)
        assert all(part.shape == (N,) for part in parts)
        runs.append([np.mean(part) for part in parts])
    exact = exact_parts(posteriors)
    error = np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs))
    assert (np.abs(np.mean(runs, axis=0) - exact) < 4 * error).all()
    assert (np.array(exact) > 10 * error).all()  # Otherwise it shows nothing.


def test_a_gaussian_aggregate_has_the_closed_forms():
    """One and the same correlated Gaussian for every x: no information, all of it correlation."""
    posterior = kvae.posteriors.FullCovariance(2)
    params = posterior(
        {
            "z_mean": tf.fill([N, 2], 0.5),
            "z_log_var": tf.zeros([N, 2]),
            "z_lower": tf.fill([N, 1], 1.3),
        }
    )
    z = posterior.sample(params, 20_000, seed=2)
    weights = kvae.objectives.BetaTCVAE(**STRATIFIED)._log_weights(N)
    information, correlation, each = kl_parts(posterior, StandardNormal(2), params, z, weights)
    variance = np.array([1.0, 1.0 + 1.3**2])
    np.testing.assert_allclose(information, 0.0, atol=1e-4)
    exact = 0.5 * np.sum(np.log(variance))  # The determinant of the covariance is 1.
    assert np.mean(correlation) == pytest.approx(exact, abs=0.02)
    exact = 0.5 * np.sum(variance + 0.5**2 - 1 - np.log(variance))
    assert np.mean(each) == pytest.approx(exact, abs=0.03)


def test_the_stratified_density_has_no_bias():
    """Averaged over every batch of three that holds i, it is the average of all the posteriors."""
    density = np.random.default_rng(3).random((N, N))  # q(z_i | n_j).
    weights = np.exp(kvae.objectives.BetaTCVAE(**STRATIFIED)._log_weights(3).numpy())
    for i in range(N):
        others = [j for j in range(N) if j != i]
        estimates = [
            np.sum(weights[0] * density[i, [i, *batch]])
            for batch in itertools.combinations(others, 2)
        ]
        assert np.mean(estimates) == pytest.approx(density[i].mean(), rel=1e-5)
        assert np.std(estimates) > 0.01


def test_the_paper_s_constant_moves_the_parts_and_no_gradient(posteriors):
    posterior, prior = kvae.posteriors.DiagonalGaussian(2), StandardNormal(2)
    params = {name: tf.constant(value, tf.float32) for name, value in posteriors.items()}
    weights, found = kvae.objectives.BetaTCVAE()._log_weights(N), []
    for log_weights in (weights, weights - np.log(1000.0)):  # 1/M and 1/(N M), with N = 1000.
        with tf.GradientTape() as tape:
            tape.watch(params)
            parts = kl_parts(
                posterior, prior, params, posterior.sample(params, 1, seed=0), log_weights
            )
            cost = tf.reduce_mean(parts[0] + 6.0 * parts[1] + 2.0 * parts[2])
        gradients = tape.gradient(cost, params)
        found.append((parts, gradients))
    for name in params:
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-3, atol=1e-5)
    moved = [np.mean(b - a) for a, b in zip(found[0][0], found[1][0], strict=True)]
    np.testing.assert_allclose(moved, np.log(1000.0) * np.array([1, 1, -2]), rtol=1e-4)


def terms_and_gradient(make_vae, x, objective):
    vae = make_vae(objective=objective)
    with tf.GradientTape() as tape:
        terms = vae.objective.terms(vae, x, x, training=True, seed=5)
        loss = tf.reduce_mean(terms["loss"])
    return terms, tape.gradient(loss, vae.trainable_variables)


def test_equal_weights_make_the_elbo(make_vae, digits):
    equal = kvae.objectives.BetaTCVAE(alpha=2.0, beta=2.0, gamma=2.0)
    terms, gradients = terms_and_gradient(make_vae, digits, equal)
    expected, others = terms_and_gradient(make_vae, digits, kvae.objectives.ELBO(beta=2.0))
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-6)
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "full_covariance", "student_t"])
def test_the_loss_weighs_the_parts_and_reports_the_plain_bound(make_vae, digits, posterior):
    weights = {"alpha": 0.5, "beta": 4.0, "gamma": 2.0}
    objective = kvae.objectives.BetaTCVAE(**weights, kl="monte_carlo", num_samples=3)
    vae = make_vae(posterior=posterior, objective=objective)
    terms = objective.terms(vae, digits, digits, training=False, seed=1)
    names = ("mutual_information", "total_correlation", "dimension_wise_kl")
    parts = [terms[name] for name in names]
    np.testing.assert_allclose(sum(parts), terms["kl"], rtol=1e-3, atol=1e-4)
    cost = sum(weight * part for weight, part in zip(weights.values(), parts, strict=True))
    np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + cost, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)


@pytest.mark.slow  # Compiled by XLA.
def test_the_parts_are_the_same_under_xla(posteriors):
    params = {name: tf.constant(value, tf.float32) for name, value in posteriors.items()}

    def parts_and_gradient(params):
        posterior = kvae.posteriors.DiagonalGaussian(2)
        z = posterior.sample(params, 1, seed=0)
        weights = kvae.objectives.BetaTCVAE(**STRATIFIED)._log_weights(tf.shape(z)[1])
        with tf.GradientTape() as tape:
            tape.watch(params)
            parts = kl_parts(posterior, StandardNormal(2), params, z, weights)
            total = tf.reduce_sum(parts[0] + 2.0 * parts[1])
        return parts, tape.gradient(total, params)

    compiled = tf.function(parts_and_gradient, jit_compile=True)(params)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        compiled,
        parts_and_gradient(params),
    )


@pytest.mark.slow  # A training; `test_parts.py` has the reports.
def test_trains_in_half_precision_reports_and_comes_back(make_vae, digits, tmp_path, policy):
    policy("mixed_float16")
    objective = kvae.objectives.BetaTCVAE(
        beta=kvae.schedules.Linear(1.0, 6.0, steps=4),
        dataset_size=len(digits),
        estimator="minibatch_stratified",
    )
    vae = make_vae(objective=objective)
    vae.compile("adam", run_eagerly=True)
    history = vae.fit(digits, batch_size=32, epochs=2, verbose=0).history
    assert np.isfinite(history["total_correlation"]).all()
    assert history["beta"] == [pytest.approx(3.5), 6.0]
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.objective.get_config() == objective.get_config()
    here, there = (
        model.objective.terms(model, digits, digits, training=False, seed=0)
        for model in (vae, loaded)
    )
    for name, value in here.items():
        np.testing.assert_array_equal(value, there[name])


def test_one_example_is_no_batch_but_no_error(make_vae, digits):
    for settings in ({}, STRATIFIED):
        vae = make_vae(objective=kvae.objectives.BetaTCVAE(**settings))
        terms = vae.objective.terms(vae, digits[:1], digits[:1], training=True, seed=0)
        assert all(np.isfinite(value).all() for value in terms.values())


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="give `dataset_size`"):
        kvae.objectives.BetaTCVAE(estimator="minibatch_stratified")
    with pytest.raises(ValueError, match="Unknown estimator 'weighted'"):
        kvae.objectives.BetaTCVAE(estimator="weighted")
    with pytest.raises(ValueError, match="`dataset_size` is at least 2, not 1"):
        kvae.objectives.BetaTCVAE(dataset_size=1)
    with pytest.raises(ValueError, match="`gamma` is at least 0"):
        kvae.objectives.BetaTCVAE(gamma=-1.0)
    for parts, message in (
        ({"posterior": "delta"}, "a Delta posterior does not know"),
        ({"posterior": "delta", "prior": None}, "this model has none"),
        ({"posterior": "iaf"}, "a Flow posterior does not know"),
        ({"prior": "gaussian_mixture"}, "GaussianMixture prior are not independent"),
        ({"prior": "class_conditional", "num_classes": 2}, "depends on the label"),
        (
            {
                "posterior": kvae.posteriors.GumbelSoftmax(num_categories=2),
                "prior": "uniform_categorical",
            },
            "GumbelSoftmax posterior is discrete",
        ),
    ):
        if parts.get("prior") == "uniform_categorical":
            parts["prior"] = kvae.priors.UniformCategorical(num_categories=2)
        with pytest.raises(ValueError, match=message):
            make_vae(objective="beta_tcvae", **parts)
