"""GumbelSoftmax and VectorQuantized alone: against SciPy, TFP, a k-d tree and by hand."""

import keras
import numpy as np
import pytest
import scipy.spatial
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import kvae
from kvae import divergences, posteriors, priors, random
from kvae.posteriors import GumbelSoftmax, PriorNoise, VectorQuantized
from kvae.priors import UniformCategorical, UniformCodes

K, N, BATCH = 4, 3, 5


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(BATCH, N, K)).astype("float32")


def gumbel_softmax(logits, **settings):
    posterior = GumbelSoftmax(logits.shape[1] * logits.shape[2], logits.shape[2], **settings)
    return posterior, posterior({"z_logits": tf.constant(logits)})


def grouped(z):
    return np.asarray(z).reshape(*z.shape[:-1], N, K)


# Categorical variables.


def test_exact_draws_are_one_hot_with_the_categorical_frequencies(logits):
    posterior, params = gumbel_softmax(logits)
    n = 4000
    z = grouped(posterior.sample(params, n, seed=1))
    assert set(np.unique(z)) == {0.0, 1.0} and (z.sum(axis=-1) == 1).all()
    p = scipy.special.softmax(np.float64(logits), axis=-1)
    for i, j in np.ndindex(BATCH, N):
        assert scipy.stats.chisquare(z[:, i, j].sum(axis=0), n * p[i, j]).pvalue > 1e-4
    # The variables of one example are independent.
    pairs = np.einsum("sa,sb->ab", z[:, 0, 0], z[:, 0, 1])
    assert scipy.stats.chi2_contingency(pairs).pvalue > 1e-4
    np.testing.assert_allclose(grouped(posterior.mean(params)), p, rtol=1e-5)


def test_mass_and_kl_are_those_of_tfp(logits):
    posterior, params = gumbel_softmax(logits)
    exact = tfp.distributions.Independent(tfp.distributions.OneHotCategorical(logits), 1)
    z = posterior.sample(params, 6, seed=1)
    np.testing.assert_allclose(
        posterior.log_prob(params, z), exact.log_prob(grouped(z)), rtol=1e-5, atol=1e-6
    )
    uniform = tfp.distributions.Independent(
        tfp.distributions.OneHotCategorical(np.zeros_like(logits)), 1
    )
    prior = UniformCategorical(K, latent_dim=N * K)
    kl = divergences.closed_form_kl(posterior, prior)(params)
    np.testing.assert_allclose(kl, exact.kl_divergence(uniform), rtol=1e-5)
    np.testing.assert_allclose(prior.log_prob(z), uniform.log_prob(grouped(z)), rtol=1e-6)


def test_relaxed_draws_have_the_concrete_distribution():
    """Of two classes: temperature * logit(z) is logistic around the difference of the logits."""
    logits = np.array([[[0.7, -0.4]]], "float32")
    posterior, params = gumbel_softmax(logits, temperature=0.8)
    z = np.float64(posterior.sample(params, 4000, seed=1, training=True))[:, 0]
    np.testing.assert_allclose(z.sum(axis=-1), 1.0, atol=1e-6)
    scaled = 0.8 * (np.log(z[:, 0]) - np.log(z[:, 1]))
    assert scipy.stats.kstest(scaled, scipy.stats.logistic(1.1).cdf).pvalue > 1e-3


def test_relaxed_draws_go_to_the_exact_ones_as_the_temperature_falls(logits):
    exact = None
    distances = []
    for temperature in (1.0, 0.1, 0.001):
        posterior, params = gumbel_softmax(logits, temperature=temperature)
        exact = posterior.sample(params, 200, seed=1)
        relaxed = posterior.sample(params, 200, seed=1, training=True)
        np.testing.assert_array_equal(  # The largest class is the one that is drawn.
            grouped(relaxed).argmax(axis=-1), grouped(exact).argmax(axis=-1)
        )
        distances.append(float(np.abs(relaxed - exact).mean()))
    assert distances[0] > 3 * distances[1] > 9 * distances[2] and distances[2] < 1e-3


def test_relaxed_gradient_is_that_of_the_softmax(logits):
    posterior, params = gumbel_softmax(logits, temperature=0.5)
    weights = np.random.default_rng(1).normal(size=(BATCH, N * K)).astype("float32")
    hard, _ = gumbel_softmax(logits, temperature=0.5, straight_through=True)
    gradients, draws = [], []
    for q in (posterior, hard):
        with tf.GradientTape() as tape:
            tape.watch(params)
            z = q.sample(params, seed=2, training=True)
            value = tf.reduce_sum(z * weights)
        gradients.append(
            grouped(tape.gradient(value, params)["z_logits"].numpy().reshape(BATCH, -1))
        )
        draws.append(grouped(z))
    # d softmax(s/T) = (diag(y) − y yᵀ) / T.
    y, w = np.float64(draws[0]), np.float64(grouped(weights))
    exact = y * (w - np.sum(y * w, axis=-1, keepdims=True)) / 0.5
    np.testing.assert_allclose(gradients[0], exact, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(gradients[1], gradients[0])
    assert set(np.unique(draws[1])) == {0.0, 1.0} and not np.array_equal(*draws)
    np.testing.assert_array_equal(draws[1].argmax(axis=-1), draws[0].argmax(axis=-1))


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_stay_finite(logits, extreme):
    raw = tf.constant(logits * 0 + extreme * np.array([1, 0, -1, 0], "float32"))
    posterior = GumbelSoftmax(N * K, K, temperature=0.1)
    prior = UniformCategorical(K, latent_dim=N * K)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        params = posterior({"z_logits": raw})
        z = posterior.sample(params, 3, seed=1, training=True)
        kl = divergences.closed_form_kl(posterior, prior)(params)
        values = [z, kl, posterior.log_prob(params, z)]
        total = tf.add_n([tf.reduce_sum(value) for value in values])
    assert all(np.isfinite(value).all() for value in (*values, tape.gradient(total, raw)))
    np.testing.assert_allclose(kl, N * np.log(K), rtol=1e-5)  # Certain of one class.


# Codes.


def quantized(d=3, positions=2, k=7, seed=0, scale=1.0, shift=0.0, **settings):
    """A posterior with a codebook of normal numbers that is past its first step."""
    posterior = VectorQuantized(positions * d, k, d, **settings)
    posterior.build({"z_e": (None, positions * d)})
    rng = np.random.default_rng(seed)
    posterior.embeddings.assign(shift + scale * rng.normal(size=(k, d)))
    posterior.sums.assign(posterior.embeddings)
    posterior.steps.assign(1.0)
    return posterior, np.float64(posterior.embeddings)


def outputs(n=9, size=6, seed=1):
    return np.random.default_rng(seed).normal(size=(n, size)).astype("float32")


@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_codes_are_those_of_a_k_d_tree(shift):
    posterior, codebook = quantized(shift=shift)
    z_e = outputs(200) + np.float32(shift)
    params = posterior({"z_e": tf.constant(z_e)})
    exact = scipy.spatial.cKDTree(codebook).query(z_e.reshape(200, 2, 3))[1]
    codes = posterior.codes(params)
    assert codes.dtype == tf.int32 and len(np.unique(codes)) == 7
    np.testing.assert_array_equal(codes, exact)
    np.testing.assert_array_equal(posterior.nearest(z_e), exact)
    z = posterior.sample(params, seed=0)
    np.testing.assert_array_equal(z, posterior.embeddings.numpy()[exact].reshape(200, 6))
    np.testing.assert_array_equal(posterior.embed(codes), z)
    np.testing.assert_array_equal(posterior.mean(params), z)


def test_log_q_is_certain_of_the_codes():
    posterior, _ = quantized()
    params = posterior({"z_e": tf.constant(outputs())})
    z, log_q = posterior.sample_and_log_prob(params, 2, seed=0)
    assert z.shape == (2, 9, 6) and log_q.shape == (2, 9)
    np.testing.assert_array_equal(log_q, np.zeros((2, 9)))
    cross = posterior.cross_log_prob(params, z[0])
    same = (params["codes"][:, None] == params["codes"][None]).numpy().all(axis=-1)
    np.testing.assert_array_equal(cross, np.where(same, 0.0, -np.inf))


@pytest.mark.parametrize("ema", [True, False])
def test_gradients_go_straight_through(ema):
    """To the encoder those of the decoder's input and the commitment; to the codes their pull."""
    posterior, codebook = quantized(ema=ema, commitment=0.3)
    z_e = tf.constant(outputs())
    weights = np.random.default_rng(2).normal(size=(9, 6)).astype("float32")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z_e)
        params = posterior({"z_e": z_e})
        z = posterior.sample(params, seed=0)
        through, penalty = tf.reduce_sum(z * weights), posterior.penalty(params)
    np.testing.assert_array_equal(tape.gradient(through, z_e), weights)
    gap = np.float64(z_e - z)
    factor = 0.3 if ema else 1.3
    np.testing.assert_allclose(penalty, factor * np.sum(gap**2, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(penalty, z_e), 2 * 0.3 * gap, rtol=1e-4, atol=1e-6)
    assert tape.gradient(through, posterior.embeddings.value) is None
    assert (len(posterior.trainable_variables) == 0) == ema
    if not ema:
        exact = np.zeros_like(codebook)
        np.add.at(exact, np.asarray(params["codes"]), -2 * gap.reshape(9, 2, 3))
        found = tf.convert_to_tensor(tape.gradient(penalty, posterior.embeddings.value))
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_running_means_by_hand():
    posterior, codebook = quantized(decay=0.9, revive_after=None)
    counts, sums = np.ones(7), codebook.copy()
    for step in range(3):
        z_e = outputs(seed=step)
        flat = np.float64(z_e.reshape(-1, 3))
        codes = scipy.spatial.cKDTree(codebook).query(flat)[1]
        one_hot = np.eye(7)[codes]
        counts = 0.9 * counts + 0.1 * one_hot.sum(axis=0)
        sums = 0.9 * sums + 0.1 * one_hot.T @ flat
        smooth = (counts + 1e-5) / (counts.sum() + 7e-5) * counts.sum()
        codebook = sums / smooth[:, None]
        params = posterior({"z_e": tf.constant(z_e)}, training=True)
        np.testing.assert_array_equal(np.reshape(params["codes"], -1), codes)
        np.testing.assert_allclose(posterior.embeddings, codebook, rtol=1e-4, atol=1e-5)
    share = counts / counts.sum()
    exact = np.exp(-np.sum(share * np.log(share)))
    assert float(posterior.perplexity()) == pytest.approx(exact, rel=1e-4)
    assert float(posterior.report()["perplexity"]) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("ema", [True, False])
def test_dead_codes_move_to_outputs_of_the_batch(ema):
    posterior, codebook = quantized(ema=ema, revive_after=3)
    posterior.embeddings.assign(np.where(np.arange(7)[:, None] < 4, codebook, codebook + 100.0))
    posterior.sums.assign(posterior.embeddings)
    z_e = tf.constant(outputs(40))
    before = posterior.embeddings.numpy()
    for _ in range(3):
        np.testing.assert_allclose(posterior.embeddings[4:], before[4:], rtol=1e-4)
        params = posterior({"z_e": z_e}, training=True)
        assert np.max(params["codes"]) == 3
    rows = z_e.numpy().reshape(-1, 3)
    distance = scipy.spatial.distance.cdist(posterior.embeddings.numpy()[4:], rows)
    np.testing.assert_allclose(distance.min(axis=1), 0.0, atol=1e-5)
    np.testing.assert_array_equal(posterior.unused[4:], np.zeros(3))
    used = posterior({"z_e": z_e}, training=True)["codes"]
    assert set(np.unique(used)) >= {4, 5, 6}


def test_the_first_training_batch_makes_the_codebook():
    posteriors_ = [VectorQuantized(6, 4, 3, decay=0.0, seed=seed) for seed in (0, 0, 1)]
    z_e = 5.0 + tf.constant(outputs(50))
    for posterior in posteriors_:
        posterior({"z_e": z_e})  # Not by looking at it.
        assert np.abs(posterior.embeddings).max() <= 0.25
        posterior({"z_e": z_e}, training=True)
    means = [posterior.embeddings.numpy() for posterior in posteriors_]
    # Without memory (decay 0) a step leaves the mean of what each code stood for.
    assert np.abs(means[0] - 5.0).max() < 4.0
    np.testing.assert_array_equal(means[0], means[1])
    assert not np.array_equal(means[0], means[2])


def test_the_codebook_learns_three_clusters():
    """Outputs in tight clusters: the running means become the clusters' means."""
    rng = np.random.default_rng(0)
    centres = np.array([[5.0, 0.0], [-4.0, 3.0], [0.0, -6.0]])
    posterior = VectorQuantized(2, 3, 2, decay=0.8, revive_after=4)

    @tf.function
    def step(z_e):
        posterior({"z_e": z_e}, training=True)

    posterior.build({"z_e": (None, 2)})
    for _ in range(60):
        z_e = centres[rng.integers(3, size=60)] + 0.1 * rng.normal(size=(60, 2))
        step(tf.constant(z_e, tf.float32))
    distance = scipy.spatial.distance.cdist(centres, posterior.embeddings)
    assert distance.min(axis=1).max() < 0.1
    assert float(posterior.perplexity()) > 2.8


def test_features_of_the_right_size_are_the_outputs():
    posterior = VectorQuantized(12, 5, 3)
    params = posterior(tf.reshape(tf.range(24.0), (2, 2, 2, 3)))  # Two maps of three channels.
    np.testing.assert_array_equal(params["z_e"], np.arange(24.0).reshape(2, 12))
    assert params["codes"].shape == (2, 4) and not posterior.heads
    assert set(VectorQuantized(12, 5, 3)(tf.zeros((2, 7)))) == {"z_e", "codes"}
    weights = len(posterior.weights)
    posterior.build((None, 2, 2, 3))
    assert len(posterior.weights) == weights


# What does not go together.


def model(posterior, prior, latent_dim=6, **parts):
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    decoder = keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(4)])
    return kvae.VAE(encoder, decoder, latent_dim, posterior=posterior, prior=prior, **parts)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: GumbelSoftmax(num_categories=1), "`num_categories` is at least 2, not 1"),
        (lambda: GumbelSoftmax(temperature=0.0), "`temperature` is more than 0"),
        (lambda: VectorQuantized(num_embeddings=1), "`num_embeddings` is at least 2"),
        (lambda: VectorQuantized(decay=1.0), "`decay` is in"),
        (lambda: VectorQuantized(revive_after=0), "`revive_after`"),
        (lambda: model(GumbelSoftmax(num_categories=4), UniformCategorical(4)), "no multiple"),
        (lambda: model("prior_noise", UniformCategorical(4)), "no multiple"),
        (lambda: model(GumbelSoftmax(num_categories=3), UniformCategorical(2)), "the prior 2"),
        (lambda: model(VectorQuantized(embedding_dim=4), UniformCodes()), "no multiple"),
        (lambda: model("diagonal_gaussian", UniformCodes()), "puts z anywhere|VectorQuantized"),
        (lambda: model(PriorNoise(), UniformCodes()), "VectorQuantized"),
        (lambda: model(VectorQuantized(embedding_dim=2), "standard_normal"), "'uniform_codes'"),
        (
            lambda: model(GumbelSoftmax(num_categories=3), "standard_normal"),
            "'uniform_categorical'",
        ),
        (lambda: model(VectorQuantized(embedding_dim=2), "vamp"), "hardly any sequence of codes"),
        (
            lambda: model(
                GumbelSoftmax(num_categories=3),
                UniformCategorical(3),
                objective=kvae.objectives.ELBO(gradient="path"),
            ),
            "path gradient.*is discrete",
        ),
        (lambda: UniformCodes(latent_dim=6).sample(2, 0), "of a model"),
    ],
)
def test_refuses_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_config_round_trip_and_names():
    schedule = kvae.schedules.Linear(1.0, 0.5, steps=10)
    gumbel = GumbelSoftmax(6, 3, temperature=schedule, straight_through=True)
    codes = VectorQuantized(
        6, 9, 2, ema=False, decay=0.7, commitment=0.5, revive_after=None, seed=3
    )
    for part in (gumbel, codes):
        copy = posteriors.get(keras.saving.serialize_keras_object(part))
        assert type(copy) is type(part)
        settings = copy.get_config()
        assert {**settings, "name": None} == {**part.get_config(), "name": None}
    for name, kind in (("gumbel_softmax", GumbelSoftmax), ("vector_quantized", VectorQuantized)):
        assert type(posteriors.get(name)) is kind
    prior = priors.get(keras.saving.serialize_keras_object(UniformCategorical(3, latent_dim=6)))
    assert (prior.num_categories, prior.latent_dim) == (3, 6)
    assert type(priors.get("uniform_codes")) is UniformCodes
    assert type(priors.get("uniform_categorical")) is UniformCategorical


def test_gumbel_noise_is_gumbel():
    noise = np.float64(random.gumbel([20_000], 3))
    assert scipy.stats.kstest(noise, scipy.stats.gumbel_r.cdf).pvalue > 1e-3
