"""The autoregressive prior of codes: a distribution, of the right dependences, that fits."""

import itertools
import math

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import kvae
from kvae.priors import PixelCNN

K, D = 3, 2


@pytest.fixture(scope="module")
def make(make_vae):
    """`make(grid)`: a model whose PixelCNN has random weights, on a codebook that is known."""

    def make(grid=(2, 2), **settings):
        vae = make_vae(
            latent_dim=math.prod(grid) * D,
            posterior=kvae.posteriors.VectorQuantized(num_embeddings=K, embedding_dim=D),
            prior=PixelCNN(grid=grid, filters=8, num_layers=2, **settings),
        )
        vae.posterior.embeddings.assign([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])
        rng = np.random.default_rng(0)
        for weight in vae.prior.weights:
            weight.assign(0.7 * rng.normal(size=weight.shape))
        return vae

    return make


def test_all_codes_together_have_probability_one(make):
    vae = make()
    codes = np.array(list(itertools.product(range(K), repeat=4)))
    log_p = np.asarray(vae.prior.log_prob(vae.posterior.embed(codes)))
    assert np.ptp(log_p) > 1  # Far from uniform.
    np.testing.assert_allclose(np.exp(log_p).sum(), 1.0, rtol=1e-4)
    assert vae.prior.log_prob(vae.posterior.embed(codes.reshape(3, 27, 4))).shape == (3, 27)


@pytest.mark.default("grid0")
@pytest.mark.parametrize("grid", [(3, 4), (4, 3), (1, 6), (5, 1)])
def test_a_code_depends_on_all_those_before_it_and_on_no_other(make, grid):
    prior = make(grid).prior
    n = math.prod(grid)
    rng = np.random.default_rng(1)
    depends = np.zeros((n, n), bool)
    for codes in rng.integers(K, size=(4, n)):
        changed = np.tile(codes, (n, 1))
        changed[np.arange(n), np.arange(n)] += 1
        difference = np.asarray(prior.logits(changed % K) - prior.logits(codes[None]))
        depends |= np.abs(difference).max(axis=-1) > 1e-6
    later = np.triu(np.ones((n, n), bool), 1)
    assert not depends[~later].any()
    # Three layers see two rows up and all to the left within reach: the nearest are never missed.
    columns = grid[1]
    for i in range(1, n):
        assert depends[i - 1, i] or i % columns == 0
        assert i < columns or depends[i - columns, i]


def test_draws_have_the_probabilities_that_log_prob_says(make):
    vae = make()
    n = 20_000
    codes = np.asarray(vae.posterior.nearest(vae.prior.sample(n, seed=0)))
    all_codes = np.array(list(itertools.product(range(K), repeat=4)))
    expected = n * np.exp(np.asarray(vae.prior.log_prob(vae.posterior.embed(all_codes)), float))
    counts = np.bincount(codes @ (K ** np.arange(3, -1, -1)), minlength=K**4)
    enough = expected > 5
    rest = [expected[~enough].sum()], [counts[~enough].sum()]
    expected = np.concatenate([expected[enough], rest[0]])
    expected *= n / expected.sum()
    statistic = scipy.stats.chisquare(np.concatenate([counts[enough], rest[1]]), expected)
    assert statistic.pvalue > 1e-3
    cold = np.asarray(vae.posterior.nearest(vae.prior.sample(50, seed=0, temperature=1e-3)))
    assert len(np.unique(cold, axis=0)) == 1


@pytest.mark.slow  # Two models, 30 epochs of each.
def test_it_learns_the_codes_and_leaves_the_encoder_alone(make_vae, digits):
    """The ELBO of a trained PixelCNN beats that of uniform codes by what the codes tell."""
    histories = {}
    for prior in ("uniform_codes", "pixel_cnn"):
        vae = make_vae(
            latent_dim=8,
            posterior=kvae.posteriors.VectorQuantized(num_embeddings=4, embedding_dim=2),
            prior=prior,
        )
        vae.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        vae.fit(digits, epochs=30, batch_size=32, verbose=0)
        histories[prior] = vae.evaluate(digits, verbose=0, return_dict=True)
        codes = np.asarray(vae.encode(digits)["codes"])
        histories[prior, "codes"] = codes
    uniform, learned = histories["uniform_codes"], histories["pixel_cnn"]
    np.testing.assert_array_equal(*(histories[p, "codes"] for p in ("uniform_codes", "pixel_cnn")))
    np.testing.assert_allclose(uniform["reconstruction"], learned["reconstruction"], rtol=1e-5)
    np.testing.assert_allclose(uniform["kl"], 4 * np.log(4), rtol=1e-6)
    # No better than the entropy of the codes themselves, and far better than uniform.
    counts = np.unique(histories["pixel_cnn", "codes"], axis=0, return_counts=True)[1]
    entropy = scipy.stats.entropy(counts / counts.sum())
    assert entropy - 1e-4 <= learned["kl"] < uniform["kl"] - 1


def test_several_codes_at_a_position_depend_on_all_before_them(make_vae):
    """Also where a code comes from another codebook; all before it, and no later one."""
    residual = kvae.posteriors.VectorQuantized(num_embeddings=K, embedding_dim=1, residual=1)
    prior = make_vae(
        latent_dim=8, posterior=residual, prior=PixelCNN(grid=(2, 2), filters=8, num_layers=1)
    ).prior
    rng = np.random.default_rng(0)
    for weight in prior.weights:
        weight.assign(0.7 * rng.normal(size=weight.shape))
    codes = rng.integers(K, size=8)
    changed = (np.tile(codes, (8, 1)) + np.eye(8, dtype=int)) % K
    depends = np.abs(np.asarray(prior.logits(changed) - prior.logits(codes[None]))).max(-1) > 1e-6
    later = np.triu(np.ones((8, 8), bool), 1)
    assert not depends[~later].any() and depends[np.arange(7), np.arange(1, 8)].all()
    graph = tf.function(prior.logits).get_concrete_function(tf.TensorSpec((None, 8), tf.int32))
    integers = {op.type for op in graph.graph.get_operations() if tf.int32 in op_types(op)}
    assert "BiasAdd" not in integers  # TFLite has none.


def op_types(op):
    return [output.dtype for output in op.outputs]


def test_bad_grids_and_models_say_what_is_possible(make, make_vae):
    vector_quantized = kvae.posteriors.VectorQuantized(num_embeddings=K, embedding_dim=D)
    with pytest.raises(ValueError, match="grid of 2 by 3 does not hold 4 codes"):
        make_vae(latent_dim=8, posterior=vector_quantized, prior=PixelCNN(grid=(2, 3)))
    with pytest.raises(ValueError, match="`filters`"):
        PixelCNN(filters=0)
    with pytest.raises(ValueError, match="on the same space"):
        make_vae(prior="pixel_cnn")
    assert tuple(make((1, 5)).prior.network.output_shape) == (None, 5, K)
