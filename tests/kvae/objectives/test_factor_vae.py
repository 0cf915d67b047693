"""FactorVAE: the discriminator, what it estimates, and who trains what."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.callbacks import Checkpoint
from kvae.objectives.factor_vae import permute_dims

SMALL = {"discriminator_width": 8, "discriminator_depth": 2, "discriminator_learning_rate": 1e-2}


def bits(*values):
    return b"".join(np.asarray(value).tobytes() for value in values)


def state_of(objective):
    return (*objective.discriminator.variables, *objective.discriminator_optimizer.variables)


# Shuffling.


def test_shuffled_columns_keep_their_values_and_lose_their_company():
    column = np.random.default_rng(0).normal(size=(2000, 1))
    z = np.concatenate([column, 2 * column, -column], axis=1).astype("float32")
    shuffled = permute_dims(z, seed=1).numpy()
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(z, axis=0))
    correlation = np.corrcoef(shuffled.T)[np.triu_indices(3, 1)]
    assert (np.abs(correlation) < 4 / np.sqrt(2000)).all()
    assert (np.abs(np.corrcoef(z.T)[np.triu_indices(3, 1)]) > 0.999).all()
    compiled = tf.function(permute_dims, jit_compile=True)(tf.constant(z), kvae.random.as_seed(1))
    np.testing.assert_array_equal(compiled, shuffled)


def test_every_permutation_is_as_likely():
    z = tf.constant(np.tile(np.arange(3.0)[:, None], (1, 6000)), tf.float32)
    columns = permute_dims(z, seed=5).numpy().T.astype(int)
    counts = [np.sum((columns == order).all(axis=1)) for order in itertools.permutations(range(3))]
    assert sum(counts) == 6000
    assert np.sum((np.array(counts) - 1000.0) ** 2 / 1000.0) < 20.5  # χ² with 5 degrees: 99.9 %.


# The estimate.


def test_the_estimate_comes_to_the_exact_total_correlation():
    """Codes of a correlated Gaussian, whose total correlation is −½ log det of its correlations."""
    correlation = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 1.0]])
    exact = -0.5 * np.linalg.slogdet(correlation)[1]
    scaled = tf.constant(np.linalg.cholesky(correlation).T * [1.0, 2.0, 0.5], tf.float32)

    class Model:
        latent_dim, seed = 3, 0

    objective = kvae.objectives.FactorVAE(
        discriminator_width=32, discriminator_depth=2, discriminator_learning_rate=3e-3
    )
    objective.prepare(Model)

    @tf.function
    def train(steps):
        for step in tf.range(steps):
            seed = kvae.random.fold_in(7, step)
            z = kvae.random.normal([1, 512, 3], seed) @ scaled
            objective.update(Model, None, None, {"z": z}, seed)

    def estimate():
        z = kvae.random.normal([20_000, 3], 8) @ scaled
        return float(tf.reduce_mean(objective.discriminator(z)))

    assert exact == pytest.approx(0.68, abs=0.05) and abs(estimate() - exact) > 0.3
    train(700)
    assert estimate() == pytest.approx(exact, abs=0.08)


# Who trains what.


def test_the_model_s_step_leaves_the_discriminator_alone(make_vae, digits):
    still = kvae.objectives.FactorVAE(**{**SMALL, "discriminator_learning_rate": 0.0}, gamma=50.0)
    vae = make_vae(objective=still, optimizer=keras.optimizers.SGD(0.01), eager=True)
    vae.trainable = False
    vae.trainable = True  # Thaws everything that Keras can reach.
    own = {variable.path for variable in still.discriminator.variables}
    assert len(own) == 6 and own <= {variable.path for variable in vae.variables}
    assert not own & {variable.path for variable in vae.trainable_variables}
    before, weights = bits(*still.discriminator.variables), bits(*vae.trainable_variables)
    vae.train_on_batch(digits)
    assert bits(*still.discriminator.variables) == before
    assert bits(*vae.trainable_variables) != weights
    # Nor is a gradient recorded for it, while that of the estimate reaches the encoder.
    with tf.GradientTape() as tape:
        terms = still.terms(vae, digits, digits, training=True, seed=0)
        total = tf.reduce_mean(terms["total_correlation"])
    watched = {id(variable) for variable in tape.watched_variables()}
    assert not watched & {id(variable.value) for variable in still.discriminator.variables}
    gradients = tape.gradient(total, vae.encoder.trainable_variables)
    assert all(np.any(gradient != 0) for gradient in gradients)


def test_the_discriminator_s_step_leaves_the_model_alone(make_vae, make_encoder, digits, eagerly):
    found = []
    for rate in (0.0, 0.1):
        keras.utils.set_random_seed(4)
        encoder = make_encoder(
            extra=[keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=1)]
        )
        objective = kvae.objectives.FactorVAE(**{**SMALL, "discriminator_learning_rate": rate})
        vae = make_vae(
            encoder=encoder, objective=objective, optimizer=keras.optimizers.SGD(0.01), eager=True
        )
        start = bits(*objective.discriminator.variables)
        vae.train_on_batch(digits)
        assert (bits(*objective.discriminator.variables) == start) == (rate == 0.0)
        own = {variable.path for variable in objective.discriminator.variables}
        found.append(bits(*(v for v in vae.variables if v.path not in own)))
        before = bits(*(v for v in vae.variables if v.path not in own), *vae.optimizer.variables)
        terms = objective.terms(vae, digits, digits, training=False, seed=1)
        objective.update(vae, digits, digits, terms, kvae.random.as_seed(2))
        after = bits(*(v for v in vae.variables if v.path not in own), *vae.optimizer.variables)
        assert before == after
    assert found[0] == found[1]


def test_the_step_of_the_discriminator_is_the_paper_s(make_vae, digits):
    """One step of plain gradient descent on −½ [log D(z) + log(1 − D(shuffled))], by hand."""
    objective = kvae.objectives.FactorVAE(**SMALL)
    make_vae(objective=objective)
    objective.discriminator_optimizer = keras.optimizers.SGD(0.5)
    z = np.random.default_rng(0).normal(size=(2, 20, 2)).astype("float32")
    seed = kvae.random.as_seed(3)
    rows = z.reshape(40, 2)
    shuffled = permute_dims(rows, kvae.random.fold_in(seed, 2))
    values = [variable.value for variable in objective.discriminator.variables]
    with tf.GradientTape() as tape:
        tape.watch(values)
        real = tf.math.sigmoid(objective.discriminator(rows))
        false = tf.math.sigmoid(objective.discriminator(shuffled))
        loss = -0.5 * tf.reduce_mean(tf.math.log(real) + tf.math.log(1.0 - false))
    gradients = tape.gradient(loss, values)
    expected = [value - 0.5 * gradient for value, gradient in zip(values, gradients, strict=True)]
    objective.update(None, None, None, {"z": tf.constant(z)}, seed)
    for value, wanted in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


def test_the_loss_adds_the_estimate(make_vae, digits):
    objective = kvae.objectives.FactorVAE(**SMALL, gamma=3.0, beta=2.0, num_samples=4)
    vae = make_vae(objective=objective)
    terms = objective.terms(vae, digits, digits, training=False, seed=1)
    z = vae.posterior.sample(vae.encode(digits), 4, seed=1)
    correlation = np.mean(objective.discriminator(z), axis=0)
    np.testing.assert_allclose(terms["total_correlation"], correlation, rtol=1e-4, atol=1e-6)
    expected = terms["reconstruction"] + 2.0 * terms["kl"] + 3.0 * correlation
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)


# Saving, resuming, faster execution.


def trained(make_vae, data, directory, epochs):
    gamma = kvae.schedules.Linear(0.0, 9.0, steps=6)
    vae = make_vae(
        objective=kvae.objectives.FactorVAE(gamma, **SMALL), optimizer="adam", eager=True
    )
    checkpoint = Checkpoint(directory, every_seconds=0.0)
    history = vae.fit(
        kvae.datasets.Dataset(data),
        batch_size=32,
        epochs=epochs,
        initial_epoch=checkpoint.restore(vae),
        callbacks=[checkpoint],
        verbose=0,
    ).history
    return vae, history


@pytest.mark.slow  # Three trainings; `test_checkpoint.py` resumes one.
def test_a_resumed_training_ends_with_the_same_bits(make_vae, digits, tmp_path):
    whole, history = trained(make_vae, digits, tmp_path / "whole", 2)
    assert history["gamma"] == [3.0, 6.0]
    part, _ = trained(make_vae, digits, tmp_path / "parts", 1)
    part.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.objective.get_config() == part.objective.get_config()
    assert bits(*state_of(loaded.objective)) == bits(*state_of(part.objective))
    assert int(loaded.objective.discriminator_optimizer.iterations) == 2
    resumed, rest = trained(make_vae, digits, tmp_path / "parts", 2)
    assert bits(*resumed.variables, *resumed.optimizer.variables) == bits(
        *whole.variables, *whole.optimizer.variables
    )
    assert bits(*state_of(resumed.objective)) == bits(*state_of(whole.objective))
    assert rest["total_correlation"] == history["total_correlation"][1:]


@pytest.mark.slow  # Compiled by XLA.
def test_compiled_and_with_several_steps_in_each_call_it_trains_the_same(make_vae, digits):
    runs = []
    for options in ({"run_eagerly": True}, {"jit_compile": True, "steps_per_execution": 4}):
        vae = make_vae(objective=kvae.objectives.FactorVAE(gamma=5.0, **SMALL))
        vae.compile(keras.optimizers.SGD(1e-3), **options)
        history = vae.fit(digits, batch_size=16, epochs=1, verbose=0).history
        runs.append((*vae.get_weights(), history["loss"], history["total_correlation"]))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


@pytest.mark.slow  # A training.
def test_in_half_precision_the_discriminator_is_whole(make_vae, digits, policy):
    policy("mixed_float16")
    vae = make_vae(objective=kvae.objectives.FactorVAE(**SMALL), optimizer="adam", eager=True)
    history = vae.fit(digits, batch_size=32, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert {variable.dtype for variable in vae.objective.discriminator.variables} == {"float32"}
    assert int(vae.objective.discriminator_optimizer.iterations) == 4


def test_wrong_settings_and_models(make_vae):
    with pytest.raises(ValueError, match="`discriminator_width` and .*0 and 6"):
        kvae.objectives.FactorVAE(discriminator_width=0)
    with pytest.raises(ValueError, match="`discriminator_learning_rate` is a finite number"):
        kvae.objectives.FactorVAE(discriminator_learning_rate=-1.0)
    with pytest.raises(ValueError, match="`gamma` is at least 0"):
        kvae.objectives.FactorVAE(gamma=-1.0)
    for parts, message in (
        ({"posterior": "delta"}, "Delta posterior has no density"),
        ({"posterior": "power_spherical", "prior": "uniform_sphere"}, "the space 'sphere'"),
        ({"prior": "class_conditional", "num_classes": 2}, "depends on the label"),
    ):
        with pytest.raises(ValueError, match=message):
            make_vae(objective=kvae.objectives.FactorVAE(**SMALL), **parts)
