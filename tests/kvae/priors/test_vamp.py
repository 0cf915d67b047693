"""kvae.priors.Vamp: the mixture of posteriors, against SciPy's densities and moments."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import export
import kvae
from kvae import posteriors, priors, random
from kvae.priors import Vamp

K, D = 5, 2
CODES = {"finite_scalar", "hierarchical_residual", "lookup_free", "sim_vq", "vector_quantized"}
UNSUITED = {"delta", "prior_noise", "planar", "sylvester", *CODES}  # Refused.


@pytest.fixture
def vae(make_vae):
    """A model whose prior has weights of its own, as it were after training."""
    vae = make_vae(prior=Vamp(K, learn_weights=True), latent_dim=D, optimizer="adam", eager=True)
    vae.prior.raw_logits.assign([0.7, -1.0, 0.2, 0.0, 1.0])
    return vae


def components(vae):
    """Weights, means and scales in float64, from the encoder as users call it."""
    params = vae.encode(np.asarray(vae.prior.pseudo_inputs))
    mean, log_var = np.float64(params["z_mean"]), np.float64(params["z_log_var"])
    return scipy.special.softmax(np.float64(vae.prior.logits)), mean, np.exp(0.5 * log_var)


def test_log_prob_is_the_mixture_of_the_pseudo_inputs_posteriors(vae):
    w, means, scales = components(vae)
    z = 3.0 * np.random.default_rng(1).normal(size=(3, 4, D)).astype("float32")
    each = scipy.stats.norm(means, scales).logpdf(z[..., None, :]).sum(axis=-1)
    truth = scipy.special.logsumexp(each, b=w, axis=-1)
    for prior in (vae.prior, vae.prior.precomputed()):
        np.testing.assert_allclose(prior.log_prob(z), truth, rtol=1e-5)
    np.testing.assert_allclose(vae.prior.log_prob(z[0, 0]), truth[0, 0], rtol=1e-5)


def test_matrix_products_are_as_precise_as_differences_however_narrow_the_components():
    """[..., K, D] is never stored; the squares that cancel must not cost digits."""
    rng = np.random.default_rng(0)
    mean = 5.0 * rng.normal(size=(7, 40)).astype("float32")
    log_var = rng.uniform(-20.0, 5.0, size=(7, 40)).astype("float32")
    z = (mean + np.exp(0.5 * log_var) * rng.normal(size=(7, 40))).astype("float32")
    params = {"z_mean": tf.constant(mean), "z_log_var": tf.constant(log_var)}
    scales = np.exp(0.5 * np.float64(log_var))
    truth = scipy.stats.norm(mean, scales).logpdf(np.float64(z)[:, None]).sum(axis=-1)
    found = posteriors.DiagonalGaussian(40).cross_log_prob(params, tf.constant(z))
    np.testing.assert_allclose(found, truth, rtol=2e-6)


@pytest.mark.default("hierarchical")
@pytest.mark.parametrize("name", sorted(set(posteriors.REGISTER) - UNSUITED))
def test_every_posterior_with_a_density_can_be_mixed(make_vae, digits, eagerly, name):
    prior = Vamp(3, initial=digits)
    if name == "gumbel_softmax":
        name = posteriors.GumbelSoftmax(num_categories=3)
    vae = make_vae(posterior=name, prior=prior, latent_dim=3, optimizer="adam", eager=True)
    z = prior.sample(6, 0)
    assert z.shape == (6, 3) and prior.space == vae.posterior.space
    each = [  # One component at a time, through the posterior's own log_prob.
        vae.posterior.log_prob(vae.encode_params(prior.pseudo_inputs[k : k + 1]), z)
        for k in range(3)
    ]
    truth = scipy.special.logsumexp(np.stack(each), axis=0) - np.log(3)
    np.testing.assert_allclose(prior.log_prob(z), truth, rtol=1e-4, atol=1e-4)
    assert np.isfinite(vae.fit(digits[:16], verbose=0).history["loss"]).all()
    cold, mean = prior.sample(6, 0, temperature=0.5), np.asarray(prior.mean())
    assert np.isfinite(cold).all() and mean.shape == (3,)


def test_draws_have_the_mixtures_moments(vae):
    w, means, scales = components(vae)
    n = 40_000
    z = np.float64(vae.prior.sample(n, 3))
    mean = w @ means
    second = np.einsum("k,ki,kj->ij", w, means, means) + np.diag(w @ scales**2)
    for values, truth in ((z, mean), (np.einsum("ni,nj->nij", z, z), second)):
        error = values.std(axis=0) / np.sqrt(n)
        assert (np.abs(values.mean(axis=0) - truth) < 5 * error).all()
    np.testing.assert_allclose(vae.prior.mean(), mean, rtol=1e-5)
    cold, half = (np.float64(vae.prior.sample(500, 3, temperature=t)) for t in (0.0, 0.5))
    nearest = np.abs(cold[:, None] - means).max(axis=-1).min(axis=1)
    assert nearest.max() < 1e-5
    np.testing.assert_allclose(half, (cold + vae.prior.sample(500, 3)) / 2, atol=1e-5)


@pytest.mark.slow  # `test_parts.py` asks every prior in a graph by default.
def test_draws_and_densities_are_the_same_in_a_graph_and_under_xla(vae):
    def draw(seed):
        z = vae.prior.sample(20, seed)
        return z, vae.prior.log_prob(z)

    eager = draw(random.as_seed(3))
    for compiled in (False, True):
        graph = tf.function(draw, jit_compile=compiled)
        for here, there in zip(eager, graph(random.as_seed(3)), strict=True):
            np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


def test_training_moves_pseudo_inputs_and_weights_within_the_support(vae, digits, eagerly):
    before = np.asarray(vae.prior.pseudo_inputs)
    weights = np.asarray(vae.prior.logits)
    vae.compile(keras.optimizers.Adam(0.5), run_eagerly=True)  # Steps as large as the support.
    vae.fit(digits, batch_size=16, epochs=2, verbose=0)
    after = np.asarray(vae.prior.pseudo_inputs)
    assert np.abs(after - before).max() > 0.5 and not np.allclose(weights, vae.prior.logits)
    assert after.min() == 0.0 and after.max() == 1.0


def test_a_pseudo_input_beyond_the_support_has_only_the_gradient_that_leads_back(vae):
    prior = vae.prior
    raw = np.full(prior.raw_pseudo_inputs.shape, 0.5, "float32")
    raw[:, 0], raw[:, 1] = -3.0, 3.0
    prior.raw_pseudo_inputs.assign(raw)
    slope = np.random.default_rng(0).normal(size=raw.shape).astype("float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(prior.pseudo_inputs * slope)
    gradient = tape.gradient(value, prior.raw_pseudo_inputs.value)
    truth = slope.copy()
    truth[:, 0] = np.minimum(slope[:, 0], 0.0)  # Descent leads up.
    truth[:, 1] = np.maximum(slope[:, 1], 0.0)
    np.testing.assert_array_equal(gradient, truth)


def test_starts_from_rows_of_the_data_or_from_noise_in_the_support(make_vae, digits):
    data = kvae.datasets.Dataset(np.round(digits * 255).astype("uint8"))
    started = [make_vae(prior=Vamp(4, initial=x)).prior for x in (data, data.examples)]
    for prior in started:
        u = np.asarray(prior.pseudo_inputs)
        rows = {int(np.flatnonzero((data.examples == row).all(axis=(1, 2, 3)))[0]) for row in u}
        assert len(rows) == 4
    np.testing.assert_array_equal(*(prior.pseudo_inputs for prior in started))
    u = np.asarray(make_vae(prior=Vamp(50)).prior.pseudo_inputs)
    assert scipy.stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    u = np.asarray(make_vae(prior=Vamp(50), likelihood="gaussian").prior.pseudo_inputs)
    assert scipy.stats.kstest(u.ravel(), "norm").pvalue > 1e-3
    assert np.asarray(make_vae(prior="vamp").prior.pseudo_inputs).shape == (500, 8, 8, 1)


@pytest.mark.slow  # `test_combinations.py` saves a model with this prior.
@pytest.mark.default("False")
@pytest.mark.parametrize("declared", [True, False])
def test_comes_back_without_the_data_and_trains_on_alike(
    make_vae, make_encoder, digits, tmp_path, eagerly, declared
):
    prior = Vamp(4, initial=digits, learn_weights=True, seed=2)
    vae = make_vae(
        encoder=make_encoder(declared=declared), prior=prior, optimizer="adam", eager=True
    )
    vae.fit(digits[:32], batch_size=16, verbose=0)
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 200_000
    for model in (vae, loaded):
        model.run_eagerly = True
        model.fit(digits[:32], batch_size=16, verbose=0)
    for here, there in zip(vae.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(here, there)
    np.testing.assert_array_equal(vae.sample(4, seed=1), loaded.sample(4, seed=1))
    here, there = (model.log_prob(digits[:4], num_samples=9).value for model in (vae, loaded))
    np.testing.assert_array_equal(here, there)


def test_log_prob_of_the_model_is_exact_where_the_mixture_is_one_gaussian(linear_gaussian):
    """One pseudo-input: p(z) is Gaussian and p(x) known, whatever the encoder."""
    model = linear_gaussian
    vae = model.vae(prior=Vamp(1, seed=4))
    params = vae.encode(np.asarray(vae.prior.pseudo_inputs))
    mean, variance = params["z_mean"][0].numpy(), np.exp(params["z_log_var"][0])
    cov = model.w @ np.diag(variance) @ model.w.T + model.s**2 * np.eye(len(model.b))
    x = model.draw(5, 0)
    truth = scipy.stats.multivariate_normal(model.w @ mean + model.b, cov).logpdf(x)
    estimate = vae.log_prob(x, num_samples=2000)
    assert (np.abs(estimate.value - truth) < 5 * estimate.monte_carlo_error + 1e-3).all()


@pytest.mark.slow  # An export, and a process that verifies it.
def test_exports_with_the_pseudo_inputs_encoded_outside_of_the_loop(vae, tmp_path):
    # Those that ask the prior.
    signatures = ["generate", "interpolate_images", "score"]
    path = export.saved_model(vae, tmp_path / "vamp", signatures=signatures)
    report = export.verify(path, vae, batch_sizes=(1, 4))
    assert report.ok, str(report)
    assert {"generate", "score"} <= {row.signature for row in report.rows}


@pytest.mark.slow  # `test_parts.py` builds every prior in half precision.
def test_half_precision_leaves_the_prior_in_float32(make_vae, digits, policy):
    policy("mixed_float16")
    vae = make_vae(prior=Vamp(3, initial=digits), optimizer="adam", eager=True)
    history = vae.fit(digits[:32], batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert vae.prior.raw_pseudo_inputs.dtype == vae.prior.sample(2, 0).dtype.name == "float32"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda make_vae, x: Vamp(0), "`num_components` is at least 1"),
        (lambda make_vae, x: Vamp(3).log_prob(x), "within a model"),
        (lambda make_vae, x: Vamp(3, latent_dim=2).build(), "within a model"),
        (lambda make_vae, x: make_vae(posterior="delta", prior="vamp"), "a Delta posterior has"),
        (lambda make_vae, x: make_vae(posterior="prior_noise", prior="vamp"), "by the other"),
        (lambda make_vae, x: make_vae(posterior="planar", prior="vamp"), "at its own draws only"),
        (
            lambda make_vae, x: make_vae(prior=Vamp(65, initial=x)),
            r"\(64, 8, 8, 1\); 65 pseudo-inputs take \(n, 8, 8, 1\) with n at least 65",
        ),
        (lambda make_vae, x: make_vae(prior=Vamp(3, initial=x[..., 0])), "pseudo-inputs take"),
        (lambda make_vae, x: make_vae(prior=Vamp(3, initial=x * 2)), "`initial` has values"),
        (lambda make_vae, x: make_vae(prior=make_vae(prior=Vamp(3)).prior), "another model"),
    ],
)
def test_refuses_what_makes_no_sense(make_vae, digits, make, message):
    with pytest.raises(ValueError, match=message):
        make(make_vae, digits)


def test_config_round_trip():
    prior = Vamp(7, latent_dim=2, initial=np.zeros((9, 3)), learn_weights=True, seed=4)
    copy = priors.get(keras.saving.serialize_keras_object(prior))
    assert type(copy) is Vamp
    assert copy.get_config() == prior.get_config()
    assert (copy.num_components, copy.learn_weights, copy.seed) == (7, True, 4)
