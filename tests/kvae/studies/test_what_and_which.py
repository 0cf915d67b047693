"""What the tables of three studies are computed from: the KL, likelihoods and codes."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import kvae
from kvae.studies.bernoulli_or_mse import LIKELIHOODS, Binned, sharpness
from kvae.studies.decomposition import decompose, gaussian_kl
from kvae.studies.mistaken_noise import MistakenNoise, honest
from kvae.studies.which_codes import BITS, CODES, POSITIONS, codes_in_use


def test_gaussian_kl():
    rng = np.random.default_rng(0)
    factor, mean = rng.normal(size=(3, 3)), rng.normal(size=3)
    covariance = factor @ factor.T
    tfd = tfp.distributions
    exact = tfd.kl_divergence(
        tfd.MultivariateNormalFullCovariance(mean, covariance),
        tfd.MultivariateNormalDiag(np.zeros(3)),
    )
    assert gaussian_kl(mean, covariance) == pytest.approx(float(exact), rel=1e-8)


def test_the_rate_is_mutual_information_and_the_aggregates_kl(linear_gaussian, eagerly):
    """With the true posterior q(z) is the prior; one moved by a constant moves q(z) by as much."""
    x = linear_gaussian.draw(4000, seed=1)
    found = decompose(linear_gaussian.vae(), x, codes=3000, seed=2)
    exact = -0.5 * np.sum(np.log(linear_gaussian.variance))
    assert found["error"] < 0.03
    assert abs(found["mutual_information"] - exact) < 4 * found["error"]
    assert abs(found["aggregate_kl"]) < 4 * found["error"]
    assert 0.0 <= found["moments_kl"] < 0.01 and found["active"] == 2
    assert found["sigma"] == pytest.approx(np.sqrt(linear_gaussian.variance).mean(), rel=1e-4)
    moved = decompose(linear_gaussian.vae(shift=1.0), x, codes=3000, seed=2)
    assert moved["mutual_information"] == pytest.approx(found["mutual_information"], abs=1e-3)
    assert moved["moments_kl"] == pytest.approx(1.0, abs=0.1)  # ½ for each of two dimensions.
    for parts in (found, moved):
        total = parts["mutual_information"] + parts["aggregate_kl"]
        assert total == pytest.approx(parts["rate"], rel=1e-6)
        assert parts["aggregate_kl"] > parts["moments_kl"] - 4 * parts["error"]


def test_posteriors_that_do_not_touch_carry_the_logarithm_of_their_number(make_vae, digits):
    vae = make_vae()
    z_mean = 50 * np.arange(2.0 * len(digits), dtype="float32").reshape(-1, 2)
    vae.encode = lambda x: {"z_mean": tf.constant(z_mean), "z_log_var": tf.zeros_like(z_mean)}
    found = decompose(vae, digits, codes=5, seed=0)
    assert found["mutual_information"] == pytest.approx(np.log(len(digits)), rel=1e-5)
    # KL(q_G ‖ p) ≤ KL(q ‖ p): the moments' is the least that the aggregate's can be.
    assert 0 < found["moments_kl"] < found["aggregate_kl"]


@pytest.mark.parametrize("posterior", [None, MistakenNoise()])
def test_the_least_spread_of_a_proposal(make_vae, digits, posterior):
    vae = make_vae(**({} if posterior is None else {"posterior": posterior}))
    narrow, wide = (honest(vae, least).encode(digits[:4]) for least in (1e-3, 5.0))
    assert (np.exp(0.5 * narrow["z_log_var"]) < 5.0).all()
    np.testing.assert_allclose(np.exp(0.5 * wide["z_log_var"]), 5.0, rtol=1e-5)
    np.testing.assert_array_equal(wide["z_mean"], narrow["z_mean"])
    if posterior is None:
        usual = vae.encode(digits[:4])["z_log_var"]
        np.testing.assert_allclose(narrow["z_log_var"], usual, rtol=1e-4, atol=1e-5)


def test_the_mistake_draws_what_the_honest_posterior_says(make_vae, digits):
    vae = make_vae(posterior=MistakenNoise())
    true = honest(vae)
    wrong = vae.encode(digits[:4])
    params = true.encode(digits[:4])
    z = np.asarray(vae.posterior.sample(wrong, 20_000, seed=1))
    scale = np.abs(np.log(0.5 * np.exp(0.5 * wrong["z_log_var"])))
    np.testing.assert_allclose(z.std(axis=0), scale, rtol=0.03)
    np.testing.assert_allclose(np.exp(0.5 * params["z_log_var"]), scale, rtol=1e-4)
    np.testing.assert_allclose(params["z_mean"], wrong["z_mean"], rtol=1e-5)
    # At σ = 2 the noise is gone.
    at_two = {"z_mean": tf.zeros((1, 2)), "z_log_var": tf.fill((1, 2), np.float32(np.log(4.0)))}
    np.testing.assert_allclose(vae.posterior.sample(at_two, 3, seed=1), 0.0, atol=1e-6)


def test_averages_are_a_beta(make_vae, digits):
    """mean-over-pixels BCE + mean-over-latents KL has the gradient of β = P / D, over P."""
    vae = make_vae()
    pixels, latents = 64, vae.latent_dim

    def gradient(loss_of):
        with tf.GradientTape() as tape:
            terms = loss_of()
        variables = vae.encoder.trainable_variables
        return np.concatenate([np.ravel(g) for g in tape.gradient(terms, variables)])

    def averaged():
        terms = kvae.objectives.ELBO().terms(vae, digits, digits, training=False, seed=1)
        return tf.reduce_mean(terms["reconstruction"] / pixels + terms["kl"] / latents)

    def weighted():
        objective = kvae.objectives.ELBO(beta=pixels / latents)
        return tf.reduce_mean(objective.terms(vae, digits, digits, training=False, seed=1)["loss"])

    np.testing.assert_allclose(
        pixels * gradient(averaged), gradient(weighted), rtol=1e-3, atol=1e-4
    )


LEVELS = 17
GREY = np.arange(LEVELS, dtype="float32") / (LEVELS - 1)


@pytest.mark.parametrize("mean, sigma", [(0.4, 0.3), (-0.5, 0.05), (1.4, 0.1), (0.5, 1.0)])
def test_bins_of_a_gaussian(mean, sigma):
    binned = Binned(kvae.likelihoods.Gaussian(scale=sigma), LEVELS)
    binned.check_methods()  # It makes a model.
    params = binned(tf.fill((LEVELS, 1), np.float32(mean)))
    found = np.float64(binned.element_log_prob(params, GREY[:, None])[:, 0])
    normal = scipy.stats.norm(mean, sigma)
    edges = np.concatenate([[-np.inf], (GREY[1:] + GREY[:-1]) / 2.0, [np.inf]])
    mass = np.diff(normal.cdf(edges))
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-4)
    likely = mass > 1e-8
    np.testing.assert_allclose(found[likely], np.log(mass[likely]), rtol=1e-3, atol=1e-3)
    assert np.isfinite(found).all()
    lost = Binned(kvae.likelihoods.Gaussian(scale=sigma), LEVELS, tails=False)
    half = 0.5 / (LEVELS - 1)
    mass = np.diff(normal.cdf([GREY - half, GREY + half]), axis=0)[0]
    likely = mass > 1e-8
    found = np.float64(lost.element_log_prob(params, GREY[:, None])[:, 0])
    np.testing.assert_allclose(found[likely], np.log(mass[likely]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("logit", [-30.0, -2.0, 0.0, 1e-4, 0.5, 12.0])
@pytest.mark.parametrize("base", [kvae.likelihoods.Bernoulli, kvae.likelihoods.ContinuousBernoulli])
def test_bins_of_a_continuous_bernoulli(logit, base):
    binned = Binned(base(), LEVELS)
    params = binned(tf.fill((LEVELS, 1), np.float32(logit)))
    found = np.float64(binned.element_log_prob(params, GREY[:, None])[:, 0])
    edges = np.clip(np.concatenate([[0], (GREY[1:] + GREY[:-1]) / 2.0, [1]]), 0, 1)
    cdf = np.expm1(logit * edges) / np.expm1(logit) if logit else edges
    np.testing.assert_allclose(np.exp(found), np.diff(cdf), rtol=2e-3, atol=1e-7)
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-3)


def test_sharpness():
    flat, edge = np.full((8, 8, 1), 0.3), np.zeros((8, 8, 1))
    edge[:, 4:] = 1.0  # One of the seven steps of each row: 8 of 2 · 56 differences are 1.
    np.testing.assert_allclose(sharpness([flat, edge, 9 * edge]), [0.0, 8 / 112, 8 / 112])


@pytest.mark.slow
def test_what_the_kl_compares(run_study, monkeypatch):
    from kvae.studies import what_the_kl_compares

    monkeypatch.setattr(what_the_kl_compares, "_BETAS", (0.0, 0.5, 1.0, 2.0, 10.0))
    findings, page = run_study("what-the-kl-compares")
    assert len(findings) == 10 and "posteriors_and_prior.png" in page
    by_beta = {beta: cells(page, f"β = {beta}") for beta in ("0", "0.5", "1", "2", "10")}
    off = next(found for found in findings if "switches latents off" in found["claim"])
    assert off["holds"] == (int(by_beta["10"][0][3]) < int(by_beta["1"][0][3]))
    best = max(by_beta, key=lambda beta: float(by_beta[beta][0][2]))
    bound = next(found for found in findings if "The bound on log p(x)" in found["claim"])
    assert f"the best ELBO is that of β = {best};" in bound["evidence"]
    assert bound["holds"] is not True or best == "1"
    for one in by_beta.values():
        rate, information, aggregate = float(one[1][0]), one[1][1].split(" ± ")[0], one[1][2]
        assert float(information) + float(aggregate) == pytest.approx(rate, abs=0.021)
        assert float(information) < np.log(150)
    # 64 pixels, 8 latents.
    averages = ("pixels and latents averaged", "8"), ("pixels averaged, latents summed", "64")
    for name, beta in (*averages, ("pixels summed, latents averaged", "0.125")):
        assert cells(page, name)[0][0] == beta


@pytest.mark.slow
def test_bernoulli_or_mse(run_study):
    findings, page = run_study("bernoulli-or-mse")
    assert len(findings) == 9 and "17 grey levels" in page
    rows = {name: cells(page, name)[1] for name in LIKELIHOODS}
    lost, nats = ({name: float(row[k]) for name, row in rows.items()} for k in (8, 9))
    assert all(lost[name] >= nats[name] for name in rows)
    best = min(nats, key=nats.get)
    assert f"best is {best}," in findings[7]["evidence"]
    assert findings[7]["holds"] is not True or best == "Gaussian, σ of each pixel"
    for name, row in rows.items():
        assert float(row[10]) == pytest.approx(nats[name] / 64 / np.log(2), abs=2e-3)
        assert float(row[2]) == pytest.approx(-10 * np.log10(float(row[1])), abs=0.02)
    for found, by in zip(findings[2:4], (lost, nats), strict=True):
        better = by["Gaussian, σ = 1 (MSE)"] - by["Gaussian, one learned σ"]
        assert found["holds"] is None or found["holds"] == (better > 0)
        assert float(found["evidence"].split()[1].replace("−", "-")) == pytest.approx(
            better, abs=0.02
        )


def test_codes_in_use_are_counted_for_each_codebook():
    quantizer = kvae.posteriors.VectorQuantized(num_embeddings=4, embedding_dim=2, groups=2)
    # The first codebook: two of four entries, equally often. The second: one entry alone.
    codes = np.array([[0, 3, 0, 3], [2, 3, 2, 3]])
    used, perplexity = codes_in_use(codes, quantizer)
    assert used == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert perplexity == pytest.approx(np.sqrt(2 * 1) / 4)


def test_all_kinds_of_code_have_the_same_bits():
    for make, size, _ in CODES.values():
        posterior = make()
        posterior.latent_dim = POSITIONS * size
        assert posterior.num_codes * np.log2(posterior.num_embeddings) == POSITIONS * BITS


@pytest.mark.slow
def test_which_codes(run_study):
    findings, page = run_study("which-codes")
    assert len(findings) == 5 and "samples.png" in page
    rows = {name: cells(page, name)[1] for name in CODES}
    nats = POSITIONS * BITS * np.log(2.0)
    for row in rows.values():
        rec, fitted, uniform, elbo = (float(cell) for cell in row[2:6])
        assert uniform == pytest.approx(-(rec + nats), abs=0.02)
        assert elbo == pytest.approx(-(rec + fitted), abs=0.02)
    best = max(rows, key=lambda name: float(rows[name][5]))
    assert f"to the ELBO of {best}" in findings[4]["evidence"]


def cells(page: str, name: str) -> list[list[str]]:
    """The rows of the report's tables that are `name`'s, without it."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row[1:]] for row in rows if row[0].strip() == name]
