"""Models with discrete latents against the sum over every z."""

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats

import kvae
from kvae import divergences, random
from kvae.posteriors import GumbelSoftmax, VectorQuantized
from kvae.priors import UniformCategorical, UniformCodes

EVENT, K, N = (6,), 3, 2  # z is one of K^N = 9 points.


@pytest.fixture
def x():
    return (np.random.default_rng(0).random((12, *EVENT)) < 0.4).astype("float32")


@pytest.fixture
def make(make_vae):
    """`make("gumbel" or "quantized")`: a tiny model whose decoder tells the codes apart."""

    def make(name, optimizer="adam", eager=True, objective="elbo", **settings):
        if name == "gumbel":
            posterior = GumbelSoftmax(num_categories=K, **settings)
            prior, latent_dim = UniformCategorical(K), N * K
        else:
            posterior = VectorQuantized(num_embeddings=K, embedding_dim=2, **settings)
            prior, latent_dim = UniformCodes(), N * 2
        vae = make_vae(
            EVENT,
            latent_dim,
            posterior=posterior,
            prior=prior,
            optimizer=optimizer,
            eager=eager,
            objective=objective,
        )
        rng = np.random.default_rng(1)
        for weight in vae.decoder.weights:
            weight.assign(rng.normal(size=weight.shape))
        for weight in vae.encoder.weights:  # Far from uniform posteriors.
            weight.assign(2.0 * rng.normal(size=weight.shape) / np.sqrt(weight.shape[0]))
        return vae

    return make


both = pytest.mark.parametrize("name", ["gumbel", "quantized"])


def every_z(vae):
    """All K^N latents, `[9, latent_dim]`, and their codes, `[9, N]`."""
    codes = np.array(list(itertools.product(range(K), repeat=N)))
    if isinstance(vae.posterior, VectorQuantized):
        return np.asarray(vae.posterior.embed(codes)), codes
    return np.eye(K, dtype="float32")[codes].reshape(len(codes), -1), codes


def by_enumeration(vae, x):
    """log p(x|z) of every z, `[9, n]`, and log p(x), `[n]`."""
    z, _ = every_z(vae)
    outputs = vae.decode_params(np.repeat(z[:, None], len(x), axis=1))
    log_px = np.float64(vae.likelihood.log_prob(outputs, x))
    return log_px, scipy.special.logsumexp(log_px, axis=0) - N * np.log(K)


# The sum over every z.


def test_categorical_masses_sum_to_one_and_give_the_elbo(make, x):
    vae = make("gumbel", objective=kvae.objectives.ELBO(num_samples=2000, kl="monte_carlo"))
    params = vae.encode_params(x)
    z, _ = every_z(vae)
    log_q = np.float64(vae.posterior.log_prob(params, z[:, None]))
    assert log_q.shape == (K**N, len(x)) and np.ptp(log_q, axis=0).min() > 1
    np.testing.assert_allclose(scipy.special.logsumexp(log_q, axis=0), 0.0, atol=1e-5)
    q = np.exp(log_q)
    kl = np.sum(q * (log_q + N * np.log(K)), axis=0)
    closed_form = divergences.closed_form_kl(vae.posterior, vae.prior)
    np.testing.assert_allclose(closed_form(params), kl, rtol=1e-4, atol=1e-5)
    log_px, exact = by_enumeration(vae, x)
    elbo = np.sum(q * (log_px - log_q - N * np.log(K)), axis=0)
    assert (elbo < exact).all()
    terms = vae.objective.terms(vae, x, x, training=False, seed=random.as_seed(1))
    spread = np.sqrt(np.sum(q * (log_px - log_q - N * np.log(K) - elbo) ** 2, axis=0))
    assert (np.abs(terms["elbo"] - elbo) < 5 * spread / np.sqrt(2000) + 1e-4).all()
    spread = np.sqrt(np.sum(q * (log_q + N * np.log(K) - kl) ** 2, axis=0))
    assert (np.abs(terms["kl"] - kl) < 5 * spread / np.sqrt(2000) + 1e-4).all()


def test_the_bound_of_a_quantized_model_is_the_term_of_its_own_codes(make, x):
    vae = make("quantized")
    log_px, exact = by_enumeration(vae, x)
    codes = np.asarray(vae.posterior.codes(vae.encode_params(x)))
    assert codes.shape == (len(x), N) and len(np.unique(codes, axis=0)) > 1
    own = codes @ [K, 1]
    bound = log_px[own, np.arange(len(x))] - N * np.log(K)
    found = vae.log_prob(x, num_samples=7)
    np.testing.assert_allclose(found.value, bound, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.monte_carlo_error, 0.0, atol=1e-6)
    assert (found.value < exact).all()
    terms = vae.objective.terms(vae, x, x, training=False, seed=random.as_seed(1))
    np.testing.assert_allclose(terms["elbo"], bound, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(terms["kl"], N * np.log(K), rtol=1e-6)


@both
def test_what_the_prior_generates_is_uniform_over_every_z(make, name):
    vae = make(name)
    z, _ = every_z(vae)
    n = 4500
    drawn = np.asarray(vae.prior.sample(n, 3))
    distance = np.abs(drawn[:, None] - z).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-6
    counts = np.bincount(np.argmin(distance, axis=1), minlength=K**N)
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    np.testing.assert_allclose(vae.prior.log_prob(drawn[:5]), -N * np.log(K), rtol=1e-6)


def test_mutual_information_of_codes_is_the_entropy_of_their_table(make, x):
    """I(x; z) of these examples, out of the table of all q(z|x)."""
    vae = make("quantized")
    params = vae.encode_params(x)
    own = np.asarray(vae.posterior.codes(params)) @ [K, 1]
    q = np.eye(K**N)[own].T
    aggregate = q.mean(axis=1)

    def entropy(p):
        return -scipy.special.xlogy(p, p).sum(axis=0)

    exact = entropy(aggregate) - entropy(q).mean()
    summary = kvae.evaluation.latent_summary(vae, x, num_samples=500)
    assert summary.mutual_information == pytest.approx(exact, abs=0.02)
    rate = N * np.log(K) - entropy(q).mean()
    assert summary.rate == pytest.approx(rate, rel=1e-4)
