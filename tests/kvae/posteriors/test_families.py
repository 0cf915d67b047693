"""The posteriors beside DiagonalGaussian: densities, draws, gradients and KLs against the truth."""

import types

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from kvae import divergences, posteriors, priors
from kvae.posteriors import (
    FullCovariance,
    GaussianMixture,
    Laplace,
    Logistic,
    LowRank,
    PowerSpherical,
    PriorNoise,
    StudentT,
    UnitVariance,
    VonMisesFisher,
)
from kvae.priors import StandardNormal, UniformSphere

N, D = 4, 3
MAKE = {
    "unit_variance": lambda d: UnitVariance(d),
    "full_covariance": lambda d: FullCovariance(d),
    "low_rank": lambda d: LowRank(d, rank=2),
    "laplace": lambda d: Laplace(d),
    "logistic": lambda d: Logistic(d),
    "student_t": lambda d: StudentT(d, df=4.5),
    "student_t_learned": lambda d: StudentT(d, df=None),
    "gaussian_mixture": lambda d: GaussianMixture(d, num_components=3),
    "power_spherical": lambda d: PowerSpherical(d),
    "von_mises_fisher": lambda d: VonMisesFisher(d),
}
SPHERICAL = {
    "power_spherical": tfp.distributions.PowerSpherical,
    "von_mises_fisher": tfp.distributions.VonMisesFisher,
}
families = pytest.mark.parametrize("name", MAKE)


def raw_parameters(posterior, n=N, seed=0):
    """What an encoder may return: normal numbers."""
    rng = np.random.default_rng(seed)
    return {
        name: tf.constant(rng.normal(size=(n, *shape)), tf.float32)
        for name, shape in posterior.parameter_shapes().items()
    }


def make(name, d=D, n=N, seed=0):
    posterior = MAKE[name](d)
    return posterior, posterior(raw_parameters(posterior, n, seed))


def prior_of(posterior):
    kind = UniformSphere if posterior.space == "sphere" else StandardNormal
    return kind(posterior.latent_dim)


def as_numpy(params):
    return {name: np.asarray(value, np.float64) for name, value in params.items()}


def covariance(name, params):
    """The covariance of the Gaussian families, `[N, D, D]`, entry by entry."""
    p = as_numpy(params)
    if name == "unit_variance":
        return np.tile(np.eye(D), (N, 1, 1))
    if name == "full_covariance":
        factor = np.zeros((N, D, D))
        for i in range(D):
            factor[:, i, i] = np.exp(0.5 * p["z_log_var"][:, i])
            for j in range(i):
                factor[:, i, j] = p["z_lower"][:, i * (i - 1) // 2 + j]
        return np.einsum("nij,nkj->nik", factor, factor)
    low_rank = np.einsum("nij,nkj->nik", p["z_factor"], p["z_factor"])
    return low_rank + np.exp(p["z_log_var"])[:, None, :] * np.eye(D)


def reference_log_prob(name, params, z):
    p, z = as_numpy(params), np.asarray(z, np.float64)
    if name in ("unit_variance", "full_covariance", "low_rank"):
        each = zip(p["z_mean"], covariance(name, params), strict=True)
        normals = [scipy.stats.multivariate_normal(mean, cov) for mean, cov in each]
        return np.stack([q.logpdf(z[:, i]) for i, q in enumerate(normals)], axis=1)
    if name == "gaussian_mixture":
        scales = np.exp(0.5 * p["z_log_vars"])
        each = scipy.stats.norm(p["z_means"], scales).logpdf(z[:, :, None, :]).sum(axis=-1)
        log_weights = scipy.special.log_softmax(p["z_logits"], axis=-1)
        return scipy.special.logsumexp(each + log_weights, axis=-1)
    if name in SPHERICAL:
        return SPHERICAL[name](p["z_mean"], p["z_concentration"][:, 0]).log_prob(z).numpy()
    return noise_distribution(name, p)(p["z_mean"], np.exp(p["z_log_scale"])).logpdf(z).sum(-1)


def noise_distribution(name, p):
    """SciPy's distribution of a location-scale family, as a function of location and scale."""
    if name == "laplace":
        return scipy.stats.laplace
    if name == "logistic":
        return scipy.stats.logistic
    df = p.get("z_df", 4.5)
    return lambda loc, scale: scipy.stats.t(df, loc, scale)


# Densities.


@families
def test_log_prob_is_that_of_tfp_and_scipy(name):
    posterior, params = make(name)
    z = posterior.sample(params, 5, seed=1)
    log_q = posterior.log_prob(params, z)
    assert log_q.shape == (5, N)
    np.testing.assert_allclose(log_q, reference_log_prob(name, params, z), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(posterior.log_prob(params, z[2]), log_q[2], rtol=1e-5, atol=1e-6)


def test_low_rank_density_survives_cancellation():
    """Factors 1e4 times the diagonal, nearly parallel: in float32 nothing is left."""
    posterior = LowRank(D, rank=2)
    factor = np.array([[[30.0, 30.001], [-20.0, -20.0], [10.0, 10.0]]])
    params = posterior({
        "z_mean": tf.zeros((1, D)), "z_log_var": tf.fill((1, D), -12.0),
        "z_factor": tf.constant(factor, tf.float32),
    })  # fmt: skip
    z = posterior.sample(params, 50, seed=3)
    p = as_numpy(params)
    cov = np.exp(-12.0) * np.eye(D) + p["z_factor"][0] @ p["z_factor"][0].T
    exact = scipy.stats.multivariate_normal(np.zeros(D), cov).logpdf(np.float64(z)[:, 0])
    np.testing.assert_allclose(posterior.log_prob(params, z)[:, 0], exact, atol=2e-2)


def test_full_covariance_of_one_dimension_is_diagonal():
    posterior = FullCovariance(1)
    assert list(posterior.parameter_shapes()) == ["z_mean", "z_log_var"]
    diagonal = posteriors.DiagonalGaussian(1)
    params = posterior(raw_parameters(posterior))
    np.testing.assert_array_equal(
        posterior.sample(params, 3, seed=0), diagonal.sample(params, 3, seed=0)
    )
    kl = [divergences.closed_form_kl(q, StandardNormal(1))(params) for q in (posterior, diagonal)]
    np.testing.assert_array_equal(*kl)


# Draws.


def assert_mean(values, exact, sigmas=5.0, largest=None):
    """`values` `[draws, ...]` average to `exact` within their standard error."""
    error = np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - exact) < sigmas * error + 1e-6).all()
    if largest is not None:
        assert error.max() < largest  # Otherwise it shows nothing.


@pytest.mark.parametrize("name", ["unit_variance", "full_covariance", "low_rank"])
def test_gaussian_draws_have_their_mean_and_covariance(name):
    posterior, params = make(name)
    z = np.float64(posterior.sample(params, 20_000, seed=2))
    assert_mean(z, posterior.mean(params))
    centred = z - np.float64(posterior.mean(params))
    assert_mean(np.einsum("sni,snj->snij", centred, centred), covariance(name, params))
    if name != "unit_variance":
        np.testing.assert_allclose(
            posterior.covariance(params), covariance(name, params), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", ["laplace", "logistic", "student_t", "student_t_learned"])
def test_other_draws_have_their_distribution(name):
    posterior, params = make(name)
    p = as_numpy(params)
    z = np.float64(posterior.sample(params, 5000, seed=2))
    uniform = noise_distribution(name, p)(p["z_mean"], np.exp(p["z_log_scale"])).cdf(z)
    by_column = uniform.reshape(5000, N * D).T
    assert min(scipy.stats.kstest(u, "uniform").pvalue for u in by_column) > 1e-3
    correlation = np.corrcoef(by_column) - np.eye(N * D)
    assert np.abs(correlation).max() < 5 / np.sqrt(5000)
    np.testing.assert_array_equal(posterior.mean(params), params["z_mean"])


def test_mixture_draws_have_the_mixture_s_moments():
    posterior, params = make("gaussian_mixture")
    p = as_numpy(params)
    w = scipy.special.softmax(p["z_logits"], axis=-1)
    mean = np.einsum("nk,nkd->nd", w, p["z_means"])
    np.testing.assert_allclose(posterior.mean(params), mean, rtol=1e-5, atol=1e-6)
    second = np.einsum("nk,nki,nkj->nij", w, p["z_means"], p["z_means"])
    second += np.einsum("nk,nkd->nd", w, np.exp(p["z_log_vars"]))[:, None, :] * np.eye(D)
    z = np.float64(posterior.sample(params, 20_000, seed=2))
    assert_mean(z, mean, largest=0.02)
    assert_mean(np.einsum("sni,snj->snij", z, z), second, largest=0.1)


def test_spherical_draws_lie_on_the_sphere_around_their_direction():
    posterior, params = make("power_spherical", d=4)
    p = as_numpy(params)
    z = np.float64(posterior.sample(params, 20_000, seed=2))
    np.testing.assert_allclose(np.sum(z**2, axis=-1), 1.0, atol=1e-5)
    # E[z] = direction * E[cosine], where (1 + cosine) / 2 ~ Beta(1.5 + concentration, 1.5).
    alpha = 1.5 + p["z_concentration"]
    assert_mean(z, p["z_mean"] * (alpha - 1.5) / (alpha + 1.5), largest=0.01)
    cosine = np.sum(z * p["z_mean"], axis=-1)
    for i in range(N):
        exact = scipy.stats.beta(alpha[i, 0], 1.5)
        assert scipy.stats.kstest((1 + cosine[:, i]) / 2, exact.cdf).pvalue > 1e-3
    np.testing.assert_array_equal(posterior.mean(params), params["z_mean"])


# Gradients.


def test_implicit_gradient_of_the_mixture_is_unbiased():
    """Of E[a·z + (b·z)²], known in closed form, in every parameter, the weights included."""
    posterior = GaussianMixture(D, num_components=3)
    raw = raw_parameters(posterior, n=1, seed=3)
    a, b = tf.constant([0.5, -1.0, 0.3]), tf.constant([1.0, 0.7, -0.8])

    def exact(params):
        along, means = tf.linalg.matvec(params["z_means"], b), params["z_means"]
        spread = tf.linalg.matvec(tf.exp(params["z_log_vars"]), b**2)
        each = tf.linalg.matvec(means, a) + along**2 + spread
        return tf.reduce_sum(tf.nn.softmax(params["z_logits"]) * each)

    @tf.function(autograph=False)
    def estimated(seed):
        with tf.GradientTape() as tape:
            tape.watch(raw)
            z = posterior.sample(posterior(raw), 2000, seed=seed)
            value = tf.reduce_mean(tf.linalg.matvec(z, a) + tf.linalg.matvec(z, b) ** 2)
        return tape.gradient(value, raw)

    with tf.GradientTape() as tape:
        tape.watch(raw)
        value = exact(raw)
    truth = tape.gradient(value, raw)
    runs = [estimated(tf.constant([seed, 0])) for seed in range(40)]
    for key in raw:
        estimates = np.stack([run[key] for run in runs])
        assert_mean(estimates, truth[key], largest=0.1 * np.abs(truth[key]).max())


# KL divergences.


# A t of 2.1 degrees of freedom has no error bar here; the quadrature below tests it.
@pytest.mark.parametrize(
    "name", [name for name in MAKE if name not in ("gaussian_mixture", "student_t_learned")]
)
def test_closed_form_kl_is_the_expectation_that_defines_it(name):
    posterior, params = make(name)
    prior, n = prior_of(posterior), 20_000
    z, log_q = posterior.sample_and_log_prob(params, n, seed=3)
    log_ratio = np.float64(log_q - prior.log_prob(z))
    kl = divergences.closed_form_kl(posterior, prior)(params)
    assert kl.shape == (N,)
    assert_mean(log_ratio, kl, largest=0.5)


@pytest.mark.parametrize("name", ["unit_variance", "full_covariance", "low_rank"])
def test_gaussian_kl_is_that_of_tfp(name):
    posterior, params = make(name)
    factor = np.linalg.cholesky(covariance(name, params))
    q = tfp.distributions.MultivariateNormalTriL(np.float64(params["z_mean"]), factor)
    p = tfp.distributions.MultivariateNormalTriL(np.zeros(D), np.eye(D))
    kl = divergences.closed_form_kl(posterior, StandardNormal(D))(params)
    np.testing.assert_allclose(kl, tfp.distributions.kl_divergence(q, p), rtol=1e-5)


@pytest.mark.parametrize("name", ["laplace", "logistic", "student_t", "student_t_learned"])
def test_other_kl_is_that_of_quadrature(name):
    posterior, params = make(name)
    p = as_numpy(params)
    q = noise_distribution(name, p)(p["z_mean"], np.exp(p["z_log_scale"]))
    # Gauss and Legendre's nodes on pieces that grow away from the centre, far into the tails.
    largest = 1e13 if name.startswith("student_t") else 500.0
    ends = np.geomspace(1e-3, largest, 60)
    ends = np.concatenate([-ends[::-1], [0.0], ends])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = 0.5 * np.diff(ends)
    t = (0.5 * (ends[:-1] + ends[1:]) + half * nodes[:, None]).reshape(-1, 1, 1)
    z = p["z_mean"] + np.exp(p["z_log_scale"]) * t
    integrand = q.pdf(z) * (q.logpdf(z) - scipy.stats.norm.logpdf(z))
    weights = (weights[:, None] * half).reshape(-1, 1, 1) * np.exp(p["z_log_scale"])
    exact = np.sum(integrand * weights, axis=0).sum(axis=-1)
    kl = divergences.closed_form_kl(posterior, StandardNormal(D))(params)
    np.testing.assert_allclose(kl, exact, rtol=5e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPHERICAL)
def test_spherical_kl_is_that_of_tfp(name):
    posterior, params = make(name)
    p = as_numpy(params)
    q = SPHERICAL[name](p["z_mean"], p["z_concentration"][:, 0])
    uniform = tfp.distributions.SphericalUniform(D, dtype=np.float64)
    kl = divergences.closed_form_kl(posterior, UniformSphere(D))(params)
    np.testing.assert_allclose(kl, q.kl_divergence(uniform), rtol=1e-4, atol=1e-6)


def test_a_mixture_of_equal_components_is_one_gaussian():
    posterior, one = GaussianMixture(D, num_components=3), posteriors.DiagonalGaussian(D)
    params = one(raw_parameters(one))
    copies = {
        "z_logits": tf.random.stateless_normal((N, 3), [0, 1]),
        "z_means": tf.repeat(params["z_mean"][:, None], 3, axis=1),
        "z_log_vars": tf.repeat(params["z_log_var"][:, None], 3, axis=1),
    }
    z = one.sample(params, 5, seed=0)
    log_q = posterior.log_prob(posterior(copies), z)
    np.testing.assert_allclose(log_q, one.log_prob(params, z), rtol=1e-5, atol=1e-5)
    assert divergences.closed_form_kl(posterior, StandardNormal(D)) is None


# Noise of the prior.


def test_prior_noise_is_the_prior_whatever_x_is():
    posterior, prior = PriorNoise(D), priors.GaussianMixture(4, latent_dim=D)
    prior.build()
    features = [np.random.default_rng(seed).normal(size=(N, 7)).astype("f") for seed in (0, 1)]
    params = posterior(features[0])
    assert not posterior.weights and set(params) == {"batch"}
    np.testing.assert_array_equal(params["batch"], np.zeros((N, 1)))
    with pytest.raises(ValueError, match="make a kvae.VAE with it"):
        posterior.sample(params, 3, seed=5)
    posterior.attach(types.SimpleNamespace(prior=prior))
    z, log_q = posterior.sample_and_log_prob(params, 3, seed=5)
    assert z.shape == (3, N, D)
    np.testing.assert_array_equal(z, posterior.sample(posterior(features[1]), 3, seed=5))
    flat = tf.reshape(z, (-1, D))
    np.testing.assert_array_equal(flat, prior.sample(3 * N, 5))
    np.testing.assert_allclose(tf.reshape(log_q, [-1]), prior.log_prob(flat), rtol=1e-6)
    np.testing.assert_allclose(posterior.mean(params), np.tile(prior.mean(), (N, 1)), rtol=1e-6)
    for of, kl in ((prior, np.zeros(N)), (StandardNormal(D), None)):
        closed_form = divergences.closed_form_kl(posterior, of)
        assert (closed_form is None) == (kl is None)
        if kl is not None:
            np.testing.assert_array_equal(closed_form(params), kl)
    assert not posterior.weights  # The prior's are the model's.


def test_prior_noise_against_the_standard_normal_costs_nothing():
    posterior, prior = PriorNoise(D), StandardNormal(D)
    posterior.attach(types.SimpleNamespace(prior=StandardNormal(D)))
    params = posterior({"z_mean": np.ones((N, D), "f"), "other": np.ones((N, 2), "f")})
    np.testing.assert_array_equal(divergences.closed_form_kl(posterior, prior)(params), np.zeros(N))
    z, log_q = posterior.sample_and_log_prob(params, 3, seed=5)
    np.testing.assert_array_equal(log_q, prior.log_prob(z))
    np.testing.assert_array_equal(posterior.mean(params), np.zeros((N, D)))
    with pytest.raises(ValueError, match="needs a prior"):
        posterior.attach(types.SimpleNamespace(prior=None))


# Each coordinate alone, and the second moments.

WITH_MARGINALS = [name for name in MAKE if name not in SPHERICAL]


@pytest.mark.parametrize("name", WITH_MARGINALS)
def test_a_marginal_is_the_integral_over_the_other_coordinate(name):
    posterior, params = make(name, d=2)
    z = np.random.default_rng(1).normal(size=(N, 2))
    grid = np.sinh(np.linspace(-8, 8, 4001))  # Fine at the centre, and far out.
    marginal = posterior.marginal_log_prob(params, z.astype("float32"))
    assert marginal.shape == (N, 2)
    for i in range(2):
        points = np.repeat(z[None], len(grid), axis=0)
        points[..., 1 - i] = grid[:, None]
        density = np.exp(posterior.log_prob(params, points.astype("float32")), dtype=np.float64)
        integral = np.trapezoid(density, grid, axis=0)
        np.testing.assert_allclose(marginal[:, i], np.log(integral), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", WITH_MARGINALS)
def test_the_covariance_is_that_of_the_draws(name):
    posterior, params = make(name, n=2)
    z = posterior.sample(params, 40_000, seed=3).numpy().astype(np.float64)
    away = (z - posterior.mean(params).numpy()).reshape(40, 1000, 2, D)
    estimates = np.einsum("gnbi,gnbj->gbij", away, away) / 1000
    error = estimates.std(axis=0, ddof=1) / np.sqrt(40)
    difference = np.abs(estimates.mean(axis=0) - posterior.covariance(params))
    assert (difference < 5 * error + 1e-4).all()
