"""Two levels of latents: one of each modality, and one above them that joins them."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae import posteriors, priors

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 3, 6)
IMAGES = RNG.integers(0, 2, (6, 2, 2, 1)).astype("float32")
DATA = {"image": IMAGES, "digit": DIGITS}
PLACES = (slice(0, 2), slice(2, 5), slice(5, 6))


def make(objective="nexus", prior=None, private=None):
    def body(shape):
        return keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4, "tanh")]
        )

    def head(latents, shape):
        layers = [keras.layers.Dense(int(np.prod(shape))), keras.layers.Reshape(shape)]
        return keras.Sequential([keras.Input((latents,)), *layers])

    options = {"hidden": (5,), "activation": "tanh", "message_dim": 4}
    with kvae.random.initial_weights(0):
        vae = kvae.VAE(
            encoders={"image": body((2, 2, 1)), "digit": body((3,))},
            decoders={"image": head(3, (2, 2, 1)), "digit": head(1, (3,))},
            latent_dim=6,
            posterior=posteriors.Nexus(private or {"digit": 1, "image": 3}, **options),
            prior=prior or priors.Hierarchical(groups=(2, 3, 1), hidden=(5,), star=True),
            likelihood={"image": "bernoulli", "digit": "categorical:3"},
            objective=objective,
        )
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    return vae


@pytest.fixture(scope="module")
def vae():
    return make()


def log_density(z, mean, log_var):
    return scipy.stats.norm(mean, np.exp(np.asarray(log_var) / 2)).logpdf(z).sum(axis=-1)


def of_top(vae, z, present):
    """Returns the parameters of q(s|z_1, z_2), computed with NumPy from the posterior's weights."""
    posterior = vae.posterior
    messages = [
        network(z[:, place]).numpy()
        for network, place in zip(posterior.messengers, PLACES[1:], strict=True)
    ]
    average = np.mean([one for one, there in zip(messages, present, strict=True) if there], axis=0)
    return np.split(posterior.joint(average).numpy(), 2, axis=-1)


@pytest.mark.parametrize("present", [(0, 1), pytest.param((1, 1), marks=pytest.mark.slow)])
def test_densities_are_those_of_both_levels(vae, present):
    params = vae.posterior.given(vae.encode(DATA), np.tile(present, (6, 1)))
    z = vae.posterior.sample(params, seed=1).numpy()
    log_q = log_density(z[:, PLACES[0]], *of_top(vae, z, present))
    for number, (key, place) in enumerate(zip(("image", "digit"), PLACES[1:], strict=True)):
        own = params[f"{key}_z_mean"], params[f"{key}_z_log_var"]
        if not present[number]:  # It is drawn from p(z_m|s).
            own = (value.numpy() for value in vae.prior.lower.after(number, z[:, PLACES[0]]))
        log_q = log_q + log_density(z[:, place], *own)
    np.testing.assert_allclose(vae.posterior.log_prob(params, z), log_q, rtol=1e-4)
    nothing = vae.posterior.given(params, np.zeros((6, 2)))
    log_p = vae.prior.log_prob(z)
    np.testing.assert_allclose(vae.posterior.log_prob(nothing, z), log_p, rtol=1e-4)


def test_latents_of_a_star_depend_on_the_top_alone(vae):
    z = RNG.normal(size=(4, 6)).astype("float32")
    log_p = log_density(z[:, :2], 0, 0)
    for number, place in enumerate(PLACES[1:]):
        own = (value.numpy() for value in vae.prior.lower.after(number, z[:, :2]))
        log_p = log_p + log_density(z[:, place], *own)
    np.testing.assert_allclose(vae.prior.log_prob(z), log_p, rtol=1e-4)
    assert vae.prior.lower.networks[1].input_shape == (None, 2)


@pytest.mark.slow
def test_the_objective_is_a_vae_of_each_modality_and_one_of_their_latents():
    objective = kvae.objectives.Nexus({"digit": 3.0}, {"image": 0.5}, {"digit": 2.0}, 4.0, 0.0)
    vae = make(objective)
    data = {key: np.repeat(value[:1], 4000, axis=0) for key, value in DATA.items()}
    record = tf.constant(vae.likelihood.record(data))
    seed = kvae.random.as_seed(3)
    found = objective.terms(vae, record, record, training=True, seed=seed)
    params = vae.encode_params(record)
    z = vae.posterior.sample(params, seed=11).numpy()
    log_p = vae.likelihood.log_prob_by_modality(vae.decode_params(tf.constant(z)), record).numpy()
    s_mean, s_log_var = of_top(vae, z, (1, 1))
    s = s_mean + np.exp(s_log_var / 2) * RNG.normal(size=s_mean.shape)

    def kl(mean, log_var):
        mean, log_var = np.asarray(mean), np.asarray(log_var)
        return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=-1)

    wanted = 4 * kl(s_mean, s_log_var) - log_p @ [1, 3]
    for m, (key, beta, gamma) in enumerate((("image", 0.5, 1.0), ("digit", 1.0, 2.0))):
        wanted = wanted + beta * kl(params[f"{key}_z_mean"], params[f"{key}_z_log_var"])
        own = (value.numpy() for value in vae.prior.lower.after(m, s.astype("float32")))
        wanted = wanted - gamma * log_density(z[:, PLACES[m + 1]], *own)
    error = 4 * np.std(wanted) * np.sqrt(2 / 4000)
    assert abs(np.mean(found["loss"]) - wanted.mean()) < error < 1
    kl_of_z = vae.posterior.log_prob(params, z) - vae.prior.log_prob(z)
    np.testing.assert_allclose(np.mean(found["kl"]), np.mean(kl_of_z), atol=0.3)


@pytest.mark.slow
def test_the_upper_level_does_not_train_the_lower_one():
    vae = make(kvae.objectives.Nexus(dict.fromkeys(DATA, 0.0), dict.fromkeys(DATA, 0.0)))
    record = tf.constant(vae.likelihood.record(DATA))
    with tf.GradientTape() as tape:
        seed = kvae.random.as_seed(3)
        loss = vae.objective.terms(vae, record, record, training=True, seed=seed)["loss"]
    gradients = tape.gradient(loss, vae.encoder.trainable_variables)
    assert all(each is None or not np.any(each) for each in gradients)


def test_dropout_keeps_some_of_the_modalities_that_are_there():
    objective = kvae.objectives.Nexus(dropout=0.75)
    present = np.tile(np.float32([1, 1, 0, 1]), (4000, 1))
    kept = np.asarray(objective.kept(tf.constant(present), kvae.random.as_seed(1)))
    assert not kept[:, 2].any() and kept.any(axis=1).all()
    shares = np.bincount(kept.sum(axis=1).astype(int), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0, 0.375, 0.375, 0.25], atol=0.03)
    alone = np.tile(np.float32([0, 1]), (50, 1))
    np.testing.assert_array_equal(objective.kept(tf.constant(alone), kvae.random.as_seed(1)), alone)


@pytest.mark.slow
def test_what_does_not_go_together_is_refused():
    for call, message in (
        (lambda: make(prior=priors.Hierarchical(groups=(2, 3, 1))), r"groups=\[2, 3, 1\], star"),
        (lambda: make(prior=priors.StandardNormal()), "star=True"),
        (lambda: make(private={"image": 3}), "`private` has the modalities 'image'"),
        (lambda: posteriors.Nexus({}), "`private` is a dict"),
        (lambda: kvae.objectives.Nexus(dropout=1.5), "`dropout` is a probability"),
        (lambda: make(kvae.objectives.Nexus(gammas={"sound": 1.0})), "modality 'sound'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
def test_they_train_save_and_translate(tmp_path):
    vae = make()
    before = [variable.numpy() for variable in vae.trainable_variables]
    vae.fit(DATA, epochs=1, batch_size=6, verbose=0)
    pairs = zip(vae.trainable_variables, before, strict=True)
    assert [variable.path for variable, old in pairs if np.array_equal(variable, old)] == []
    vae.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    images = vae.translate(digit=[0, 2], to="image", seed=3)
    np.testing.assert_array_equal(loaded.translate(digit=[0, 2], to="image", seed=3), images)
