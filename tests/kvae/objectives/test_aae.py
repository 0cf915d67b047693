"""The adversarial autoencoder, and discriminators that users give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae

SMALL = {"discriminator_width": 8, "discriminator_depth": 2, "discriminator_learning_rate": 1e-2}


def bits(values):
    return b"".join(np.asarray(value).tobytes() for value in values)


@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "delta"])
def test_the_loss_is_what_the_discriminator_says(make_vae, digits, posterior):
    objective = kvae.objectives.AAE(lambda_=3.0, num_samples=2, **SMALL)
    vae = make_vae(posterior=posterior, objective=objective)
    terms = objective.terms(vae, digits, digits, training=False, seed=4)
    z = vae.posterior.sample(vae.encode(digits), 2, seed=4)
    log_d = tf.math.log_sigmoid(objective.discriminator(z))
    np.testing.assert_allclose(terms["adversarial"], -np.mean(log_d, axis=0), rtol=1e-5)
    expected = terms["reconstruction"] - 3.0 * np.mean(log_d, axis=0)
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)


def test_the_discriminator_learns_the_ratio_of_the_prior_to_the_codes():
    """Codes from N(1, ½²) in one dimension, where log p/q is a known parabola."""

    class Model:
        latent_dim, seed, prior = 1, 0, kvae.priors.StandardNormal(1)

    objective = kvae.objectives.AAE(
        discriminator_width=16, discriminator_depth=2, discriminator_learning_rate=1e-2
    )
    objective.prepare(Model)

    @tf.function
    def train():
        for step in tf.range(250):
            seed = kvae.random.fold_in(7, step)
            z = 1.0 + 0.5 * kvae.random.normal([1, 128, 1], seed)
            objective.update(Model, None, None, {"z": z}, seed)

    train()
    z = np.array([[0.0], [0.5], [1.0], [1.5]], np.float32)
    exact = -0.5 * z**2 + 0.5 * ((z - 1.0) / 0.5) ** 2 + np.log(0.5)
    np.testing.assert_allclose(objective.discriminator(z), exact[:, 0], atol=0.35)
    assert exact.max() > 1.0 and exact.min() < -1.0


def network():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(8, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=1),
            layers.Dense(1),
        ]
    )


def test_a_discriminator_that_is_given(make_vae, digits, tmp_path, eagerly):
    """Its layers keep a state, which is saved; nothing of it is the model's to train."""
    objective = kvae.objectives.AAE(discriminator=network(), discriminator_learning_rate=0.01)
    vae = make_vae(objective=objective, optimizer="adam", eager=True)
    vae.trainable = False
    vae.trainable = True  # Thaws everything that Keras can reach.
    critic = objective.discriminator
    own = {variable.path for variable in critic.variables}
    assert len(critic.learned) == 6 and len(critic.state) == 3  # Two averages, and a seed.
    assert own <= {v.path for v in vae.variables}
    assert not own & {v.path for v in vae.trainable_variables}
    before = [variable.numpy() for variable in critic.variables]
    vae.train_on_batch(digits)
    after = [variable.numpy() for variable in critic.variables]
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras").objective
    assert bits(loaded.discriminator.variables) == bits(critic.variables)
    z = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    np.testing.assert_array_equal(loaded.discriminator(z), critic(z))
    one_by_one = [critic(row[None])[0] for row in z[0]]
    np.testing.assert_allclose(critic(z)[0], one_by_one, rtol=1e-4, atol=1e-6)


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="`lambda_` is at least 0"):
        kvae.objectives.AAE(lambda_=-1.0)
    with pytest.raises(ValueError, match="`discriminator_width` and .*0 and 2"):
        kvae.objectives.AAE(discriminator_width=0)
    with pytest.raises(TypeError, match="keras.Model that ends in a logit, not 'dense'"):
        kvae.objectives.AAE(discriminator="dense")
    wide = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"returns shape \(None, 3\).* a logit, \(None, 1\)"):
        make_vae(objective=kvae.objectives.AAE(discriminator=wide))
    for parts, message in (
        ({"posterior": "delta", "prior": None}, "this model has none"),
        ({"prior": "class_conditional", "num_classes": 2}, "depends on the label"),
    ):
        with pytest.raises(ValueError, match=message):
            make_vae(objective=kvae.objectives.AAE(**SMALL), **parts)
