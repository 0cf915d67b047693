"""log p(x): the importance-sampled estimate against the exact value of a linear-Gaussian model."""

import dataclasses
import math
import warnings
from concurrent import futures

import numpy as np
import pytest
import scipy.special

import kvae

N = 12
SHIFT, WIDEN = 0.2, 0.5  # A posterior that is off, and wider than the true one.


@pytest.fixture(scope="module")
def x(linear_gaussian):
    return linear_gaussian.draw(N, seed=2)


@pytest.fixture(scope="module")
def exact(linear_gaussian, x):
    return linear_gaussian.log_prob(x)


@pytest.fixture(scope="module")
def vae(linear_gaussian):
    return linear_gaussian.vae(SHIFT, WIDEN)


def test_recovers_the_exact_log_prob(vae, x, exact):
    estimate = vae.log_prob(x, num_samples=3000, seed=1)
    assert estimate.value.shape == estimate.monte_carlo_error.shape == (N,)
    assert (estimate.monte_carlo_error < 0.03).all() and (estimate.monte_carlo_error > 0).all()
    assert (np.abs(estimate.value - exact) < 3 * estimate.monte_carlo_error).all()


def test_with_the_exact_posterior_every_weight_is_equal(linear_gaussian, x, exact):
    vae = linear_gaussian.vae()
    estimate = vae.log_prob(x, num_samples=20, seed=1)
    np.testing.assert_allclose(estimate.value, exact, atol=1e-4)
    np.testing.assert_allclose(estimate.monte_carlo_error, np.zeros(N), atol=1e-4)
    np.testing.assert_allclose(estimate.effective_sample_size, np.full(N, 20), rtol=1e-4)


def test_the_elbo_with_the_exact_posterior_is_the_exact_log_prob(linear_gaussian, x, exact):
    # Sample by sample log q is in the KL, so that every single estimate is exact.
    vae = linear_gaussian.vae(objective=kvae.objectives.ELBO(kl="monte_carlo"))
    terms = vae.objective.terms(vae, x, x, training=False, seed=3)
    np.testing.assert_allclose(terms["elbo"], exact, atol=1e-4)
    # With the closed form of the KL it is exact in expectation; both terms are known.
    mean, var, w = vae.encode(x)["z_mean"].numpy(), linear_gaussian.variance, linear_gaussian.w
    square = np.sum((x - mean @ w.T - linear_gaussian.b) ** 2, axis=1) + np.sum(w**2 * var)
    log_px = -0.5 * (square / linear_gaussian.s**2 + 6 * np.log(2 * np.pi * linear_gaussian.s**2))
    kl = vae.objective.from_config({"kl": "analytic"}).terms(vae, x, x, training=False, seed=3)
    np.testing.assert_allclose(log_px - kl["kl"].numpy(), exact, atol=1e-4)


def test_one_sample_estimates_the_elbo_in_expectation(linear_gaussian, vae, x, exact):
    estimate = vae.log_prob(np.repeat(x[:1], 4000, axis=0), num_samples=1, batch_size=1000)
    mean, error = estimate.value.mean(), estimate.value.std() / math.sqrt(4000)
    params = vae.encode(x[:1])
    difference = (params["z_mean"] - (x[:1] - linear_gaussian.b) @ linear_gaussian.a.T).numpy()
    # log p(x) − ELBO = KL(q ‖ p(z|x)), between two diagonal Gaussians.
    gap = 0.5 * np.sum(np.exp(WIDEN) + difference**2 / linear_gaussian.variance - 1 - WIDEN)
    assert abs(mean - (exact[0] - gap)) < 4 * error
    assert gap > 20 * error
    # One sample says nothing about its own error.
    assert np.isnan(estimate.monte_carlo_error).all()


def test_the_standard_error_is_calibrated(vae, x):
    repeats = 600
    estimate = vae.log_prob(np.repeat(x[:1], repeats, axis=0), num_samples=400, batch_size=300)
    ratio = estimate.value.std(ddof=1) / np.sqrt(np.mean(estimate.monte_carlo_error**2))
    # The spread of 600 values is itself known to 3 %, and the delta method to a few.
    assert 0.85 < ratio < 1.15


def log_weights(vae, x, num_samples, chunk, batch_size, seed):
    """The log importance weights `[num_samples, n]`, step by step as documented."""
    columns = []
    for first in range(0, len(x), batch_size):
        batch = x[first : first + batch_size]
        batch_seed = kvae.random.fold_in(kvae.random.as_seed(seed), first)
        params, rows = vae.encode(batch), []
        for done in range(0, num_samples, chunk):
            num = min(chunk, num_samples - done)
            chunk_seed = kvae.random.fold_in(batch_seed, done)
            for z in vae.posterior.sample(params, num, seed=chunk_seed):
                log_px = vae.likelihood.log_prob(vae.decode_params(z), batch)
                rows.append(log_px + vae.prior.log_prob(z) - vae.posterior.log_prob(params, z))
        columns.append(np.stack(rows).astype(np.float64))
    return np.concatenate(columns, axis=1)


@pytest.mark.parametrize("num_samples, rows, batch_size", [(7, 15, 5), (7, 1, 12), (6, 24, 8)])
def test_is_the_log_mean_of_the_weights(vae, x, num_samples, rows, batch_size):
    # Chunks that divide neither num_samples nor the memory, and a smaller last batch.
    estimate = vae.log_prob(
        x, num_samples=num_samples, batch_size=batch_size, seed=9, max_rows=rows
    )
    chunk = max(1, rows // batch_size)
    log_w = log_weights(vae, x, num_samples, chunk, batch_size, seed=9)
    value = scipy.special.logsumexp(log_w, axis=0) - np.log(num_samples)
    np.testing.assert_allclose(estimate.value, value, rtol=1e-5)
    w = np.exp(log_w - log_w.max(axis=0))
    left_out = np.log((w.sum(axis=0) - w) / (num_samples - 1))
    error = np.sqrt((num_samples - 1) * left_out.var(axis=0))
    np.testing.assert_allclose(estimate.monte_carlo_error, error, rtol=1e-3)
    np.testing.assert_allclose(
        estimate.effective_sample_size, w.sum(axis=0) ** 2 / (w**2).sum(axis=0), rtol=1e-4
    )


def test_weights_are_summed_in_parts(vae, x, monkeypatch):
    """A state is carried on from call to call; as many chunks as are kept are weighed in one."""
    options = {"num_samples": 90, "batch_size": 4, "seed": 2, "max_rows": 40}
    once = vae.log_prob(x, **options)
    monkeypatch.setattr("kvae.evaluation.marginal_likelihood.importance._WEIGHTS", 2 * 40)
    parts = vae.log_prob(x, **options)
    for name in ("value", "monte_carlo_error", "effective_sample_size", "bias", "pareto_k"):
        np.testing.assert_allclose(getattr(parts, name), getattr(once, name), rtol=1e-4, atol=1e-5)


def test_chunks_and_batches_change_the_noise_only(vae, x, exact):
    for rows, batch_size in ((50, 4), (4000, 12)):
        estimate = vae.log_prob(x, num_samples=500, batch_size=batch_size, seed=3, max_rows=rows)
        error = np.sqrt(np.mean(estimate.monte_carlo_error**2))
        assert abs(np.mean(estimate.value - exact)) < 4 * error / np.sqrt(N)


def test_repeats_by_its_seed_and_counts_its_progress(vae, x):
    seen = []
    first = vae.log_prob(x, num_samples=5, batch_size=5, seed=1, progress=seen.append)
    again = vae.log_prob(kvae.datasets.Dataset(x), num_samples=5, batch_size=5, seed=1)
    other = vae.log_prob(x, num_samples=5, batch_size=5, seed=2)
    np.testing.assert_array_equal(first.value, again.value)
    assert not np.array_equal(first.value, other.value)
    assert seen == [5, 10, 12]


def interrupt_after(examples):
    def progress(done):
        if done >= examples:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_estimate_goes_on_to_the_same_bits(vae, x, tmp_path):
    options = {"num_samples": 6, "batch_size": 3, "seed": 4}
    whole = vae.log_prob(x, **options)
    cache = tmp_path / "new" / "estimate"
    with pytest.raises(KeyboardInterrupt):
        vae.log_prob(x, cache=cache, progress=interrupt_after(6), **options)
    seen = []
    resumed = vae.log_prob(x, cache=cache, progress=seen.append, **options)
    assert seen == [9, 12]  # What was finished is not done again.
    for name in ("value", "monte_carlo_error", "effective_sample_size", "bias", "pareto_k"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    before = cache.stat().st_mtime_ns
    again = vae.log_prob(x, cache=cache, progress=interrupt_after(0), **options)  # Nothing to do.
    np.testing.assert_array_equal(again.value, whole.value)
    assert cache.stat().st_mtime_ns == before and list(cache.parent.iterdir()) == [cache]


def test_a_second_estimate_into_the_cache_is_refused(vae, x, tmp_path):
    cache, refused = tmp_path / "estimate", []

    def second(_):
        with futures.ThreadPoolExecutor(1) as pool:
            error = pool.submit(vae.log_prob, x, num_samples=2, cache=cache).exception(60)
        refused.append(error)

    vae.log_prob(x[:4], num_samples=2, cache=cache, progress=second)
    assert isinstance(refused[0], BlockingIOError) and "is in use by an estimate" in str(refused[0])
    assert list(tmp_path.iterdir()) == [cache]


def test_a_cache_is_of_one_model_one_set_and_one_setting(linear_gaussian, vae, x, tmp_path):
    cache = tmp_path / "estimate"
    options = {"num_samples": 2, "cache": cache}
    first = vae.log_prob(x, **options)
    # The same model made again has other names of layers and the same fingerprint.
    np.testing.assert_array_equal(
        linear_gaussian.vae(SHIFT, WIDEN).log_prob(x, **options).value, first.value
    )
    with pytest.raises(ValueError, match="its weights differ"):
        linear_gaussian.vae(SHIFT + 0.1, WIDEN).log_prob(x, **options)
    with pytest.raises(ValueError, match="its data differ"):
        vae.log_prob(x[::-1], **options)
    with pytest.raises(ValueError, match="its settings differ"):
        vae.log_prob(x, seed=1, **options)
    # The scale of the likelihood is no weight.
    other = dataclasses.replace(linear_gaussian, s=0.61).vae(SHIFT, WIDEN)
    other.set_weights(vae.get_weights())
    with pytest.raises(ValueError, match="its weights differ"):
        other.log_prob(x, **options)


def test_a_truncated_cache_is_refused(vae, x, tmp_path):
    cache = tmp_path / "estimate"
    vae.log_prob(x, num_samples=2, cache=cache)
    whole = cache.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-1], b"", b"no archive", whole[100:]):
        cache.write_bytes(content)
        with pytest.raises(ValueError, match="truncated or altered. Delete it"):
            vae.log_prob(x, num_samples=2, cache=cache)


def test_warns_of_estimates_that_a_few_samples_decide(linear_gaussian, vae, x, eagerly):
    off = linear_gaussian.vae(shift=2.0, widen=-2.0)
    with pytest.warns(UserWarning, match="effective sample size of .* of 12 examples is below 5"):
        estimate = off.log_prob(x, num_samples=50)
    assert np.mean(estimate.effective_sample_size < 5) > 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = vae.log_prob(x, num_samples=50)
        assert (estimate.effective_sample_size >= 5).all()
        off.log_prob(x, num_samples=9)  # Not meant as log p(x).


def test_very_small_probabilities_do_not_underflow(vae, x):
    far = vae.log_prob(x + 100.0, num_samples=10)
    assert np.isfinite(far.value).all() and (far.value < -1000).all()


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"batch_size": 0}, {"max_rows": 0}])
def test_refuses_counts_below_one(vae, x, options):
    with pytest.raises(ValueError, match="at least 1"):
        vae.log_prob(x, **options)


def test_an_autoencoder_has_none(make_vae, digits):
    vae = make_vae(posterior="delta", prior=None)
    with pytest.raises(ValueError, match="no log p"):
        vae.log_prob(digits)


# kvae.evaluation.evaluate.


def test_evaluate_of_a_vae(vae, linear_gaussian, x, exact):
    data = kvae.datasets.Dataset(x)
    result = kvae.evaluation.evaluate(vae, data, num_samples=50, batch_size=5, seed=4)
    assert result["nll"] == vae.log_prob(x, num_samples=50, batch_size=5, seed=4).summary()
    assert result["elbo"] == pytest.approx(-result["reconstruction"] - result["kl"], rel=1e-6)
    starts = range(0, N, 5)
    kl = [
        vae.objective.terms(vae, x[i : i + 5], x[i : i + 5], training=False, seed=0)["kl"]
        for i in starts
    ]
    assert result["kl"] == pytest.approx(np.concatenate(kl).mean(), rel=1e-5)


@pytest.mark.slow  # `test_evaluate.py` has an autoencoder.
def test_evaluate_of_an_autoencoder(make_vae, digits):
    vae = make_vae(posterior="delta", prior=None)
    result = kvae.evaluation.evaluate(vae, kvae.datasets.Dataset(digits), batch_size=24)
    mean = vae.reconstruct(digits).numpy().astype(np.float64)
    cross_entropy = -(digits * np.log(mean) + (1 - digits) * np.log(1 - mean))
    assert not {"nll", "elbo", "kl"} & set(result)
    assert result["mse"] == pytest.approx(np.mean((mean - digits) ** 2), rel=1e-5)
    assert result["bce_per_pixel"] == pytest.approx(cross_entropy.mean(), rel=1e-5)
    each = cross_entropy.reshape(len(digits), -1).mean(axis=1)
    error = each.std(ddof=1) / np.sqrt(len(each))
    assert result["bce_standard_error"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("event", [(28, 28, 1), (7,)], ids=str)
def test_many_are_summed_in_slices(event):
    generator = np.random.default_rng(0)
    logits = 40 * generator.normal(size=(3, 2, *event)).astype("float32")
    x = (generator.random((2, *event)) < 0.3).astype("float32")
    x[0].flat[:3] = 0.0, 0.25, 1.0
    likelihood = kvae.likelihoods.Bernoulli()
    found = likelihood.log_prob_of_many(likelihood(logits), x)
    each = x * logits.astype(np.float64) - np.logaddexp(0.0, logits.astype(np.float64))
    np.testing.assert_allclose(found, each.reshape(3, 2, -1).sum(axis=-1), rtol=1e-6)


def test_many_samples_have_the_same_log_prob(make_vae, digits, monkeypatch, eagerly):
    vae, x = make_vae(), (digits[:5] > 0.5).astype("float32")
    few = vae.log_prob(x, num_samples=20)
    asked = []
    monkeypatch.setattr("kvae.evaluation.marginal_likelihood.importance._MANY", 5 * 20 * 64)
    sums = kvae.likelihoods.Bernoulli.log_prob_of_many
    monkeypatch.setattr(
        kvae.likelihoods.Bernoulli,
        "log_prob_of_many",
        lambda *arguments: asked.append(1) or sums(*arguments),
    )
    many = vae.log_prob(x, num_samples=20)
    assert asked
    np.testing.assert_allclose(many.value, few.value, atol=1e-4)
    np.testing.assert_allclose(many.monte_carlo_error, few.monte_carlo_error, atol=1e-4)
