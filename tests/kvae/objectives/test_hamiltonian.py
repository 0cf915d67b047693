"""The Hamiltonian bound: unbiased weights, what is left without steps, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf

from kvae.distributions.gaussian import standard_log_density
from kvae.objectives import HamiltonianELBO
from kvae.testing.models import examples, tiny_vae


def terms(objective, rows=1):
    """The terms of the first example, in so many rows with noise of their own."""
    vae = tiny_vae(1, objective=objective)
    vae.build((None, *vae.event_shape))
    # q(z|x) is N(0, 1), and the decoder depends on z, so that the steps have somewhere to go.
    vae.posterior.set_weights([np.zeros_like(w) for w in vae.posterior.get_weights()])
    vae.decoder.set_weights([0.5 * np.sign(w) + w for w in vae.decoder.get_weights()])
    x = tf.repeat(examples(vae)[:1], rows, axis=0)
    return vae, x, objective.terms(vae, x, x, training=False, seed=0)


@pytest.mark.parametrize("tempering", [1.0, 0.4])
def test_weights_average_to_p_of_x_and_the_bound_is_tighter(tempering):
    """E[exp(log w)] = p(x) holds only if volumes, momenta and densities are all accounted for."""
    objective = HamiltonianELBO(num_steps=4, step_size=0.2, tempering=tempering)
    vae, x, found = terms(objective, rows=5000)
    grid = np.linspace(-8, 8, 1601, dtype="float32")[:, None]
    log_px = vae.likelihood.log_prob(vae.decode_params(grid), tf.repeat(x[:1], len(grid), axis=0))
    log_joint = np.float64(log_px + standard_log_density(grid)[:, 0])
    exact = np.log(np.sum(np.exp(log_joint)) * 0.01)
    weights = np.exp(np.float64(found["hamiltonian"]) - exact)
    error = weights.std() / np.sqrt(len(weights))
    assert error < 0.02 and abs(weights.mean() - 1.0) < 5 * error
    bound, elbo = (np.mean(found[name]) for name in ("hamiltonian", "elbo"))
    assert elbo + 0.02 < bound < exact
    np.testing.assert_array_equal(found["loss"], -found["hamiltonian"])


def test_without_way_and_tempering_it_is_the_elbo_of_the_same_draws():
    objective = HamiltonianELBO(num_steps=2, step_size=1e-6, tempering=1.0, num_samples=3)
    _, _, found = terms(objective, rows=4)
    np.testing.assert_allclose(found["hamiltonian"], found["elbo"], rtol=1e-4)
    assert len(objective.trainable_variables) == 1  # The step sizes: there is no tempering.


def test_the_steps_and_the_tempering_are_trained_with_the_model():
    objective = HamiltonianELBO(num_steps=2, step_size=0.2)
    vae, x, _ = terms(objective)
    own = {variable.name for variable in objective.trainable_variables}
    assert own == {"step_logits", "tempering_logit"}
    before = [np.array(variable) for variable in objective.trainable_variables]
    vae.compile("sgd", run_eagerly=True)
    vae.train_on_batch(tf.repeat(x, 8, axis=0))
    for variable, old in zip(objective.trainable_variables, before, strict=True):
        assert np.isfinite(variable).all() and not np.array_equal(variable, old)


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"posterior": "delta"}, "a Delta posterior is a point"),
        ({"posterior": "gumbel_softmax", "prior": "uniform_categorical"}, "is discrete"),
        ({"posterior": "wrapped_normal", "prior": "wrapped_normal"}, "the space 'ball'"),
    ],
)
def test_refusals(parts, message):
    with pytest.raises(ValueError, match=message):
        tiny_vae(10, objective="hamiltonian", **parts)
    with pytest.raises(ValueError, match="between 0 and 0.5"):
        HamiltonianELBO(step_size=1.0)
