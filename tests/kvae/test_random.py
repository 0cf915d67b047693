"""kvae.random: every draw is a function of its seed."""

import sys
import threading

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from kvae import random

N = 20_000


@pytest.mark.parametrize("draw, law", [(random.normal, "norm"), (random.uniform, "uniform")])
def test_draws_follow_their_law(draw, law):
    values = draw((N,), seed=11).numpy()
    assert scipy.stats.kstest(values, law).pvalue > 1e-3
    # Neighbours are uncorrelated; the estimate's standard error is 1/√N.
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(N)


def test_threads_that_share_a_generator_draw_different_seeds():
    generator, seeds = keras.random.SeedGenerator(3), []

    def draw():
        for _ in range(50):
            seeds.append(tuple(random.as_seed(generator).numpy()))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # Threads take turns at every step.
    try:
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    # These are the draws of a single thread, in some order.
    alone = keras.random.SeedGenerator(3)
    assert sorted(seeds) == [tuple(alone.next().numpy()) for _ in range(200)]


STOCK = {random.normal: tf.random.stateless_normal, random.uniform: tf.random.stateless_uniform}


@pytest.mark.parametrize("shape", [(), (1,), (5,), (257, 3)])
@pytest.mark.parametrize("draw, tolerance", [(random.normal, 3e-6), (random.uniform, 0.0)])
def test_numbers_are_those_of_tensorflow(draw, tolerance, shape):
    stock = STOCK[draw](shape, random.as_seed(4), alg="philox")
    values = draw(shape, 4)
    assert values.shape == shape
    np.testing.assert_allclose(values, stock, rtol=0, atol=tolerance)


@pytest.mark.parametrize("graph", [False, True])
def test_seeds_and_orders_are_those_of_tensorflow(graph):
    stock = tf.random.experimental
    seed, wide = random.as_seed(2**40 + 5), tf.constant([-(2**40) - 7, 2**33 + 1], tf.int64)
    data, rows = tf.constant(7, tf.int64), tf.range(20)

    def found():
        folded = [random.fold_in(seed, number) for number in (3, -3, data)]
        return [*folded, tf.stack(random.split(seed, 5)), random.shuffled(rows, wide)]

    def expected():
        folded = [stock.stateless_fold_in(seed, n, alg="philox") for n in (3, -3, data)]
        orders = stock.stateless_shuffle(rows, wide, alg="philox")
        return [*folded, stock.stateless_split(seed, 5, alg="philox"), orders]

    for value, wanted in zip((tf.function(found) if graph else found)(), expected(), strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("draw, tolerance", [(random.normal, 1e-6), (random.uniform, 0.0)])
def test_same_numbers_with_and_without_xla(draw, tolerance):
    eager = draw((257, 3), seed=4).numpy()
    # The seed is an argument: with a constant, TensorFlow folds the draw away before XLA sees it.
    graph = tf.function(lambda seed: draw((257, 3), seed))
    compiled = tf.function(lambda seed: draw((257, 3), seed), jit_compile=True)
    seed = random.as_seed(4)
    np.testing.assert_array_equal(graph(seed), eager)
    np.testing.assert_array_equal(compiled(seed), compiled(seed))
    np.testing.assert_allclose(compiled(seed), eager, rtol=0, atol=tolerance)
    assert np.abs(draw((257, 3), seed=5) - eager).max() > 0.5


def test_shapes_may_be_tensors():
    draw = tf.function(lambda rows: random.normal([2, rows, 3], seed=1))
    np.testing.assert_array_equal(draw(tf.constant(4)), random.normal((2, 4, 3), seed=1))


# Run here and in a process of its own; both have to give the same bits.
_DRAWS = """
import keras, numpy as np, kvae
def draws(model):
    z_mean = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    z_log_var = np.linspace(-2, 1, 12, dtype="float32").reshape(4, 3)
    return {
        "normal": kvae.random.normal((3, 5), 7),
        "uniform": kvae.random.uniform((3, 5), 2**40 + 1),
        "sampling": kvae.Sampling(num_samples=2, seed=5)([z_mean, z_log_var]),
        "mean": model.sample(4, seed=1),
        "sample": model.sample(4, seed=1, output="sample"),
        "log_prob": model.log_prob(model.sample(3, seed=2), num_samples=5).value,
    }
"""


def test_same_bits_in_another_process(make_vae, run_forked, tmp_path):
    model = make_vae()
    model.save(tmp_path / "model.keras")
    run_forked(
        # Keras's own loader, where nothing of kvae has been used yet.
        f"import sys\n{_DRAWS}\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.savez(sys.argv[2], **draws(model))",
        tmp_path / "model.keras",
        tmp_path / "draws.npz",
    )
    namespace = {}
    exec(_DRAWS, namespace)
    with np.load(tmp_path / "draws.npz") as elsewhere:
        for name, value in namespace["draws"](model).items():
            np.testing.assert_array_equal(value, elsewhere[name], err_msg=name)


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1, 2**31, 2**40 + 5, 2**62 - 1])
def test_as_seed_keeps_all_bits_of_an_integer(value):
    low, high = (int(part) for part in random.as_seed(value))
    assert low + high * 2**31 == value
    np.testing.assert_array_equal(random.as_seed(np.int64(value)), [low, high])


def test_as_seed_passes_pairs_and_advances_generators():
    np.testing.assert_array_equal(random.as_seed(np.array([3, 4])), [3, 4])
    np.testing.assert_array_equal(random.as_seed(tf.constant([3, 4], tf.int64)), [3, 4])
    generator = keras.random.SeedGenerator(9)
    first, second = random.as_seed(generator), random.as_seed(generator)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(random.as_seed(keras.random.SeedGenerator(9)), first)


@pytest.mark.parametrize("value", [None, True, 1.5, "1", [1, 2], np.zeros(2), np.zeros(3, int)])
def test_as_seed_refuses_what_is_no_seed(value):
    with pytest.raises(TypeError, match="A seed is an integer"):
        random.as_seed(value)


@pytest.mark.parametrize("value", [-1, 2**62])
def test_as_seed_refuses_integers_out_of_range(value):
    with pytest.raises(ValueError, match=str(value)):
        random.as_seed(value)


def test_fold_in_and_split_make_independent_streams():
    family = [random.fold_in(3, index) for index in range(50)]
    family += random.split(3, 50)
    assert len({tuple(seed.numpy()) for seed in family}) == 100
    np.testing.assert_array_equal(random.fold_in(3, tf.constant(7)), family[7])
    stock = tf.random.experimental.stateless_fold_in(random.as_seed(3), 7, alg="philox")
    np.testing.assert_array_equal(stock, family[7])
    in_a_graph = tf.function(lambda: (random.fold_in(3, 7), random.split(3, 4)))()
    np.testing.assert_array_equal(in_a_graph[0], family[7])
    np.testing.assert_array_equal(in_a_graph[1], random.split(3, 4))
    draws = np.stack([random.normal((2000,), seed) for seed in family])
    correlations = np.corrcoef(draws)[np.triu_indices(100, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(2000)
    assert np.std(correlations) == pytest.approx(1 / np.sqrt(2000), rel=0.1)
