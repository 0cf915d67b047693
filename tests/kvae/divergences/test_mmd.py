"""The maximum mean discrepancy, and the objectives that hold it: InfoVAE and WAE."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from kvae.divergences.mmd import mmd

SCALES = (0.5, 2.0)


def double_loop(x, y, kernel, bandwidth, unbiased):
    """The definition, pair by pair."""

    def k(a, b):
        r = np.sum((a - b) ** 2)
        sizes = [scale * bandwidth for scale in SCALES]
        return sum(np.exp(-r / c) if kernel == "rbf" else c / (c + r) for c in sizes)

    def within(values):
        n = len(values)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j or not unbiased]
        return sum(k(values[i], values[j]) for i, j in pairs) / len(pairs)

    across = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("unbiased", [True, False])
def test_mmd_is_the_double_loop(kernel, unbiased):
    rng = np.random.default_rng(0)
    x, y = 3.0 + rng.normal(size=(2, 7, 3)), 2.0 + rng.normal(size=(2, 5, 3))
    for bandwidth in (None, 1.7):
        found = mmd(x.astype("float32"), y.astype("float32"), kernel, bandwidth, SCALES, unbiased)
        size = 6.0 if bandwidth is None else bandwidth
        expected = [double_loop(a, b, kernel, size, unbiased) for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert np.min(np.abs(expected)) > 0.01


def gaussian_mmd(mean, variance, dim, c):
    """MMD² of N(mean, variance I) and N(0, I) with k = exp(−r / c), and what 100 draws add to it.

    The difference of two draws is Gaussian, of variance v, and E exp(−r / c) of N(m, v I) is
    (1 + 2 v / c)^(−dim / 2) exp(−|m|² / (c + 2 v)). Here `v` is half of it.
    """

    def expected(squared_mean, v):
        return (1 + 4 * v / c) ** (-dim / 2) * np.exp(-squared_mean / (c + 4 * v))

    within = expected(0.0, variance) + expected(0.0, 1.0)
    # In the V-statistic, 1/100 of the pairs are of a draw with itself.
    return within - 2 * expected(dim * mean**2, 0.5 + 0.5 * variance), (2 - within) / 100


@pytest.mark.parametrize("mean, variance", [(0.5, 1.0), (0.0, 0.25), (0.0, 1.0)])
def test_mmd_of_gaussians_has_the_closed_form(mean, variance):
    x = mean + np.sqrt(variance) * kvae.random.normal([60, 100, 2], seed=0)
    y = kvae.random.normal([60, 100, 2], seed=1)
    exact, more = np.sum([gaussian_mmd(mean, variance, 2, 4.0 * s) for s in SCALES], axis=0)
    values = mmd(x, y, "rbf", scales=SCALES).numpy()
    error = values.std(ddof=1) / np.sqrt(60)
    assert abs(values.mean() - exact) < 4 * error and error < 0.006
    biased = mmd(x, y, "rbf", scales=SCALES, unbiased=False).numpy()
    assert biased.min() >= 0 and abs(biased.mean() - exact - more) < 4 * error < 2 * more
    assert (exact == pytest.approx(0.0, abs=1e-12)) == ((mean, variance) == (0.0, 1.0))


@pytest.mark.slow
def test_mmd_pulls_far_codes_in_and_stays_finite():
    y = kvae.random.normal([50, 4], seed=1)
    for far in (3.0, 100.0, 1e6):
        x = tf.Variable(far + kvae.random.normal([50, 4], seed=0))
        with tf.GradientTape() as tape:
            value = mmd(x, y)
        gradient = tape.gradient(value, x)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        assert (np.mean(gradient, axis=0) > 0).all() or far == 1e6
    compiled = tf.function(lambda x: tf.gradients(mmd(x, y), x)[0], jit_compile=True)(x)
    np.testing.assert_allclose(compiled, gradient, rtol=1e-3, atol=1e-8)
    assert np.isfinite(mmd(y[:1], y[:1])) and np.isfinite(mmd(y[:1], y[:1], unbiased=False))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kernel": "gauss"}, "Unknown kernel 'gauss'"),
        ({"bandwidth": 0.0}, "`bandwidth` is None or more than 0"),
        ({"scales": ()}, "`scales` are one or more"),
        ({"scales": (1.0, -1.0)}, "`scales` are one or more"),
    ],
)
def test_what_is_no_kernel(settings, message):
    for make in (
        kvae.objectives.WAE,
        kvae.objectives.InfoVAE,
        lambda **s: mmd(tf.zeros([2, 1]), tf.zeros([2, 1]), **s),
    ):
        with pytest.raises(ValueError, match=message):
            make(**settings)


# The objectives.


@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "delta", "iaf"])
def test_the_loss_of_a_wae_has_the_mmd_and_no_kl(make_vae, digits, posterior):
    objective = kvae.objectives.WAE(lambda_=3.0, kernel="rbf", num_samples=2, unbiased=False)
    vae = make_vae(posterior=posterior, objective=objective)
    terms = objective.terms(vae, digits, digits, training=False, seed=4)
    z = vae.posterior.sample(vae.encode(digits), 2, seed=4)
    drawn = tf.reshape(vae.prior.sample(128, kvae.random.fold_in(4, 1)), (2, 64, 2))
    value = np.mean(mmd(z, drawn, "rbf", unbiased=False))
    np.testing.assert_allclose(terms["mmd"], np.full(64, value), rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], terms["reconstruction"] + 3.0 * value, rtol=1e-5)
    np.testing.assert_allclose(terms["elbo"], -terms["reconstruction"] - terms["kl"], rtol=1e-6)
    assert value > 0.1 and (posterior == "delta") == (np.max(np.abs(terms["kl"])) == 0)


def test_the_weights_of_an_info_vae(make_vae, digits):
    found = {}
    for settings in ((0.0, 1.0), (0.4, 5.0), (1.0, 2.0), (-3.0, 4.0)):
        vae = make_vae(objective=kvae.objectives.InfoVAE(*settings))
        terms = vae.objective.terms(vae, digits, digits, training=False, seed=4)
        found[settings] = terms["loss"] - terms["reconstruction"]
    kl, value = terms["kl"], terms["mmd"]
    np.testing.assert_allclose(found[0.0, 1.0], kl, rtol=1e-3, atol=1e-5)  # The ELBO.
    np.testing.assert_allclose(found[0.4, 5.0], 0.6 * kl + 4.4 * value, rtol=1e-3)
    np.testing.assert_allclose(found[1.0, 2.0], 2.0 * value, rtol=1e-3)  # MMD-VAE.
    np.testing.assert_allclose(found[-3.0, 4.0], 4.0 * kl, rtol=1e-3, atol=1e-5)  # β-VAE.


def test_codes_on_a_sphere_have_a_bandwidth_of_their_own(make_vae, digits):
    vae, found = make_vae(posterior="power_spherical", prior="uniform_sphere"), []
    z = vae.posterior.sample(vae.encode(digits[:8]), 1, seed=0)
    for bandwidth in (None, 2.0, 4.0):
        found.append(kvae.objectives.WAE(bandwidth=bandwidth).discrepancy(vae, z, 0)[0].numpy())
    assert found[0] == found[1] != found[2]


@pytest.mark.slow  # 120 epochs.
def test_a_deterministic_autoencoder_learns_the_prior(make_vae, digits):
    """The codes' first two moments come to those of N(0, I)."""
    vae = make_vae(posterior="delta", objective=kvae.objectives.WAE(lambda_=1000.0))
    vae.compile(keras.optimizers.Adam(0.01))
    assert np.abs(np.cov(vae.encode(digits)["z_mean"].numpy().T) - np.eye(2)).max() > 0.6
    vae.fit(digits, batch_size=64, epochs=120, verbose=0)
    z = vae.encode(digits)["z_mean"].numpy()
    assert np.abs(z.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.35)


@pytest.mark.slow  # `test_parts.py` saves every objective.
def test_they_come_back(make_vae, digits, tmp_path):
    for objective in (
        kvae.objectives.WAE(
            kvae.schedules.Linear(0.0, 9.0, steps=3), kernel="rbf", scales=[1.0, 2.0]
        ),
        kvae.objectives.InfoVAE(0.5, 20.0, bandwidth=3.0, unbiased=False, num_samples=2),
    ):
        vae = make_vae(objective=objective, optimizer="adam", eager=True)
        history = vae.fit(digits, batch_size=64, epochs=1, verbose=0).history
        assert np.isfinite(history["mmd"]).all()
        assert history.get("lambda_", [3.0]) == [3.0]
        vae.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras").objective
        assert loaded.get_config() == objective.get_config() and loaded.scales == objective.scales


def test_wrong_weights_and_models(make_vae):
    with pytest.raises(ValueError, match="`alpha` is at most 1"):
        kvae.objectives.InfoVAE(alpha=1.5)
    with pytest.raises(ValueError, match="`lambda_` is at least 1 − alpha, 0.5"):
        kvae.objectives.InfoVAE(alpha=0.5, lambda_=0.2)
    with pytest.raises(ValueError, match="finite"):
        kvae.objectives.InfoVAE(lambda_=float("inf"))
    with pytest.raises(ValueError, match="`lambda_` is at least 0"):
        kvae.objectives.WAE(lambda_=-1.0)
    with pytest.raises(ValueError, match=r"Use objective=kvae.objectives.WAE\(lambda_"):
        make_vae(posterior="delta", objective="info_vae")
    with pytest.raises(ValueError, match="this model has none"):
        make_vae(posterior="delta", prior=None, objective="wae")
    with pytest.raises(ValueError, match="depends on the label"):
        make_vae(prior="class_conditional", num_classes=2, objective="wae")
    discrete = {
        "posterior": kvae.posteriors.GumbelSoftmax(num_categories=2),
        "prior": kvae.priors.UniformCategorical(num_categories=2),
    }
    with pytest.raises(ValueError, match="GumbelSoftmax posterior is discrete"):
        make_vae(objective="info_vae", **discrete)
