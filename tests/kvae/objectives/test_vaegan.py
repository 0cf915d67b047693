"""The VAE/GAN: its loss, and which term teaches whom."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae

SMALL = {"discriminator_width": 4, "discriminator_depth": 1, "discriminator_learning_rate": 1e-2}


@pytest.fixture(scope="module")
def vae(make_vae):
    return make_vae(objective=kvae.objectives.VAEGAN(gamma=0.25, **SMALL), likelihood="gaussian")


def test_the_loss(vae, digits):
    x = digits[:8]
    terms = vae.objective.terms(vae, x, x, training=False, seed=4)
    z = vae.posterior.sample(vae.encode_params(x), seed=4)
    decoded = vae.likelihood.mean(vae.decode_params(z))
    features = [vae.objective.discriminator(image)[0].numpy() for image in (decoded, x)]
    assert features[0].shape == (8, 4, 4, 32)
    off = 0.5 * np.sum((features[0] - features[1]) ** 2, axis=(1, 2, 3))
    drawn = vae.prior.sample(8, kvae.random.fold_in(4, 1))
    made = decoded, vae.likelihood.mean(vae.decode_params(drawn))
    fooled = -sum(tf.math.log_sigmoid(vae.objective.discriminator(image)[1]) for image in made)
    np.testing.assert_allclose(terms["features"], off, rtol=1e-4)
    np.testing.assert_allclose(terms["adversarial"], fooled, rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], terms["kl"] + off + fooled, rtol=1e-4)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)
    np.testing.assert_allclose(terms["made"], tf.stack(made), rtol=1e-4, atol=1e-6)


def test_each_network_learns_by_its_own_terms(vae, digits):
    """The gradients of the paper's algorithm 1, from the terms one by one."""
    x = digits[:8]

    def gradients(names, networks):
        with tf.GradientTape() as tape:
            terms = vae.objective.terms(vae, x, x, training=True, seed=4)
            total = tf.add_n([tf.reduce_mean(terms[name]) for name in names])
        variables = [v.value for network in networks for v in network.trainable_variables]
        return tape.gradient(total, variables, unconnected_gradients="zero")

    def plain_features(networks):
        with tf.GradientTape() as tape:
            z = vae.posterior.sample(vae.encode_params(x), seed=4)
            decoded = vae.likelihood.mean(vae.decode_params(z))
            critic = vae.objective.discriminator
            off = tf.reduce_sum(tf.square(critic(decoded)[0] - critic(x)[0]), axis=(1, 2, 3))
            total = 0.5 * tf.reduce_mean(off)
        return tape.gradient(total, [v.value for n in networks for v in n.trainable_variables])

    coder = [vae.encoder, vae.posterior]
    for own, plain, weight in (
        (gradients(["features"], coder), plain_features(coder)[:4], 1.0),
        (gradients(["features"], [vae.decoder]), plain_features([vae.decoder]), 0.25),
    ):
        for a, b in zip(own, plain, strict=False):
            np.testing.assert_allclose(a, weight * b, rtol=2e-3, atol=1e-5)
    assert all(np.all(g == 0) for g in gradients(["adversarial"], coder))
    assert all(np.any(g != 0) for g in gradients(["adversarial"], [vae.decoder]))


def test_a_weight_however_small_is_the_decoders(vae, digits):
    x = digits[:8]

    def gradient(gamma):
        vae.objective.set_scheduled("gamma", gamma)
        with tf.GradientTape() as tape:
            terms = vae.objective.terms(vae, x, x, training=True, seed=4)
        return tape.gradient(terms["features"], vae.decoder.trainable_variables[-1].value)

    whole = gradient(1.0)
    np.testing.assert_allclose(gradient(1e-9), 1e-9 * whole, rtol=1e-3, atol=1e-14)
    schedule = kvae.schedules.Linear(0.0, 0.0, steps=1)
    assert np.abs(gradient(schedule)).max() < 1e-15
    vae.objective.set_scheduled("gamma", 0.25)


@pytest.mark.slow  # `test_aae.py` has a given one, the step is tested above.
def test_a_discriminator_that_is_given_learns_images_from_what_is_made(
    make_vae, digits, tmp_path, eagerly
):
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation="relu", name="first"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    objective = kvae.objectives.VAEGAN(
        feature_layer="first", discriminator=network, discriminator_learning_rate=0.05
    )
    vae = make_vae(objective=objective, optimizer="adam", eager=True)
    trained = {variable.path for variable in vae.trainable_variables}
    assert not trained & {variable.path for variable in objective.discriminator.learned}
    for _ in range(3):
        vae.train_on_batch(digits)
    features, real = objective.discriminator(digits)
    assert features.shape == (64, 6, 6, 3)
    _, made = objective.discriminator(vae.sample(64, seed=0))
    assert np.mean(real) > np.mean(made)
    vae.save(tmp_path / "model.keras")
    loaded = kvae.load_model(tmp_path / "model.keras").objective
    np.testing.assert_array_equal(loaded.discriminator(digits)[1], real)


class Unknown(keras.Model):
    """A network of which nobody knows how its layers are connected."""

    def build(self, input_shape):
        self.logit = keras.layers.Dense(1)
        self.built = True

    def call(self, x, training=False):
        return self.logit(keras.ops.reshape(x, (-1, 64)))


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="`gamma` is at least 1e-20, not 0"):
        kvae.objectives.VAEGAN(gamma=0.0)
    with pytest.raises(ValueError, match="one of a discriminator that is given"):
        kvae.objectives.VAEGAN(feature_layer="first")
    with pytest.raises(ValueError, match="this model has none"):
        make_vae(objective=kvae.objectives.VAEGAN(**SMALL), posterior="delta", prior=None)
    with pytest.raises(ValueError, match="takes missing values"):
        make_vae(objective=kvae.objectives.VAEGAN(**SMALL), missing="zero")
    with pytest.raises(ValueError, match="which has no gradient with Autoregressive"):
        likelihood = kvae.likelihoods.Autoregressive(3)
        model = types.SimpleNamespace(prior="any", missing=None, likelihood=likelihood)
        kvae.objectives.VAEGAN(**SMALL).attach(model)
    with pytest.raises(ValueError, match="is a Unknown, which does not say how its layers"):
        make_vae(objective=kvae.objectives.VAEGAN(discriminator=Unknown()))
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(name="flat")])
    network.add(keras.layers.Dense(1, name="logit"))
    with pytest.raises(ValueError, match="'flat', 'logit'.*comes before the logit"):
        wrong = kvae.objectives.VAEGAN(feature_layer="logit", discriminator=network)
        make_vae(objective=wrong)
