"""DIPVAE: the penalties on covariances written down by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae

# Means whose covariance (divided by 4) is [[2, 1], [1, 0.5]].
MEANS = np.array([[2.0, 1.0], [-2.0, -1.0], [0.0, 0.0], [0.0, 0.0]], "float32") + 3.0


class Model:
    """What `cost` asks of a model."""

    latent_dim = 2
    optimizer = None

    def __init__(self, posterior):
        self.posterior, self.prior = posterior, kvae.priors.StandardNormal(2)


def cost(objective, posterior, params):
    kl = tf.constant([1.0, 2.0, 3.0, 4.0])
    cost, more = objective.cost(Model(posterior), params, None, kl, seed=0)
    return cost - kl, {name: value.numpy() for name, value in more.items()}


def test_the_first_kind_takes_the_means_alone():
    params = {"z_mean": tf.constant(MEANS), "z_log_var": tf.ones((4, 2))}
    objective = kvae.objectives.DIPVAE(lambda_od=3.0, lambda_d=0.5)
    extra, more = cost(objective, kvae.posteriors.DiagonalGaussian(2), params)
    # Off the diagonal 1² twice; on it (2 − 1)² + (0.5 − 1)².
    np.testing.assert_allclose(more["off_diagonal"], np.full(4, 2.0), rtol=1e-6)
    np.testing.assert_allclose(more["diagonal"], np.full(4, 1.25), rtol=1e-6)
    np.testing.assert_allclose(extra, np.full(4, 3.0 * 2.0 + 0.5 * 1.25), rtol=1e-5)


def test_the_second_kind_adds_the_mean_covariance():
    """Of correlated posteriors: L = [[1, 0], [0.5, 1]], so L Lᵀ = [[1, 0.5], [0.5, 1.25]]."""
    params = {
        "z_mean": tf.constant(MEANS),
        "z_log_var": tf.zeros((4, 2)),
        "z_lower": tf.fill((4, 1), 0.5),
    }
    objective = kvae.objectives.DIPVAE(lambda_od=1.0, lambda_d=2.0, kind="ii")
    extra, more = cost(objective, kvae.posteriors.FullCovariance(2), params)
    # [[2, 1], [1, 0.5]] and that is [[3, 1.5], [1.5, 1.75]].
    np.testing.assert_allclose(more["off_diagonal"], np.full(4, 4.5), rtol=1e-6)
    np.testing.assert_allclose(more["diagonal"], np.full(4, 4.0 + 0.5625), rtol=1e-6)
    np.testing.assert_allclose(extra, np.full(4, 4.5 + 2.0 * 4.5625), rtol=1e-5)
    # As variances it takes what differs between examples, too.
    params = {"z_mean": tf.constant(MEANS), "z_log_var": tf.math.log([[1.0, 2.0], [3.0, 2.0]] * 2)}
    _, more = cost(objective, kvae.posteriors.DiagonalGaussian(2), params)
    np.testing.assert_allclose(more["off_diagonal"], np.full(4, 2.0), rtol=1e-6)
    np.testing.assert_allclose(more["diagonal"], np.full(4, 3.0**2 + 1.5**2), rtol=1e-6)


@pytest.mark.parametrize("kind, factor", [("i", 10.0), ("ii", 1.0)])
def test_the_diagonal_s_usual_weight(kind, factor):
    params = {"z_mean": tf.constant(MEANS), "z_log_var": tf.zeros((4, 2))}
    found = [
        cost(
            kvae.objectives.DIPVAE(2.0, weight, kind), kvae.posteriors.DiagonalGaussian(2), params
        )[0]
        for weight in (None, 2.0 * factor)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.slow  # A training; the penalty is tested above.
def test_training_brings_the_covariance_to_the_identity(make_vae, digits, tmp_path):
    objective = kvae.objectives.DIPVAE(
        lambda_od=kvae.schedules.Linear(0.0, 1000.0, steps=10), lambda_d=1000.0, beta=0.5
    )
    vae = make_vae(objective=objective)
    vae.compile(keras.optimizers.Adam(0.01))
    history = vae.fit(digits, batch_size=64, epochs=60, verbose=0).history
    assert history["lambda_od"][:2] == [100.0, 200.0] and "beta" not in history
    np.testing.assert_allclose(np.cov(vae.encode(digits)["z_mean"].numpy().T), np.eye(2), atol=0.1)
    assert history["diagonal"][-1] < 0.01 < 0.3 < history["diagonal"][0]
    terms = vae.objective.terms(vae, digits, digits, training=False, seed=0)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").objective
    assert loaded.get_config() == objective.get_config()


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="Unknown kind 'iii'"):
        kvae.objectives.DIPVAE(kind="iii")
    with pytest.raises(ValueError, match="`lambda_d` is at least 0"):
        kvae.objectives.DIPVAE(lambda_d=-1.0)
    make_vae(posterior="iaf", objective=kvae.objectives.DIPVAE())
    make_vae(posterior="delta", objective=kvae.objectives.DIPVAE())
    for posterior in ("iaf", "delta"):
        with pytest.raises(ValueError, match="covariance of q.*Use kind='i'"):
            make_vae(posterior=posterior, objective=kvae.objectives.DIPVAE(kind="ii"))
    with pytest.raises(ValueError, match="the space 'sphere'"):
        make_vae(posterior="power_spherical", prior="uniform_sphere", objective="dip_vae")
    with pytest.raises(ValueError, match="depends on the label"):
        make_vae(prior="class_conditional", num_classes=2, objective="dip_vae")
