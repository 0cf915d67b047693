"""Importance-weighted objectives: values and gradients against exact integrals over the noise."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae import objectives
from kvae.objectives import CIWAE, IWAE, MIWAE, PIWAE

DREG = {"gradient": "doubly_reparameterized"}


@pytest.fixture(scope="module")
def one_latent(linear_gaussian):
    """The model with its first latent alone: integrals over several samples become sums."""
    known = linear_gaussian
    return type(known)(known.w[:, :1], known.b, known.s, known.variance[:1])


@pytest.fixture(scope="module")
def x(one_latent):
    return one_latent.draw(3, seed=1)


def exact(vae, x, num_samples, bound, variables, beta=1.0, nodes=12):
    """The expectation of `bound(log_weights [num_samples, ...])` over all noise, with gradients.

    Gauss–Hermite quadrature in the noise of every sample, differentiated by the tape: it knows
    nothing of how the objectives arrange their gradients.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.array(list(itertools.product(points, repeat=num_samples)), "float32")
    share = np.prod(list(itertools.product(weights, repeat=num_samples)), axis=1)
    share = tf.constant(share / np.sum(share), tf.float32)
    noise = tf.tile(grid.T[:, :, None, None], [1, 1, len(x), 1])  # [samples, points, batch, 1]
    with tf.GradientTape() as tape:
        params = vae.encode_params(x)
        z = vae.posterior.transform(params, {"noise": noise})
        outputs = vae.decode_params(tf.reshape(z, (-1, len(x), 1)))
        log_px = tf.reshape(vae.likelihood.log_prob(outputs, x), z.shape[:-1])
        log_ratio = vae.prior.log_prob(z) - vae.posterior.log_prob(params, z)
        values = bound(log_px + beta * log_ratio)
        mean = tf.reduce_mean(tf.reduce_sum(share[:, None] * values, axis=0))
    return mean, tape.gradient(mean, variables)


def iwae(log_weights):
    return tf.reduce_logsumexp(log_weights, axis=0) - np.log(len(log_weights))


def elbo(log_weights):
    return tf.reduce_mean(log_weights, axis=0)


def check(vae, x, expected_loss, expected, variables, repeats=30, copies=300):
    """The objective's loss and gradients average to the expected ones, within their error."""
    many = tf.repeat(x, copies, axis=0)

    @tf.function(autograph=False)
    def once(seed):
        with tf.GradientTape() as tape:
            terms = vae.objective.terms(vae, many, many, training=True, seed=seed)
            loss = tf.reduce_mean(terms["loss"])
        return [loss, *tape.gradient(loss, variables)]

    runs = [once(kvae.random.as_seed(seed)) for seed in range(repeats)]
    for i, truth in enumerate([expected_loss, *expected]):
        estimates = np.stack([run[i] for run in runs])
        error = estimates.std(axis=0, ddof=1) / np.sqrt(repeats)
        difference = np.abs(estimates.mean(axis=0) - np.asarray(truth))
        assert (difference <= 5 * error + 2e-5).all(), (i, difference, error)
        assert error.max() < 0.06 * np.abs(truth).max()  # Otherwise it shows nothing.


CASES = {
    "iwae": (IWAE(2), 2, iwae),
    "iwae doubly": (IWAE(2, **DREG), 2, iwae),
    "iwae warming up": (IWAE(2, beta=0.3), 2, iwae),
    "iwae doubly warming up": (IWAE(2, beta=0.3, **DREG), 2, iwae),
    # An average of bounds has the expectation of each.
    "miwae": (MIWAE(3, 2), 2, iwae),
    "miwae doubly": (MIWAE(3, 2, beta=0.7, **DREG), 2, iwae),
    "ciwae": (CIWAE(2, elbo_weight=0.3), 2, lambda w: 0.3 * elbo(w) + 0.7 * iwae(w)),
    "ciwae doubly": (
        CIWAE(2, elbo_weight=0.3, **DREG),
        2,
        lambda w: 0.3 * elbo(w) + 0.7 * iwae(w),
    ),
}


def split(vae):
    posterior = [variable.value for variable in vae.encoder.trainable_variables]
    return posterior, [variable.value for variable in vae.decoder.trainable_variables]


@pytest.mark.default("iwae", "iwae doubly warming up", "miwae doubly", "ciwae")
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_exact_bound(one_latent, x, name):
    objective, num_samples, bound = CASES[name]
    vae = one_latent.vae(0.4, 0.8, objective=objective)
    variables = sum(split(vae), [])
    loss, gradients = exact(vae, x, num_samples, lambda w: -bound(w), variables, objective.beta)
    check(vae, x, loss, gradients, variables)


@pytest.mark.default("doubly")
@pytest.mark.parametrize("settings", [{}, DREG], ids=["plain", "doubly"])
def test_piwae_follows_two_bounds(one_latent, x, settings):
    vae = one_latent.vae(0.4, 0.8, objective=PIWAE(2, 2, **settings))
    of_posterior, of_model = split(vae)
    loss, model = exact(vae, x, 4, lambda w: -iwae(w), of_model, nodes=8)
    _, posterior = exact(vae, x, 2, lambda w: -iwae(w), of_posterior)
    check(vae, x, loss, [*posterior, *model], of_posterior + of_model)


def test_bounds_rise_to_the_exact_log_likelihood(one_latent, x):
    truth = np.mean(one_latent.log_prob(x))
    vae = one_latent.vae(0.4, 0.8)
    values = [-exact(vae, x, k, lambda w: -iwae(w), [])[0] for k in (1, 2, 4)]
    assert values[0] < values[1] < values[2] < truth
    many = tf.repeat(x, 200, axis=0)
    estimate = IWAE(500).terms(vae, many, many, training=False, seed=0)["iwae"]
    assert abs(np.mean(estimate) - truth) < 0.01


def test_every_bound_is_exact_and_still_at_the_true_posterior(one_latent, x):
    vae = one_latent.vae()
    of_posterior, _ = split(vae)
    for kind in (IWAE, MIWAE, PIWAE, CIWAE):
        objective = kind(num_samples=3, **DREG)
        with tf.GradientTape() as tape:
            terms = objective.terms(vae, x, x, training=True, seed=0)
            loss = tf.reduce_mean(terms["loss"])
        for name, sign in (("loss", -1), ("elbo", 1), ("iwae", 1)):
            np.testing.assert_allclose(sign * terms[name], one_latent.log_prob(x), rtol=1e-4)
        for gradient in tape.gradient(loss, of_posterior):
            np.testing.assert_allclose(gradient, 0.0, atol=2e-4)


@pytest.mark.slow  # Four graphs, 400 draws of each; the gradients are tested above.
def test_doubling_keeps_the_signal_as_samples_grow(one_latent, x):
    """The signal-to-noise ratio of the posterior's gradient falls for IWAE and rises for DReG."""
    ratios = {}
    for settings in ({}, DREG):
        for num_samples in (2, 64):
            vae = one_latent.vae(0.4, 0.8, objective=IWAE(num_samples, **settings))
            variable = vae.encoder.get_layer("mean").bias.value

            @tf.function(autograph=False)
            def once(seed, vae=vae, variable=variable):
                with tf.GradientTape() as tape:
                    terms = vae.objective.terms(vae, x[:1], x[:1], training=True, seed=seed)
                    loss = tf.reduce_mean(terms["loss"])
                return tape.gradient(loss, variable)

            values = [once(kvae.random.as_seed(seed)) for seed in range(400)]
            ratios[bool(settings), num_samples] = abs(np.mean(values)) / np.std(values)
    assert ratios[False, 64] < 0.7 * ratios[False, 2]
    assert ratios[True, 64] > 1.5 * ratios[True, 2]


def test_weights_that_underflow_leave_finite_gradients(one_latent):
    """A sample worth e^-300 of another one has weight 0 in float32."""
    vae = one_latent.vae(0.4, 8.0)
    x = one_latent.draw(4, seed=2)
    for kind in (IWAE, MIWAE, PIWAE, CIWAE):
        objective = kind(num_samples=4)
        with tf.GradientTape() as tape:
            terms = objective.terms(vae, x, x, training=True, seed=0)
            loss = tf.reduce_mean(terms["loss"])
        for gradient in tape.gradient(loss, sum(split(vae), [])):
            assert np.isfinite(gradient).all()
        assert np.ptp(terms["iwae"] - terms["elbo"]) > 0  # The weights do differ.


def test_one_sample_is_the_elbo(one_latent, x):
    vae = one_latent.vae(0.4, 0.8)
    bounds = [
        objective.terms(vae, x, x, training=False, seed=3)
        for objective in (
            IWAE(1),
            MIWAE(1, 1),
            PIWAE(1, 1),
            CIWAE(1),
            kvae.objectives.ELBO(kl="monte_carlo"),
        )
    ]
    for terms in bounds:
        np.testing.assert_allclose(terms["loss"], bounds[0]["loss"], rtol=1e-6)


@pytest.mark.slow  # A bound that warms up is above, its files are in `test_beta_schedule.py`.
def test_beta_follows_a_schedule_and_the_logs_show_it(digits, make_vae, tmp_path, eagerly):
    beta = kvae.schedules.Linear(0.0, 1.0, steps=4)
    vae = make_vae(objective=IWAE(3, beta=beta), optimizer="adam", eager=True)
    history = vae.fit(digits, batch_size=64, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["beta"], [0.25, 0.5])
    assert {"loss", "elbo", "reconstruction", "kl", "iwae"} <= set(history)
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.objective.get_config() == vae.objective.get_config()
    assert loaded.evaluate(digits, verbose=0) == vae.evaluate(digits, verbose=0)


@pytest.mark.slow  # Two compilations.
def test_trains_under_xla_as_without(digits, make_vae):
    histories = []
    for jit_compile in (False, True):
        vae = make_vae(objective=PIWAE(2, 2))
        vae.compile("sgd", jit_compile=jit_compile)
        histories.append(vae.fit(digits, batch_size=64, epochs=2, verbose=0).history)
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-4)


def test_names():
    assert type(objectives.get("piwae")) is PIWAE
    assert objectives.get("dreg").gradient == "doubly_reparameterized"
    for objective in (IWAE(7, beta=0.5, **DREG), MIWAE(3, 2), PIWAE(4, 3), CIWAE(3, 0.2)):
        again = objectives.get(keras.saving.serialize_keras_object(objective))
        assert type(again) is type(objective) and again.get_config() == objective.get_config()


def test_bad_arguments_say_what_is_possible(make_vae):
    with pytest.raises(ValueError, match="`num_samples`.*0"):
        IWAE(0)
    with pytest.raises(ValueError, match="`num_groups`.*0"):
        MIWAE(0)
    with pytest.raises(ValueError, match="`elbo_weight` is between 0 and 1.*1.5"):
        CIWAE(elbo_weight=1.5)
    with pytest.raises(ValueError, match="Unknown gradient 'dreg'.*doubly_reparameterized"):
        IWAE(gradient="dreg")
    with pytest.raises(ValueError, match="Delta posterior has no density.*objective='elbo'"):
        make_vae(posterior="delta", objective="iwae")
    with pytest.raises(ValueError, match="GumbelSoftmax.*relaxed.*objective='elbo'"):
        make_vae(
            latent_dim=10,
            posterior="gumbel_softmax",
            prior="uniform_categorical",
            objective="iwae",
        )
    with pytest.raises(ValueError, match="weights of its own.*'reparameterization'"):
        make_vae(posterior="iaf", objective="dreg")
