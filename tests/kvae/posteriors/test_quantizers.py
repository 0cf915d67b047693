"""Every quantizer against an implementation in NumPy of its own."""

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import kvae
from kvae import posteriors
from kvae.distributions.rotation import rotated
from kvae.posteriors import FiniteScalar, LookupFree, SimVQ, VectorQuantized

N, D = 3, 4  # Positions, and numbers of the encoder at each.


def outputs(n=20, size=N * D, seed=1):
    return np.random.default_rng(seed).normal(size=(n, size)).astype("float32")


def quantized(k=5, residual=0, **settings):
    """A posterior past its first step, its codebooks `[codes, k, size]`, all random."""
    settings = {"num_embeddings": k, "embedding_dim": D, "residual": residual, **settings}
    posterior = VectorQuantized(N * D * (residual + 1), **settings)
    posterior.build({"z_e": (None, N * D)})
    books = np.random.default_rng(0).normal(size=posterior.embeddings.shape).astype("float32")
    for variable in (posterior.embeddings, posterior.sums):
        variable.assign(books)
    posterior.steps.assign(1.0)
    return posterior, np.float64(books)


def greedy(vectors, books, groups, residual):
    """Codes `[n, C]`, and what each stands for, of vectors `[n, D]`: the textbook's loop."""
    codes, targets, left = [], [], np.float64(vectors)
    for stage in range(residual + 1):
        chosen = []
        for group, part in enumerate(np.split(left, groups, axis=1)):
            book = books[stage * groups + group]
            code = ((part[:, None] - book) ** 2).sum(axis=-1).argmin(axis=1)
            codes.append(code)
            targets.append(part)
            chosen.append(book[code])
        left = left - np.concatenate(chosen, axis=1)
    return np.stack(codes, axis=1), targets


# Product and residual quantization.


@pytest.mark.parametrize("groups, residual", [(2, 0), (1, 2), (2, 1)])
def test_groups_and_residuals_are_greedy_searches(groups, residual):
    posterior, books = quantized(groups=groups, residual=residual)
    z_e = outputs()
    params = posterior({"z_e": tf.constant(z_e)})
    codes, _ = greedy(z_e.reshape(-1, D), books, groups, residual)
    per_position = groups * (residual + 1)
    assert posterior.num_positions == N and posterior.num_codes == N * per_position
    np.testing.assert_array_equal(params["codes"], codes.reshape(20, -1))
    z = posterior.sample(params, seed=0)
    chosen = books[np.arange(per_position), codes]
    np.testing.assert_allclose(z, chosen.reshape(20, -1), rtol=1e-6)


def test_codes_of_any_z_are_found_again():
    """Each z has one tuple of codes, also those which no encoder chooses."""
    posterior, _ = quantized(residual=2)
    codes = np.random.default_rng(2).integers(5, size=(2, 30, 9))
    z = posterior.embed(codes)
    assert z.shape == (2, 30, 3 * N * D)
    np.testing.assert_array_equal(posterior.nearest(z), codes)


def test_running_means_of_several_codebooks_by_hand():
    posterior, books = quantized(groups=2, residual=1, decay=0.9, revive_after=None)
    z_e = outputs(seed=4)
    codes, targets = greedy(z_e.reshape(-1, D), books, 2, 1)
    posterior({"z_e": tf.constant(z_e)}, training=True)
    for index, stood_for in enumerate(targets):
        one_hot = np.eye(5)[codes[:, index]]
        counts = 0.9 + 0.1 * one_hot.sum(axis=0)
        sums = 0.9 * books[index] + 0.1 * one_hot.T @ stood_for
        smooth = (counts + 1e-5) / (counts.sum() + 5e-5) * counts.sum()
        found = posterior.embeddings[index]
        np.testing.assert_allclose(found, sums / smooth[:, None], rtol=1e-4, atol=1e-5)
    share = posterior.counts / np.sum(posterior.counts, axis=1, keepdims=True)
    exact = scipy.stats.gmean(np.exp(scipy.stats.entropy(share, axis=1)))
    assert float(posterior.perplexity()) == pytest.approx(exact, rel=1e-4)


def test_dead_codes_of_several_codebooks_move_to_what_their_stage_sees():
    posterior, books = quantized(residual=1, revive_after=2)
    far = books + 100.0 * (np.arange(5) >= 3)[:, None]
    for variable in (posterior.embeddings, posterior.sums):
        variable.assign(far)
    z_e = outputs(40, seed=5)
    for _ in range(2):
        before = np.float64(posterior.embeddings)
        posterior({"z_e": tf.constant(z_e)}, training=True)
    _, targets = greedy(z_e.reshape(-1, D), before, 1, 1)
    for index in range(2):
        revived = posterior.embeddings.numpy()[index, 3:, None]
        assert np.abs(revived - targets[index]).max(axis=-1).min(axis=1).max() < 1e-5


def test_penalty_of_residuals_by_hand():
    posterior, books = quantized(residual=1, ema=False, commitment=0.3)
    z_e = tf.constant(outputs())
    with tf.GradientTape() as tape:
        tape.watch(z_e)
        params = posterior({"z_e": z_e})
        penalty = posterior.penalty(params)
    gradients = tape.gradient(penalty, [z_e, posterior.embeddings.value])
    flat = np.float64(z_e).reshape(-1, D)
    codes, targets = greedy(flat, books, 1, 1)
    entries = [books[stage][codes[:, stage]] for stage in (0, 1)]
    gaps = [flat - entries[0], flat - entries[0] - entries[1]]
    total = 1.3 * sum((gap**2).sum(axis=1) for gap in gaps)
    np.testing.assert_allclose(penalty, total.reshape(20, N).sum(axis=1), rtol=1e-5)
    exact = 2 * 0.3 * (gaps[0] + gaps[1])
    np.testing.assert_allclose(gradients[0], exact.reshape(20, -1), rtol=1e-4, atol=1e-5)
    pulls = np.zeros_like(books)
    for stage in (0, 1):
        np.add.at(pulls[stage], codes[:, stage], -2 * (targets[stage] - entries[stage]))
    np.testing.assert_allclose(gradients[1], pulls, rtol=1e-4, atol=1e-4)


def test_a_sum_over_stages_has_the_gradient_once():
    posterior, _ = quantized(residual=2)
    z_e, weights = tf.constant(outputs()), outputs(seed=3)
    with tf.GradientTape() as tape:
        tape.watch(z_e)
        z = posterior.sample(posterior({"z_e": z_e}), seed=0)
        total = tf.reduce_sum(tf.reshape(z, (20, N, 3, D)), axis=2)
        value = tf.reduce_sum(total * weights.reshape(20, N, D))
    np.testing.assert_array_equal(tape.gradient(value, z_e), weights)


def test_the_first_batch_starts_every_stage():
    posterior = VectorQuantized(2 * N * D, 8, D, residual=1, decay=0.0)
    params = posterior({"z_e": tf.constant(5.0 + outputs(60))}, training=True)
    sizes = np.abs(posterior.embeddings).mean(axis=(1, 2))
    assert 4 < sizes[0] < 6 and sizes[1] < 1.5  # The second stands for what the first left.
    assert all(len(np.unique(params["codes"].numpy()[:, stage::2])) >= 6 for stage in (0, 1))


def test_cosine_codes_have_the_largest_cosine():
    posterior, books = quantized(cosine=True, groups=2)
    z_e = outputs()
    params = posterior({"z_e": tf.constant(7.0 * z_e)})
    parts = np.float64(z_e).reshape(20, N, 2, 2)
    parts /= np.linalg.norm(parts, axis=-1, keepdims=True)
    books /= np.linalg.norm(books, axis=-1, keepdims=True)
    codes = np.einsum("npgd,gkd->npgk", parts, books).argmax(axis=-1)
    np.testing.assert_array_equal(params["codes"], codes.reshape(20, -1))
    np.testing.assert_allclose(params["z_e"], parts.reshape(20, -1), rtol=1e-4, atol=1e-6)
    z = np.asarray(posterior.mean(params)).reshape(20, N, 2, 2)
    np.testing.assert_allclose(z, books[np.arange(2), codes], rtol=1e-4, atol=1e-6)


# Gradients.


def test_rotation_trick_against_its_matrix():
    """λ R of the paper as a matrix, which is orthogonal but for λ and takes e to q."""
    rng = np.random.default_rng(0)
    e, q, g = rng.normal(size=(3, 6, D))
    variable = tf.constant(e, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        found = rotated(variable, tf.constant(q, tf.float32))
        value = tf.reduce_sum(found * g.astype("float32"))
    gradient = tape.gradient(value, variable)
    np.testing.assert_allclose(found, q, rtol=1e-4, atol=1e-5)
    for row in range(6):
        unit_e, unit_q = e[row] / np.linalg.norm(e[row]), q[row] / np.linalg.norm(q[row])
        r = (unit_e + unit_q) / np.linalg.norm(unit_e + unit_q)
        turn = np.eye(D) - 2 * np.outer(r, r) + 2 * np.outer(unit_q, unit_e)
        np.testing.assert_allclose(turn @ turn.T, np.eye(D), atol=1e-9)
        scale = np.linalg.norm(q[row]) / np.linalg.norm(e[row])
        np.testing.assert_allclose(gradient[row], scale * turn.T @ g[row], rtol=1e-3, atol=1e-4)


def test_rotation_without_a_direction_is_a_copy():
    e = tf.constant([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]])
    q = tf.constant([[3.0, 4.0], [-2.0, -4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(e)
        value = tf.reduce_sum(rotated(e, q))
    np.testing.assert_array_equal(tape.gradient(value, e), np.ones((3, 2)))


@pytest.mark.parametrize("make", [VectorQuantized, SimVQ])
def test_the_encoder_gets_the_rotated_gradient(make):
    gradients = {}
    for gradient in ("straight_through", "rotation"):
        posterior = make(N * D, 5, D, gradient=gradient)
        z_e = tf.constant(outputs())
        with tf.GradientTape() as tape:
            tape.watch(z_e)
            params = posterior({"z_e": z_e})
            z = posterior.sample(params, seed=0)
            value = tf.reduce_sum(z * outputs(seed=3))
        gradients[gradient] = tape.gradient(value, z_e)
        np.testing.assert_array_equal(z, posterior.embed(params["codes"]))
    np.testing.assert_array_equal(gradients["straight_through"], outputs(seed=3))
    lengths = [np.linalg.norm(np.reshape(v, (-1, D)), axis=1) for v in (z, z_e, outputs(seed=3))]
    found = np.linalg.norm(np.reshape(gradients["rotation"], (-1, D)), axis=1)
    # A rotation and the ratio of lengths.
    np.testing.assert_allclose(found, lengths[2] * lengths[0] / lengths[1], rtol=1e-3)


# Finite scalars.


@pytest.mark.parametrize("levels", [(8, 5, 4, 3)])
def test_finite_scalars_by_the_paper(levels):
    """`round(f(y))`, with the grid of appendix A.1 of the paper, one number after another."""
    d = len(levels)
    posterior = FiniteScalar(N * d, levels)
    y = 3.0 * outputs(300, N * d)
    variable = tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        params = posterior({"z_e": variable})
        value = tf.reduce_sum(posterior.sample(params, seed=0))
    z, codes, slope = (np.zeros((300, N, d)) for _ in range(3))
    for i, level in enumerate(levels):
        scale, offset = 0.5 * (level - 1) * (1 - 1e-3), 0.5 * (level % 2 == 0)
        shifted = np.float64(y.reshape(300, N, d)[..., i]) + np.arctanh(offset / scale)
        rounded = np.round(scale * np.tanh(shifted) - offset)
        assert len(np.unique(rounded)) == level
        z[..., i] = rounded / (level // 2)
        codes[..., i] = rounded + level // 2
        slope[..., i] = scale * (1 - np.tanh(shifted) ** 2) / (level // 2)
    number = codes @ np.cumprod((1, *levels[:-1]))
    np.testing.assert_array_equal(params["codes"], number)
    np.testing.assert_allclose(posterior.mean(params), z.reshape(300, -1), atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(value, variable), slope.reshape(300, -1), rtol=1e-3, atol=1e-5
    )
    assert posterior.penalty(params) is None


@pytest.mark.parametrize(
    "make", [lambda d: FiniteScalar(d * 2, (4, 3)), lambda d: LookupFree(d * 2, 2)]
)
def test_codes_without_a_codebook_are_the_nearest_entries(make):
    posterior = make(N)
    posterior.build({"z_e": (None, posterior.latent_dim)})
    book = np.asarray(posterior.codebooks()[0])
    k = posterior.num_embeddings
    assert len(np.unique(book, axis=0)) == len(book) == k
    codes = np.arange(3 * k).reshape(k, N) % k
    np.testing.assert_array_equal(posterior.nearest(posterior.embed(codes)), codes)
    z = outputs(50, posterior.latent_dim)  # Outside of the range, too.
    distance = ((z.reshape(50, N, 1, 2) - book) ** 2).sum(axis=-1)
    found = np.take_along_axis(distance, np.asarray(posterior.nearest(z))[..., None], axis=-1)
    np.testing.assert_allclose(found[..., 0], distance.min(axis=-1), rtol=1e-5)


# Lookup-free.


def test_lookup_free_codes_are_signs():
    posterior = LookupFree(N * D, D, entropy_weight=0.0, commitment=0.5)
    z_e = tf.constant(outputs())
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z_e)
        params = posterior({"z_e": z_e})
        value = tf.reduce_sum(posterior.sample(params, seed=0) * outputs(seed=3))
        penalty = posterior.penalty(params)
    signs = np.where(z_e > 0, 1.0, -1.0)
    np.testing.assert_array_equal(posterior.mean(params), signs)
    bits = (signs > 0).reshape(20, N, D)
    np.testing.assert_array_equal(params["codes"], bits @ 2 ** np.arange(D))
    np.testing.assert_array_equal(tape.gradient(value, z_e), outputs(seed=3))
    np.testing.assert_allclose(penalty, 0.5 * np.sum((z_e - signs) ** 2, axis=1), rtol=1e-5)


def test_entropies_are_those_of_a_softmax_over_all_codes():
    posterior = LookupFree(N * D, D, 0.7, diversity=1.5, temperature=1.3, commitment=0.0)
    z_e = outputs()
    params = posterior({"z_e": tf.constant(z_e)})
    each, mean = posterior.entropies(params["z_e"])
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=D)))
    gaps = np.float64(z_e).reshape(20 * N, 1, D) - corners
    q = scipy.special.softmax(-(gaps**2).sum(axis=-1) / 1.3, axis=1)
    exact = scipy.stats.entropy(q, axis=1).reshape(20, N)
    np.testing.assert_allclose(each, exact, rtol=1e-4, atol=1e-5)
    total = scipy.stats.entropy(q.mean(axis=0))
    assert float(mean) == pytest.approx(total, rel=1e-4)
    expected = 0.7 * (exact.sum(axis=1) - 1.5 * N * total)
    np.testing.assert_allclose(posterior.penalty(params), expected, rtol=1e-4, atol=1e-4)
    far = LookupFree(N * D, D)
    assert np.isfinite(far.penalty(far({"z_e": tf.fill((2, N * D), 1e4)}))).all()


# SimVQ.


def test_sim_vq_moves_every_code_through_its_matrix():
    posterior = SimVQ(N * D, 5, D, commitment=0.3, seed=2)
    z_e = tf.constant(outputs())
    posterior.build({"z_e": (None, N * D)})
    posterior.kernel.assign(np.random.default_rng(3).normal(size=(D, D)))
    with tf.GradientTape() as tape:
        tape.watch(z_e)
        params = posterior({"z_e": z_e})
        penalty = posterior.penalty(params)
    gradients = tape.gradient(penalty, [z_e, posterior.kernel.value])
    fixed, kernel = np.float64(posterior.fixed), np.float64(posterior.kernel)
    flat = np.float64(z_e).reshape(-1, D)
    codes, _ = greedy(flat, [fixed @ kernel], 1, 0)
    np.testing.assert_array_equal(params["codes"], codes.reshape(20, N))
    gap = flat - (fixed @ kernel)[codes[:, 0]]
    np.testing.assert_allclose(penalty, 1.3 * (gap**2).sum(axis=1).reshape(20, N).sum(1), rtol=1e-4)
    np.testing.assert_allclose(gradients[0], 0.6 * gap.reshape(20, -1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradients[1], -2 * fixed[codes[:, 0]].T @ gap, rtol=1e-3, atol=1e-3)
    assert [v.name for v in posterior.trainable_variables] == ["kernel"]


# Residual codes of all of them.

RESIDUAL = {
    "finite_scalar": (lambda **more: FiniteScalar(9 * 2, (5, 4), residual=2, **more), (0.2, 0.25)),
    "lookup_free": (lambda **more: LookupFree(9 * 2, 2, residual=2, **more), (0.5, 0.5)),
    "sim_vq": (lambda **more: SimVQ(9 * 2, 6, 2, residual=2, **more), None),
}


@pytest.mark.parametrize("name", RESIDUAL)
def test_further_codes_are_a_greedy_search(name):
    """Each code is the nearest to what the ones before it leave, and their sum comes nearer."""
    make, steps = RESIDUAL[name]
    posterior = make(commitment=0.5)
    params = posterior({"z_e": tf.constant(outputs(size=N * 2))})
    books = [np.float64(book) for book in posterior.codebooks()]
    assert len(books) == 3 and posterior.num_positions == N and posterior.stages == 3
    for index in (1, 2) if steps else ():
        centred = books[0] - books[0].mean(axis=0)
        np.testing.assert_allclose(books[index], centred * np.power(steps, index), atol=1e-6)
    vectors = np.float64(params["z_e"]).reshape(-1, 2)
    codes, targets = greedy(vectors, books, 1, 2)
    chosen = [book[codes[:, index]] for index, book in enumerate(books)]
    z = np.reshape(posterior.embed(params["codes"]), (-1, 3, 2))
    # Where two entries are equally far, rounding decides.
    same = np.all(np.reshape(params["codes"], (-1, 3)) == codes, axis=1)
    assert same.mean() > 0.95
    np.testing.assert_allclose(z[same], np.stack(chosen, axis=1)[same], rtol=1e-6)
    np.testing.assert_array_equal(posterior.nearest(z.reshape(20, -1)), params["codes"])
    gaps = [np.mean((vectors - z[:, : index + 1].sum(axis=1)) ** 2) for index in range(3)]
    assert gaps[0] > gaps[1] > gaps[2]
    if name == "finite_scalar":  # 125 and 64 steps.
        assert np.abs(vectors - z.sum(axis=1)).max() <= 1.0 / 64 + 1e-6
    copy = type(posterior).from_config(posterior.get_config())
    assert copy.residual == 2 and copy.num_codes == 9


@pytest.mark.parametrize("name", RESIDUAL)
def test_each_further_code_is_pulled_to_what_is_left(name):
    make, _ = RESIDUAL[name]
    posterior = make(commitment=0.5, **({"entropy_weight": 0.3} if name == "lookup_free" else {}))
    params = posterior({"z_e": tf.constant(outputs(size=N * 2))})
    entries = np.float64(posterior.embed(params["codes"])).reshape(20, N, 3, 2)
    left = np.float64(params["z_e"]).reshape(20, N, 1, 2) - np.cumsum(entries, axis=2) + entries
    weight = 1.5 if name == "sim_vq" else 0.5
    expected = weight * np.sum((left - entries) ** 2, axis=(1, 2, 3))
    if name == "lookup_free":
        corners = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
        for stage in range(3):
            gaps = left[:, :, stage, None] - 0.5**stage * corners
            q = scipy.special.softmax(-(gaps**2).sum(axis=-1), axis=-1)
            each, all_of = scipy.stats.entropy(q, axis=-1), q.reshape(-1, 4).mean(axis=0)
            expected += 0.3 * (each.sum(axis=1) - N * scipy.stats.entropy(all_of))
    np.testing.assert_allclose(posterior.penalty(params), expected, rtol=1e-4, atol=1e-5)


# All of them.

ALL = {
    "finite_scalar": FiniteScalar(levels=(3, 3)),
    "lookup_free": LookupFree(bits=2),
    "sim_vq": SimVQ(num_embeddings=3, embedding_dim=2),
    "groups": VectorQuantized(num_embeddings=2, embedding_dim=2, groups=2),
    "residual": VectorQuantized(num_embeddings=2, embedding_dim=1, residual=1),
}


@pytest.mark.default("residual")
@pytest.mark.parametrize("name", ALL)
def test_the_elbo_is_a_bound_under_either_prior(name, make_vae, eagerly):
    """log p(x|z) − log p(codes) of the example's own codes, below the sum over all codes."""
    x = (np.random.default_rng(0).random((7, 6)) < 0.4).astype("float32")
    part = ALL[name].get_config()
    for prior in ("uniform_codes", kvae.priors.PixelCNN(filters=4, num_layers=1)):
        vae = make_vae((6,), 4, posterior=type(ALL[name]).from_config(part), prior=prior)
        rng = np.random.default_rng(1)
        for weight in (*vae.decoder.weights, *vae.encoder.weights, *vae.prior.weights):
            weight.assign(rng.normal(size=weight.shape))
        posterior = vae.posterior
        k, n = posterior.num_embeddings, posterior.num_codes
        codes = np.array(list(itertools.product(range(k), repeat=n)))
        z = posterior.embed(codes)
        log_prior = np.float64(vae.prior.log_prob(z))
        assert scipy.special.logsumexp(log_prior) == pytest.approx(0.0, abs=1e-4)
        outputs = vae.decode_params(np.repeat(np.asarray(z)[:, None], len(x), axis=1))
        log_p = np.float64(vae.likelihood.log_prob(outputs, x)) + log_prior[:, None]
        own = np.asarray(vae.encode(x)["codes"]) @ k ** np.arange(n - 1, -1, -1)
        bound = log_p[own, np.arange(len(x))]
        elbo = vae.objective.terms(vae, x, x, training=False, seed=0)["elbo"]
        np.testing.assert_allclose(elbo, bound, rtol=1e-4, atol=1e-4)
        assert (bound < scipy.special.logsumexp(log_p, axis=0)).all()
        np.testing.assert_allclose(vae.log_prob(x, num_samples=2).value, bound, rtol=1e-4)
    np.testing.assert_allclose(vae.prior.mean(), np.asarray(z).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VectorQuantized(embedding_dim=4, groups=3), "divides `embedding_dim`"),
        (lambda: VectorQuantized(residual=-1), "`residual` is at least 0"),
        (lambda: VectorQuantized(residual=1, cosine=True), "other lengths"),
        (lambda: VectorQuantized(gradient="rotate"), "rotation"),
        (lambda: VectorQuantized(6, 4, 2, residual=1).num_positions, "2 codes of a position"),
        (lambda: FiniteScalar(levels=(8, 2)), "at least 3.*LookupFree"),
        (lambda: FiniteScalar(levels=(64, 64, 64)), "at most 65536"),
        (lambda: FiniteScalar(7, (3, 3)).num_positions, "no multiple of embedding_dim=2"),
        (lambda: LookupFree(bits=17), "from 1 to 16"),
        (lambda: LookupFree(temperature=0.0), "`temperature` is more than 0"),
        (lambda: SimVQ(num_embeddings=1), "`num_embeddings` is at least 2"),
    ],
)
def test_refuses_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_names_take_arguments():
    assert posteriors.get("finite_scalar:levels=[5,5]").num_embeddings == 25
    assert posteriors.get("lookup_free:6").num_embeddings == 64
    assert posteriors.get("sim_vq:32,4,gradient=rotation").gradient == "rotation"
    assert posteriors.get("vector_quantized:cosine=True,groups=2").codes_per_position == 2
    # Files of models without the options stay as they were.
    assert {"gradient", "cosine", "groups", "residual"}.isdisjoint(VectorQuantized().get_config())
