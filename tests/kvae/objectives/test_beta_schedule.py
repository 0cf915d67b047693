"""A weight of the KL that follows a schedule."""

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import PolynomialDecay

import kvae


def warm_up(steps=4):
    return kvae.objectives.ELBO(beta=PolynomialDecay(0.0, steps, 1.0))


def test_loss_has_the_weight_of_the_step(make_vae, digits):
    """Linear warm-up over 4 steps: before step s the weight is min(s / 4, 1)."""
    vae = make_vae(objective=warm_up())
    vae.compile("sgd")  # In a graph, which must not keep the first weight.
    for step in range(6):
        terms = vae.evaluate(digits, verbose=0, return_dict=True)
        beta = min(step / 4, 1.0)
        expected = terms["reconstruction"] + beta * terms["kl"]
        assert terms["loss"] == pytest.approx(expected, rel=1e-5)
        assert terms["elbo"] == pytest.approx(-terms["reconstruction"] - terms["kl"], rel=1e-5)
        vae.train_on_batch(digits)


def test_a_loaded_model_goes_on_where_it_was(make_vae, digits, tmp_path, eagerly):
    vae = make_vae(objective=warm_up(10), optimizer="sgd", eager=True)
    for _ in range(3):
        vae.train_on_batch(digits)
    vae.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    terms = again.evaluate(digits, verbose=0, return_dict=True)
    assert terms["kl"] > 0.01
    assert (terms["loss"] - terms["reconstruction"]) / terms["kl"] == pytest.approx(0.3, rel=1e-3)
    assert again.objective.get_config() == vae.objective.get_config()


def test_without_an_optimizer_the_schedule_is_over(make_vae, digits):
    vae = make_vae(objective=warm_up())
    terms = vae.objective.terms(vae, digits, digits, training=False, seed=0)
    np.testing.assert_allclose(terms["loss"], -terms["elbo"], rtol=1e-6)


@pytest.mark.parametrize("beta", [-1.0, float("nan")])
def test_bad_weights(beta):
    with pytest.raises(ValueError, match="at least 0"):
        kvae.objectives.ELBO(beta=beta)


@pytest.mark.parametrize("objective", [kvae.objectives.ELBO, kvae.objectives.BetaTCVAE])
def test_settings_that_follow_a_schedule_can_be_exchanged(objective):
    objective = objective(beta=2.0)
    objective.set_scheduled("beta", PolynomialDecay(0.0, 4, 2.0))
    assert float(objective.scheduled()["beta"](2)) == 1.0
    assert objective.get_config()["beta"]["config"]["decay_steps"] == 4
    with pytest.raises(ValueError, match="Unknown setting 'betta'.*'beta'"):
        objective.set_scheduled("betta", 1.0)
    with pytest.raises(ValueError, match="`beta` is at least 0 or a schedule"):
        objective.set_scheduled("beta", -1.0)
