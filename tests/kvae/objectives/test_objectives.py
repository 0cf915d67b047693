"""kvae.objectives: the ELBO, its gradient and its terms on a model with closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import objectives
from kvae.objectives import ELBO, Objective
from kvae.priors import StandardNormal

N, SHIFT, WIDEN = 8, 0.3, 0.4


@pytest.fixture(scope="module")
def x(linear_gaussian):
    return linear_gaussian.draw(N, seed=1)


def closed_form(model, x):
    """The two terms of −ELBO per example, and their gradients averaged over the batch."""
    w, s2 = model.w, model.s**2
    mean = (x - model.b) @ model.a.T + SHIFT
    variance = model.variance * np.exp(WIDEN)
    residual = x - mean @ w.T - model.b
    squared_columns = np.sum(w**2, axis=0)
    expected_square = np.sum(residual**2, axis=1) + np.sum(variance * squared_columns)
    reconstruction = 0.5 * (expected_square / s2 + len(model.b) * np.log(2 * np.pi * s2))
    kl = 0.5 * np.sum(variance + mean**2 - 1 - np.log(variance), axis=1)
    by_mean = -(residual @ w) / s2
    by_log_var = 0.5 * variance * squared_columns / s2

    def gradients(beta):
        z_mean = by_mean + beta * mean
        z_log_var = np.tile(by_log_var + 0.5 * beta * (variance - 1), (N, 1))
        return {
            "mean": (x.T @ z_mean / N, z_mean.mean(axis=0)),
            "log_var": (x.T @ z_log_var / N, z_log_var.mean(axis=0)),
            "w": (
                -(mean.T @ residual / N - variance[:, None] * w.T) / s2,
                -residual.mean(axis=0) / s2,
            ),
        }

    return reconstruction, kl, gradients


def repeated(vae, x, seeds):
    """Terms `[seeds, N]` and the gradients of the mean loss, `[seeds, ...]`, by layer."""
    layers = [vae.encoder.get_layer("mean"), vae.encoder.get_layer("log_var")]
    layers.append(vae.decoder.get_layer("w"))
    variables = [variable.value for layer in layers for variable in layer.trainable_variables]

    @tf.function(autograph=False)
    def once(seed):
        with tf.GradientTape() as tape:
            terms = vae.objective.terms(vae, x, x, training=True, seed=seed)
            loss = tf.reduce_mean(terms["loss"])
        return terms, tape.gradient(loss, variables)

    runs = [once(kvae.random.as_seed(seed)) for seed in range(seeds)]
    terms = {name: np.stack([run[0][name] for run in runs]) for name in runs[0][0]}
    gradients = [np.stack([run[1][i] for run in runs]) for i in range(len(variables))]
    names = [layer.name for layer in layers]
    return terms, dict(zip(names, zip(gradients[::2], gradients[1::2], strict=True), strict=True))


def assert_unbiased(estimates, exact, sigmas=5.0):
    """`estimates` `[runs, ...]` average to `exact`, within their standard error."""
    standard_error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    error = np.abs(estimates.mean(axis=0) - exact)
    assert (error <= sigmas * standard_error + 1e-4).all(), (error, standard_error)
    assert standard_error.max() < 0.1 * np.abs(exact).max()  # Otherwise it shows nothing.


@pytest.mark.default("1.0-monte_carlo", "2.5-analytic")
@pytest.mark.parametrize("kl", ["analytic", "monte_carlo"])
@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_terms_and_gradients_are_unbiased(linear_gaussian, x, kl, beta):
    objective = ELBO(beta=beta, num_samples=20, kl=kl)
    vae = linear_gaussian.vae(SHIFT, WIDEN, objective=objective)
    terms, gradients = repeated(vae, x, seeds=100)
    reconstruction, exact_kl, exact_gradients = closed_form(linear_gaussian, x)
    assert_unbiased(terms["reconstruction"], reconstruction)
    assert_unbiased(terms["kl"], exact_kl)
    assert_unbiased(terms["elbo"], -(reconstruction + exact_kl))  # β is no part of it.
    assert_unbiased(terms["loss"], reconstruction + beta * exact_kl)
    for name, exact in exact_gradients(beta).items():
        for estimates, gradient in zip(gradients[name], exact, strict=True):
            assert_unbiased(estimates, gradient)


def test_only_the_analytic_kl_is_free_of_noise(linear_gaussian, x):
    for kl, noisy in (("auto", False), ("analytic", False), ("monte_carlo", True)):
        vae = linear_gaussian.vae(SHIFT, WIDEN, objective=ELBO(kl=kl))
        values = [vae.objective.terms(vae, x, x, training=False, seed=s)["kl"] for s in (0, 1)]
        assert np.array_equal(*values) != noisy
        if not noisy:
            np.testing.assert_allclose(
                values[0], closed_form(linear_gaussian, x)[1], rtol=1e-4, atol=1e-5
            )


def test_several_samples_average_single_ones(linear_gaussian, x):
    vae = linear_gaussian.vae(SHIFT, WIDEN, objective=ELBO(num_samples=3))
    params = vae.encode_params(x)
    z = vae.posterior.sample(params, 3, seed=4)
    by_sample = [-vae.likelihood.log_prob(vae.decode_params(sample), x) for sample in z]
    terms = vae.objective.terms(vae, x, x, training=False, seed=4)
    np.testing.assert_allclose(terms["reconstruction"], np.mean(by_sample, axis=0), rtol=1e-5)


def test_the_target_is_what_is_reconstructed(linear_gaussian, x):
    vae = linear_gaussian.vae()
    terms = vae.objective.terms(vae, x, x[::-1], training=False, seed=4)
    z = vae.posterior.sample(vae.encode_params(x), 1, seed=4)[0]
    log_p = vae.likelihood.log_prob(vae.decode_params(z), x[::-1])
    np.testing.assert_allclose(terms["reconstruction"], -log_p, rtol=1e-5)


def test_without_a_closed_form_auto_samples_and_analytic_refuses(linear_gaussian, x):
    class Shifted(kvae.priors.Prior):
        def transform(self, noise, temperature=1.0):
            return temperature * noise["noise"] + 1.0

        def log_prob(self, z):
            return StandardNormal(2).log_prob(z - 1.0)

    vae = linear_gaussian.vae(SHIFT, WIDEN, prior=Shifted(), objective=ELBO(num_samples=50))
    terms, _ = repeated(vae, x, seeds=40)
    mean = vae.encode(x)["z_mean"].numpy()
    moved = 0.5 * np.sum((mean - 1) ** 2 - mean**2, axis=1)
    assert_unbiased(terms["kl"], closed_form(linear_gaussian, x)[1] + moved)
    with pytest.raises(ValueError, match="No closed-form KL.*DiagonalGaussian and Shifted"):
        ELBO(kl="analytic").terms(vae, x, x, training=False, seed=0)


def test_a_point_mass_pays_its_penalty_in_the_loss_alone(make_vae, digits):
    penalised = kvae.posteriors.Delta(l1=0.25, l2=0.5)
    vae = make_vae(posterior=penalised, prior=None)
    z = vae.encode(digits)["z_mean"].numpy().astype(np.float64)
    terms = vae.objective.terms(vae, digits, digits, training=False, seed=0)
    penalty = 0.25 * np.abs(z).sum(axis=1) + 0.5 * (z**2).sum(axis=1)
    np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + penalty, rtol=1e-5)
    np.testing.assert_array_equal(terms["kl"], np.zeros(len(digits)))
    np.testing.assert_array_equal(terms["elbo"], -terms["reconstruction"])
    assert penalty.max() > 0.1


def test_a_new_objective_needs_no_new_training_step(make_vae, digits, eagerly):
    class Counting(ELBO):
        def __init__(self):
            super().__init__(beta=0.0)
            self.steps = self.add_weight(name="steps", initializer="zeros", trainable=False)
            self.prepared = None

        def prepare(self, vae):
            super().prepare(vae)
            self.prepared = vae.event_shape

        def terms(self, vae, x, target, *, training, seed):
            terms = super().terms(vae, x, target, training=training, seed=seed)
            return {**terms, "twice": 2.0 * terms["kl"]}

        def metric_names(self):
            return (*super().metric_names(), "twice")

        def update(self, vae, x, target, terms, seed):
            self.steps.assign_add(tf.reduce_mean(terms["twice"] / (2.0 * terms["kl"])))

    vae = make_vae(objective=Counting(), optimizer="adam", eager=True)
    assert vae.objective.prepared == (8, 8, 1)
    history = vae.fit(digits, batch_size=32, epochs=2, validation_data=digits, verbose=0).history
    # Two epochs of two batches; none in validation.
    assert float(vae.objective.steps) == pytest.approx(4)
    np.testing.assert_allclose(history["twice"], 2 * np.array(history["kl"]), rtol=1e-5)
    np.testing.assert_allclose(history["val_twice"], 2 * np.array(history["val_kl"]), rtol=1e-5)
    np.testing.assert_allclose(history["loss"], history["reconstruction"], rtol=1e-6)


def test_config_round_trip_and_errors():
    part = ELBO(beta=3.0, num_samples=4, kl="monte_carlo")
    copy = objectives.get(keras.saving.serialize_keras_object(part))
    assert isinstance(copy, ELBO) and isinstance(copy, Objective)
    assert (copy.beta, copy.num_samples, copy.kl) == (3.0, 4, "monte_carlo")
    assert isinstance(objectives.get("elbo"), ELBO)
    with pytest.raises(ValueError, match="Unknown objective 'ebo'.*'elbo'"):
        objectives.get("ebo")
    with pytest.raises(ValueError, match="Unknown kl 'analytc'.*'analytic'"):
        ELBO(kl="analytc")
    with pytest.raises(ValueError, match="`num_samples`.*0"):
        ELBO(num_samples=0)
    with pytest.raises(ValueError, match="`beta`.*-1"):
        ELBO(beta=-1.0)
