"""The Gaussian likelihood with the optimal variance (σ-VAE)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.likelihoods import Gaussian

RNG = np.random.default_rng(0)
EVENT = (3, 4, 2)


def data(n=5, *lead):
    outputs = RNG.normal(size=(*lead, n, *EVENT)).astype("float32")
    return outputs, RNG.normal(size=(n, *EVENT)).astype("float32")


@pytest.mark.parametrize("lead", [(), (3,)])
def test_training_uses_the_mean_squared_error_of_the_batch(lead):
    likelihood, (outputs, x) = Gaussian("optimal"), data(5, *lead)
    mse = np.mean((np.float64(x) - outputs) ** 2)
    log_p = likelihood.log_prob(likelihood(outputs, training=True), x)
    assert log_p.shape == (*lead, 5)
    np.testing.assert_allclose(np.mean(log_p), -12 * np.log(2 * np.pi * np.e * mse), rtol=1e-5)
    for factor in (0.9, 1.1):  # No other variance does better.
        other = Gaussian(scale=np.sqrt(factor * mse))
        assert np.mean(other.log_prob(other(outputs), x)) < np.mean(log_p)


def test_the_gradient_is_that_of_the_logarithm_of_the_error():
    likelihood, (outputs, x) = Gaussian("optimal"), data()
    outputs = tf.constant(outputs)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(outputs)
        log_p = tf.reduce_sum(likelihood.log_prob(likelihood(outputs, training=True), x))
        exact = -60 * tf.math.log(tf.reduce_mean(tf.square(x - outputs)))
    np.testing.assert_allclose(
        tape.gradient(log_p, outputs), tape.gradient(exact, outputs), rtol=1e-4, atol=1e-6
    )


def test_evaluation_uses_the_stored_variance_and_leaves_it_alone():
    likelihood = Gaussian("optimal", scale=0.5, momentum=0.6)
    outputs, x = data()
    np.testing.assert_allclose(likelihood(outputs)["log_var"], 2 * np.log(0.5), rtol=1e-6)
    errors = []
    for _ in range(4):
        outputs, x = data()
        errors.append(np.mean((x - outputs) ** 2))
        likelihood.log_prob(likelihood(outputs, training=True), x)
    stored = np.mean(errors[:2])  # 1/steps until that is below 1 - momentum = 0.4.
    for error in errors[2:]:
        stored += 0.4 * (error - stored)
    np.testing.assert_allclose(likelihood.stored_variance, stored, rtol=1e-5)
    fixed, params = Gaussian(scale=np.sqrt(stored)), likelihood(outputs)
    together = likelihood.log_prob(params, x)
    np.testing.assert_allclose(together, fixed.log_prob(fixed(outputs), x), rtol=1e-5)
    # One example at a time gives the same figures.
    alone = likelihood.log_prob(likelihood(outputs[:1]), x[:1])
    np.testing.assert_allclose(alone, together[:1], rtol=1e-6)
    np.testing.assert_allclose(likelihood.stored_variance, stored, rtol=1e-5)
    assert not likelihood.trainable_variables


def test_draws_have_the_stored_variance():
    likelihood = Gaussian("optimal", scale=0.3)
    draws = likelihood.sample(likelihood(np.zeros((20_000, 2), "float32")), 1)
    np.testing.assert_allclose(np.var(draws, axis=0), 0.09, rtol=0.05)


def test_a_perfect_reconstruction_stays_finite():
    likelihood, x = Gaussian("optimal", log_var_bound=6.0), tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_p = likelihood.log_prob(likelihood(x, training=True), np.ones((2, 3), "float32"))
    np.testing.assert_allclose(log_p, -1.5 * (np.log(2 * np.pi) - 6.0), rtol=1e-5)
    assert np.isfinite(tape.gradient(log_p, x)).all()
    assert np.isfinite(likelihood(x)["log_var"]).all()


@pytest.mark.default("True")
@pytest.mark.parametrize("eager", [True, False])
def test_a_model_trains_stores_and_saves_it(eager, make_vae, digits, tmp_path):
    likelihood = Gaussian("optimal")
    vae = make_vae(likelihood=likelihood, optimizer="adam", eager=eager)
    vae.fit(digits, batch_size=32, epochs=1, verbose=0)
    assert float(likelihood.steps) == 2
    assert 0.01 < float(likelihood.stored_variance) < 0.5  # Of pixels in [0, 1]; the start is 1.
    stored = float(likelihood.stored_variance)
    one = vae.evaluate(digits, batch_size=64, verbose=0, return_dict=True)
    two = vae.evaluate(digits, batch_size=64, verbose=0, return_dict=True)
    assert one == two and float(likelihood.stored_variance) == stored
    vae.save(tmp_path / "m.keras")
    copy = keras.saving.load_model(tmp_path / "m.keras")
    assert copy.likelihood.get_config() == likelihood.get_config()
    assert float(copy.likelihood.stored_variance) == stored
    np.testing.assert_array_equal(
        copy.log_prob(digits[:4], 3).value, vae.log_prob(digits[:4], 3).value
    )


def test_momentum_out_of_range():
    for bad in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="`momentum` is in"):
            Gaussian("optimal", momentum=bad)
