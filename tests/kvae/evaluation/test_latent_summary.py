"""kvae.evaluation.latent_summary: closed forms, and the definitions in numpy."""

import numpy as np
import pytest
import scipy.stats
from scipy.special import logsumexp

import kvae
from kvae import divergences
from kvae.evaluation import active_units, latent_summary


def test_active_units_are_those_whose_mean_varies():
    means = np.random.default_rng(0).normal(size=(500, 4)) * [1.0, 0.2, 0.05, 0.0]
    assert active_units(means) == 2
    assert active_units(means, threshold=0.1) == 1
    # What differs between classes alone says nothing given the class.
    label = np.arange(500) % 3
    means[:, 3] = label
    assert active_units(means) == 3 and active_units(means, label) == 2


def test_of_the_true_posterior(linear_gaussian, eagerly):
    """q(z) is then the prior, and I(x; z) that of a Gaussian channel."""
    x = linear_gaussian.draw(2000, seed=1)
    vae = linear_gaussian.vae()
    summary = latent_summary(vae, x, num_samples=2, seed=3)
    exact = -0.5 * np.sum(np.log(linear_gaussian.variance))  # Of p(z|x) against p(z): 1.4 nats.
    error = summary.mutual_information_error
    assert error < 0.04
    assert abs(summary.mutual_information - exact) < 4 * error
    # By these examples, KL per dimension is ½(σ² + m² − 1 − log σ²).
    means = (x - linear_gaussian.b) @ linear_gaussian.a.T
    variance = linear_gaussian.variance
    kl = 0.5 * (variance + np.mean(means**2, axis=0) - 1 - np.log(variance))
    np.testing.assert_allclose(summary.kl_per_dimension, kl, rtol=1e-4)
    assert summary.rate == pytest.approx(kl.sum(), rel=1e-4)
    assert abs(summary.aggregate_kl) < 4 * error
    np.testing.assert_allclose(summary.variance_of_means, means.var(axis=0), rtol=1e-4)
    assert summary.active_units == 2 and summary.latent_dim == 2
    assert summary.marginal_kl_per_dimension is None
    assert abs(summary.total_correlation) < 0.03
    # The aggregate of a posterior that is off by a constant is off by as much: ½ shift² for each.
    moved = latent_summary(linear_gaussian.vae(shift=1.0), x, num_samples=2, seed=3)
    assert moved.mutual_information == pytest.approx(summary.mutual_information, abs=1e-3)
    shifted = 0.5 * np.sum(1.0 + 2 * np.mean(means, axis=0))
    assert moved.aggregate_kl - summary.aggregate_kl == pytest.approx(shifted, rel=1e-3)
    # Of Gaussians the moments are all there is to know.
    assert summary.misfit == pytest.approx(0.0, abs=0.01) and summary.state() == "healthy"
    assert moved.misfit == pytest.approx(moved.aggregate_kl, abs=0.1)
    far = latent_summary(linear_gaussian.vae(shift=9.0), x, seed=3)
    assert far.misfit == pytest.approx(far.aggregate_kl, rel=0.05)
    assert far.state() == "off the prior"


def test_total_correlation_of_a_correlated_aggregate(make_vae):
    """Means and noise are Gaussian, so q(z) is, and TC = −½ log (1 − ρ²)."""
    n, noise = 3000, 0.5
    means = np.random.default_rng(0).multivariate_normal([0, 0], [[1.0, 0.9], [0.9, 1.0]], n)
    params = {"z_mean": means.astype("float32"), "z_log_var": np.full((n, 2), 2 * np.log(noise))}
    found = of_params(make_vae(), {name: np.float32(value) for name, value in params.items()})
    covariance = np.cov(means.T) + noise**2 * np.eye(2)
    rho = covariance[0, 1] / np.sqrt(np.prod(np.diag(covariance)))
    assert found.total_correlation == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.03)


def of_params(vae, params, label=None):
    """A summary of given parameters: the encoder is left out."""
    vae.encode_data = lambda x, label, batch_size: (params, label)
    n = len(next(iter(params.values())))
    return latent_summary(vae, np.zeros((n, *vae.event_shape), "float32"), label=label)


def test_it_is_bounded_by_the_number_of_examples(make_vae):
    z_mean = np.arange(20.0, dtype="float32").reshape(10, 2) * 50
    params = {"z_mean": z_mean, "z_log_var": np.zeros((10, 2), "float32")}
    summary = of_params(make_vae(), params)
    assert summary.mutual_information == pytest.approx(np.log(10), rel=1e-5)
    assert summary.mutual_information_error == pytest.approx(0.0, abs=1e-5)


@pytest.mark.default("full_covariance")
@pytest.mark.parametrize("posterior", ["full_covariance", "low_rank"])
def test_of_correlated_gaussians(make_vae, digits, posterior):
    vae = make_vae(posterior=posterior, latent_dim=3)
    summary = latent_summary(vae, digits, seed=5)
    params = vae.encode(digits)
    mean, covariance = (np.asarray(v) for v in (params["z_mean"], vae.posterior.covariance(params)))
    z = vae.posterior.sample(params, 1, seed=kvae.random.as_seed(5)).numpy()[0]
    log_q = np.stack(
        [
            scipy.stats.multivariate_normal(mean[j], covariance[j]).logpdf(z)
            for j in range(len(digits))
        ],
        axis=1,
    )
    log_ratio = np.diagonal(log_q) - (logsumexp(log_q, axis=1) - np.log(len(digits)))
    assert summary.mutual_information == pytest.approx(log_ratio.mean(), rel=1e-3, abs=1e-4)
    error = log_ratio.std(ddof=1) / 8
    assert summary.mutual_information_error == pytest.approx(error, rel=1e-2)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    marginal = 0.5 * np.mean(variance + mean**2 - 1 - np.log(variance), axis=0)
    np.testing.assert_allclose(summary.marginal_kl_per_dimension, marginal, rtol=1e-4)
    assert summary.kl_per_dimension is None
    # What is missing is the total correlation ½ (Σ log σ² − log det Σ), averaged over x.
    correlation = 0.5 * (np.log(variance).sum(axis=1) - np.linalg.slogdet(covariance)[1])
    assert summary.rate == pytest.approx(marginal.sum() + correlation.mean(), rel=1e-4)
    assert "marginal_kl_z2" in summary.scalars() and "kl_z0" not in summary.scalars()


def test_of_a_posterior_that_ignores_x(make_vae, digits):
    summary = latent_summary(make_vae(posterior="prior_noise"), digits)
    assert summary.active_units == 0 and summary.rate == 0.0
    assert summary.mutual_information == pytest.approx(0.0, abs=1e-5)
    assert summary.state() == "collapsed"


@pytest.mark.slow  # Two flows; what the figures are is tested above.
def test_of_flows(make_vae, digits, monkeypatch):
    monkeypatch.setattr("kvae.evaluation.latents.summary._NUMBERS", 60)  # Chunks of three codes.
    x = digits[:10]
    vae = make_vae(posterior=kvae.posteriors.Flow(flows="real_nvp", num_flows=2))
    summary = latent_summary(vae, x, num_samples=2, seed=7)
    params = vae.encode(x)
    z, log_q = vae.posterior.sample_and_log_prob(params, 2, seed=7)
    pairs = np.stack(  # log q(z_i|x_j), one j after the other.
        [
            vae.posterior.log_prob({key: value[j : j + 1] for key, value in params.items()}, z)
            for j in range(10)
        ]
    )
    log_ratio = log_q - (logsumexp(pairs, axis=0) - np.log(10))
    assert summary.mutual_information == pytest.approx(np.mean(log_ratio), abs=1e-5)
    error = np.mean(log_ratio, axis=0).std(ddof=1) / np.sqrt(10)
    assert summary.mutual_information_error == pytest.approx(error, abs=1e-5)
    assert summary.rate == pytest.approx(float(np.mean(log_q - vae.prior.log_prob(z))), rel=1e-5)
    assert summary.kl_per_dimension is None and summary.marginal_kl_per_dimension is None
    # No inverse, no density of one example's codes under another's posterior.
    planar = latent_summary(make_vae(posterior="planar"), x)
    assert planar.mutual_information is None and planar.aggregate_kl is None
    assert np.isfinite(planar.rate) and set(planar.scalars()) == {"active_units", "rate"}


def test_of_an_autoencoder(make_vae, digits):
    vae = make_vae(posterior="delta", prior=None)
    summary = latent_summary(vae, digits)
    codes = np.asarray(vae.encode(digits)["z_mean"], np.float64)
    np.testing.assert_allclose(summary.variance_of_means, codes.var(axis=0), rtol=1e-6)
    assert summary.scalars() == {"active_units": np.sum(codes.var(axis=0) > 0.01)}
    assert summary.state() == "healthy"


def test_on_the_sphere_units_are_measured_by_its_variance(make_vae):
    """In 120 dimensions every variance is below 0.01, however much z says."""
    d = 120
    directions = np.random.default_rng(0).normal(size=(50, d)).astype("float32")
    params = {
        "z_mean": directions / np.linalg.norm(directions, axis=1, keepdims=True),
        "z_concentration": np.full((50, 1), 5000.0, "float32"),
    }
    vae = make_vae(latent_dim=d, posterior="power_spherical", prior="uniform_sphere")
    summary = of_params(vae, params)
    assert summary.variance_of_means.max() < 0.015 and summary.active_units == d


def test_of_a_conditional_model_all_is_given_the_label(make_vae):
    label = np.arange(12) % 3
    vae = make_vae(prior="class_conditional", num_classes=3)
    vae.prior.means.assign([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    means = vae.prior.means.numpy()
    # The code tells the class and nothing else: that is what the prior of the class says.
    z_mean, z_log_var = means[label], np.zeros((12, 2), "float32")
    summary = of_params(vae, {"z_mean": z_mean, "z_log_var": z_log_var}, label)
    assert summary.rate == 0.0 and summary.active_units == 0
    assert summary.mutual_information == pytest.approx(0.0, abs=1e-5)
    # Within each class four codes far apart, in the first dimension alone.
    moved = z_mean + 100.0 * (np.arange(12) // 3)[:, None] * np.array([1, 0])
    summary = of_params(vae, {"z_mean": moved.astype("float32"), "z_log_var": z_log_var}, label)
    assert summary.mutual_information == pytest.approx(np.log(4), rel=1e-5)
    np.testing.assert_allclose(summary.variance_of_means, [100.0**2 * 1.25, 0.0], atol=1e-6)
    np.testing.assert_allclose(summary.kl_per_dimension, [0.5 * 100.0**2 * 3.5, 0.0], rtol=1e-5)


def test_states():
    def state(active, rate, dims=40):
        nothing = dict.fromkeys(
            ("kl_per_dimension", "marginal_kl_per_dimension", "mutual_information")
            + ("mutual_information_error", "aggregate_kl")
        )
        variance = np.zeros(dims)
        return kvae.evaluation.LatentSummary(
            active, variance, rate, num_examples=10, **nothing
        ).state()

    assert state(40, 0.05) == state(1, 3.0) == state(0, 3.0, dims=2) == "collapsed"
    assert state(2, 3.0) == state(19, 3.0) == "partly collapsed"
    assert state(20, 3.0) == state(1, 3.0, dims=2) == state(30, None) == "healthy"


def test_the_same_figures_for_every_form_and_batch(make_vae, digits):
    vae = make_vae()
    data = kvae.datasets.Dataset(digits)
    first = latent_summary(vae, digits, seed=2)
    for other in (
        latent_summary(vae, data, seed=2),
        latent_summary(vae, digits, batch_size=10, seed=2),
    ):
        assert other.scalars() == pytest.approx(first.scalars(), rel=1e-4)
    assert latent_summary(vae, digits, seed=4).mutual_information != first.mutual_information
    each = divergences.kl_per_dimension(vae.posterior, vae.prior)(vae.encode(digits))
    np.testing.assert_allclose(
        [first.scalars()["kl_z0"], first.scalars()["kl_z1"]], np.mean(each, axis=0), rtol=1e-5
    )
    assert "kl_z0" not in first.scalars(per_dimension=False)


def test_bad_arguments(make_vae, digits):
    vae = make_vae()
    with pytest.raises(ValueError, match="at least two examples"):
        latent_summary(vae, digits[:1])
    with pytest.raises(ValueError, match="`num_samples` is a whole number of at least 1"):
        latent_summary(vae, digits, num_samples=0)
