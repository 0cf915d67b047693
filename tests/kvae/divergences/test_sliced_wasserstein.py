"""The sliced Wasserstein distance, and the objective that holds it."""

import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.divergences import sliced_wasserstein


def test_on_a_line_it_is_optimal_transport():
    """Of one dimension every direction is ±1: the best of all matchings, by SciPy."""
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1)), 2.0 + 3.0 * rng.normal(size=(20, 1))
    costs = (x - y.T) ** 2
    exact = costs[linear_sum_assignment(costs)].mean()
    found = sliced_wasserstein(x.astype("float32"), y.astype("float32"), 3, seed=1)
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    assert exact < 0.9 * costs.mean()


@pytest.mark.parametrize("shift, scale", [(0.0, 1.0), (1.5, 1.0), (0.7, 2.0)])
def test_of_gaussians_it_has_the_closed_form(shift, scale):
    """Between N(m, s² I) and N(0, I) in d dimensions it is |m|² / d + (1 − s)²."""
    x = scale * kvae.random.normal([1000, 3], 0) + [shift, 0.0, 0.0]
    found = sliced_wasserstein(x, kvae.random.normal([1000, 3], 1), 1500, seed=2)
    np.testing.assert_allclose(found, shift**2 / 3 + (1.0 - scale) ** 2, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "delta"])
def test_the_loss_of_an_swae(make_vae, digits, posterior):
    objective = kvae.objectives.SWAE(lambda_=3.0, num_projections=7, num_samples=2)
    vae = make_vae(posterior=posterior, objective=objective)
    x = tf.constant(digits)
    with tf.GradientTape() as tape:
        terms = objective.terms(vae, x, x, training=False, seed=4)
        distance = tf.reduce_mean(terms["sliced_wasserstein"])
    gradients = tape.gradient(distance, vae.encoder.trainable_variables)
    assert all(np.any(gradient != 0) for gradient in gradients)
    z = vae.posterior.sample(vae.encode(digits), 2, seed=4)
    drawn = tf.reshape(vae.prior.sample(128, kvae.random.fold_in(4, 1)), (2, 64, 2))
    value = np.mean(sliced_wasserstein(z, drawn, 7, seed=kvae.random.fold_in(4, 2)))
    np.testing.assert_allclose(terms["sliced_wasserstein"], np.full(64, value), rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + 3.0 * value, rtol=1e-5)
    with pytest.raises(ValueError, match="`num_projections` is at least 1, not 0"):
        kvae.objectives.SWAE(num_projections=0)
